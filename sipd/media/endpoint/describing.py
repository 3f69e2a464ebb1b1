"""What an endpoint says of itself, and what it makes of what the peer says: RFC 3264, one stream of audio.

A `Describer` knows what holds and what was offered. It touches no socket: it is told its port.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sipd.errors import InvalidStateError, MediaEngineError, SdpError
from sipd.interfaces import CryptoPolicy, Entropy
from sipd.media.endpoint.agreement import Agreement, agree
from sipd.media.endpoint.codecs import CODECS, EVENT_NAME, EVENTS, EndpointCodec
from sipd.media.endpoint.connectivity import (
    DTLS_PROFILES,
    answer_path,
    check_dtls,
    is_dtls,
    offer_path,
    read_answer,
    read_ice,
    with_bundle,
)
from sipd.media.endpoint.path import PLAIN_PATH, Path, PathTerms
from sipd.media.endpoint.settings import EndpointSettings, Ice, Security
from sipd.media.keying import PLAIN_PROFILES, SECURE_PROFILES
from sipd.media.libsrtp import available, usable_suites
from sipd.media.securing import DEFAULT_SUITES, PLAIN, Keys, LegCrypto, TakenOffer
from sipd.sdp.codecs import encodings
from sipd.sdp.description import (
    AddressType,
    Connection,
    Direction,
    MediaDescription,
    RtcpAddress,
    SessionDescription,
)
from sipd.sdp.offer_answer import LocalOrigin, answer_direction, check_answer, reject_stream

#: Payload types that may be given to anything (RFC 3551 section 6), in the order in which they are tried.
_DYNAMIC = range(96, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What holds from now on.

    Args:
        agreement: of the stream.
        keys: that protect it; those that are had by DTLS come later.
        path: how it goes.
    """

    agreement: Agreement
    keys: Keys
    path: PathTerms = PLAIN_PATH


class Place(Protocol):
    """Where an endpoint is. Asked when nothing else can fail any more."""

    def port(self) -> int:
        """Give the port of RTP."""

    def path(self) -> Path:
        """Give the way of the stream, ready to be described."""


class Describer:
    """The descriptions of one endpoint.

    Args:
        settings: see there.
        host: the numeric address that is bound.
        advertised_host: the one that descriptions name.
        entropy: for the identifier of the session, and for keys.
    """

    __slots__ = (
        "_advertised_host",
        "_crypto",
        "_entropy",
        "_has_mux",
        "_host",
        "_index",
        "_is_offerer",
        "_local",
        "_numbers",
        "_offer",
        "_origin",
        "_path",
        "_settings",
    )

    def __init__(self, settings: EndpointSettings, host: str, advertised_host: str, entropy: Entropy) -> None:
        self._settings = settings
        self._host = host
        self._advertised_host = advertised_host
        self._entropy = entropy
        session_id = int.from_bytes(entropy(8), "big") >> 2
        self._origin = LocalOrigin(session_id=session_id, host=advertised_host)
        self._crypto: LegCrypto | None = None
        #: What this side said in the exchange that holds, and whether that was the offer.
        self._local: SessionDescription | None = None
        self._is_offerer = False
        self._index = 0
        self._has_mux = False
        self._path = PLAIN_PATH
        #: The offer that waits for its answer, and its line.
        self._offer: SessionDescription | None = None
        #: Payload types that mean something for the rest of the session (RFC 3264 section 8.3.2), by encoding.
        self._numbers: dict[str, str] = {}

    def make_offer(self, direction: Direction, place: Place) -> SessionDescription:
        """See `IMediaEndpoint.make_offer`.

        Args:
            direction: what is wanted.
            place: where this side is.
        """
        if self._offer is not None:
            raise InvalidStateError("An offer waits for its answer already")
        codecs = [CODECS[name] for name in self._settings.codecs]
        formats = {self._number(codec.encoding, codec.payload_type): codec for codec in codecs}
        events = self._events({codec.clock_rate for codec in codecs})
        protocol = self._profile()
        has_dtls = protocol in DTLS_PROFILES
        has_ice = self._settings.ice is Ice.OFFERED or self._path.ice is not None
        crypto = None if has_dtls else self._crypto_for_offer()
        has_mux = self._has_mux or has_dtls or has_ice
        stream = self._stream(formats, events, direction, place.port(), protocol=protocol, has_mux=has_mux)
        before = () if self._local is None else self._local.media
        media = [reject_stream(each) for each in before] or [stream]
        media[self._index] = stream
        offer = self._session(media)
        if crypto is not None:
            offer = crypto.make_offer(offer)
        if has_dtls or has_ice:
            offer = offer_path(offer, self._index, place.path(), has_ice=has_ice)
        self._offer = self._origin.stamp(offer)
        return self._offer

    def take_answer(self, answer: SessionDescription) -> Outcome:
        """See `IMediaEndpoint.take_answer`.

        The answer to an offer may come again, also another one: that of the fork that was answered in the end. One that
        cannot be used leaves the offer waiting, for another one or for `offer_rejected`.
        """
        offer = self._offer or (self._local if self._is_offerer else None)
        if offer is None:
            raise InvalidStateError("There is no offer that could be answered")
        check_answer(offer, answer)
        path = read_answer(offer, answer, self._index)
        has_ice = path.ice is not None
        agreement = agree(offer, answer, self._index, prefers_local=False, host=self._host, has_ice=has_ice)
        if is_dtls(offer.media[self._index]):
            if not is_dtls(answer.media[self._index]):
                raise SdpError(f"answer with {answer.media[self._index].protocol} to an offer of DTLS-SRTP")
        elif self._crypto is not None:
            self._crypto.policy = self._policy()
            self._crypto.take_answer(_only(answer, self._index))
        elif answer.media[self._index].protocol.upper() not in PLAIN_PROFILES:
            raise SdpError(f"answer with {answer.media[self._index].protocol} to a plain offer")
        return self._settle(offer, agreement, path, is_offerer=True)

    def offer_rejected(self) -> None:
        """See `IMediaEndpoint.offer_rejected`."""
        self._offer = None

    def answer_offer(
        self, offer: SessionDescription, direction: Direction, place: Place
    ) -> tuple[SessionDescription, Outcome]:
        """See `IMediaEndpoint.answer_offer`; arguments as for `make_offer`."""
        if self._offer is not None:
            raise InvalidStateError("An offer of this side waits for its answer")
        index, crypto, plain, taken = self._choose(offer)
        ice = None if self._settings.ice is Ice.NONE else read_ice(offer, index)
        asked = plain.media[index]
        offered = encodings(asked)
        formats, events = self._answered(offered)
        rates = {codec.clock_rate for codec in formats.values()}
        events = {number: rate for number, rate in events.items() if rate in rates} or events
        answer_stream = self._stream(
            formats,
            events,
            answer_direction(offer.direction_of(asked), direction),
            place.port(),
            protocol=asked.protocol,
            has_mux=asked.has_rtcp_mux,
        )
        media = [reject_stream(each) for each in offer.media]
        media[index] = answer_stream
        answer = self._session(media)
        has_ice = ice is not None
        agreement = agree(answer, plain, index, prefers_local=True, host=self._host, has_ice=has_ice)
        if crypto is not None and taken is not None:
            answer = crypto.make_answer(taken, answer)
        path = PLAIN_PATH
        if has_ice or is_dtls(offer.media[index]):
            answer, path = answer_path(answer, index, place.path(), offer, ice)
        answer = with_bundle(answer, offer, index)
        for number in (*formats, *events):
            self._numbers.setdefault(offered[number], number)
        self._index = index
        answer = self._origin.stamp(answer)
        return answer, self._settle(answer, agreement, path, is_offerer=False)

    def _settle(self, local: SessionDescription, agreement: Agreement, path: PathTerms, *, is_offerer: bool) -> Outcome:
        self._offer = None
        self._local = local
        self._is_offerer = is_offerer
        self._has_mux = agreement.has_mux
        self._path = path
        keys = PLAIN if self._crypto is None or path.fingerprints else self._crypto.keys(agreement.index)
        return Outcome(agreement=agreement, keys=keys, path=path)

    # --- choosing

    def _choose(self, offer: SessionDescription) -> tuple[int, LegCrypto | None, SessionDescription, TakenOffer | None]:
        """Find the first stream that can be used, the one in use before others; give the offer with no other one."""
        candidates = [index for index, stream in enumerate(offer.media) if self._is_usable(stream)]
        if self._local is not None and self._index in candidates:
            candidates.sort(key=lambda index: index != self._index)
        reason = SdpError("There is no audio in the offer that could be used")
        for index in candidates:
            single = _only(offer, index)
            if is_dtls(offer.media[index]):
                unusable = self._why_no_dtls(offer, index)
                if unusable is None:
                    return index, None, single, None
                reason = unusable
                continue
            crypto = self._crypto_for_answer()
            if crypto is None:
                if offer.media[index].protocol.upper() in PLAIN_PROFILES:
                    return index, None, single, None
                reason = SdpError(f"{offer.media[index].protocol} offered, but there is no SRTP here: {available()}")
                continue
            try:
                taken = crypto.take_offer(single)
            except SdpError as error:
                reason = error
                continue
            return index, crypto, taken.description, taken
        raise reason

    @staticmethod
    def _why_no_dtls(offer: SessionDescription, index: int) -> SdpError | None:
        """Say why a stream cannot be answered that has its keys by DTLS; ``None`` if it can."""
        missing = available()
        if missing is not None:
            return SdpError(f"{offer.media[index].protocol} offered, but there is no SRTP here: {missing}")
        try:
            check_dtls(offer, index)
        except SdpError as error:
            return error
        return None

    def _is_usable(self, stream: MediaDescription) -> bool:
        """Say whether a stream could be answered, keys aside."""
        return (
            stream.media.lower() == "audio"
            and not stream.is_disabled
            and stream.protocol.upper() in (*PLAIN_PROFILES, *SECURE_PROFILES, *DTLS_PROFILES)
            and bool(self._answered(encodings(stream))[0])
        )

    def _answered(self, offered: dict[str, str]) -> tuple[dict[str, EndpointCodec], dict[str, int]]:
        """Give which of the payload types of an offer are taken, those of codecs as this side likes them best."""
        known = {CODECS[name].encoding: CODECS[name] for name in self._settings.codecs}
        formats = {
            number: codec
            for encoding, codec in known.items()
            for number in [next((key for key, name in offered.items() if name == encoding), None)]
            if number is not None
        }
        events = {}
        if self._settings.telephone_events:
            rates = {f"{EVENT_NAME}/{rate}": rate for rate in EVENTS}
            events = {number: rates[name] for number, name in offered.items() if name in rates}
        return formats, events

    def _events(self, clock_rates: set[int]) -> dict[str, int]:
        """Give the telephone events of an offer: those of the clocks of its codecs (RFC 4733 section 2.1).

        Those of 8000 Hz are always among them: many know no others, whatever the codec.
        """
        if not self._settings.telephone_events:
            return {}
        return {
            self._number(f"{EVENT_NAME}/{rate}", EVENTS[rate]): rate
            for rate in sorted(clock_rates | {8000})
            if rate in EVENTS
        }

    def _number(self, encoding: str, usual: int) -> str:
        """Give the payload type of an encoding, the same for the whole session."""
        number = self._numbers.get(encoding)
        if number is None:
            taken = set(self._numbers.values())
            number = next(str(each) for each in (usual, *_DYNAMIC) if str(each) not in taken)
            self._numbers[encoding] = number
        return number

    def _profile(self) -> str:
        """Give the profile of an offer, without encryption: what holds is kept."""
        if self._local is None:
            return DTLS_PROFILES[0] if self._settings.security is Security.DTLS else self._settings.profile
        protocol = self._local.media[self._index].protocol.upper()
        return SECURE_PROFILES.get(protocol, protocol)

    # --- keys

    def _crypto_for_offer(self) -> LegCrypto | None:
        """Give what makes keys for an offer; ``None`` if there are none to be.

        Raises:
            MediaEngineError: there have to be, and there is no SRTP here.
        """
        if self._crypto is None and self._settings.security is Security.OFFERED:
            reason = available()
            if reason is not None:
                raise MediaEngineError(reason)
            self._make_crypto()
        if self._crypto is not None:
            self._crypto.policy = self._policy()
        return self._crypto

    def _policy(self) -> CryptoPolicy:
        """Say how to offer: what holds is kept."""
        if self._local is None:
            is_secure = self._settings.security is Security.OFFERED
        else:
            is_secure = self._crypto is not None and self._crypto.keys(self._index) != PLAIN
        return CryptoPolicy.REQUIRED if is_secure else CryptoPolicy.OFF

    def _crypto_for_answer(self) -> LegCrypto | None:
        if self._crypto is None and available() is None:
            self._make_crypto()
        if self._crypto is not None:
            self._crypto.policy = CryptoPolicy.OPTIONAL
        return self._crypto

    def _make_crypto(self) -> None:
        usable = frozenset(usable_suites())
        suites = [suite for suite in DEFAULT_SUITES if suite in usable]
        self._crypto = LegCrypto(CryptoPolicy.OFF, self._entropy, suites)

    # --- lines

    def _session(self, media: list[MediaDescription]) -> SessionDescription:
        connection = Connection(address_type=AddressType.of(self._advertised_host), host=self._advertised_host)
        return SessionDescription(lines=("v=0", "s=-", f"c={connection}", "t=0 0"), media=tuple(media))

    def _stream(
        self,
        formats: dict[str, EndpointCodec],
        events: dict[str, int],
        direction: Direction,
        port: int,
        *,
        protocol: str,
        has_mux: bool,
    ) -> MediaDescription:
        lines = [f"m=audio {port} {protocol} {' '.join((*formats, *events))}"]
        for number, codec in formats.items():
            lines.append(f"a=rtpmap:{number} {codec.rtpmap}")
            if codec.parameters:
                lines.append(f"a=fmtp:{number} {codec.parameters}")
        for number, rate in events.items():
            lines += [f"a=rtpmap:{number} {EVENT_NAME}/{rate}", f"a=fmtp:{number} 0-15"]
        lines += ["a=ptime:20", f"a=rtcp:{RtcpAddress(port=port + 1)}"]
        if has_mux:
            lines.append("a=rtcp-mux")
        return MediaDescription(lines=(*lines, f"a={direction.value}"))


def _only(description: SessionDescription, index: int) -> SessionDescription:
    """Give a description in which all streams but one are refused."""
    media = [each if place == index else reject_stream(each) for place, each in enumerate(description.media)]
    return SessionDescription(description.text, tuple(media))
