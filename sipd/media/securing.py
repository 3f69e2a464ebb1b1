"""Which legs encrypt their media, and with which keys: SDES (RFC 4568), opportunistic too (RFC 8643).

A relay has a `LegCrypto` for each leg. An offer of one leg loses its keying, and gets that of the leg that it goes to;
its answer goes the same way back. What one leg says of its keys never comes to another one, and what sipd says is
random for each leg, line and suite. The keys that both sides of a leg agreed on: `LegCrypto.keys`. How an offer gets
from one leg to another: `sipd.media.secured`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sipd.errors import SdpError
from sipd.interfaces import CryptoPolicy as CryptoPolicy
from sipd.interfaces import Entropy
from sipd.media.keying import (
    PLAIN_PROFILES,
    SECURE_PROFILES,
    as_secure,
    with_crypto,
    with_streams,
    without_keying,
)
from sipd.sdp.crypto import (
    AEAD_AES_128_GCM,
    AEAD_AES_256_GCM,
    AES_256_CM_HMAC_SHA1_80,
    AES_CM_128_HMAC_SHA1_32,
    AES_CM_128_HMAC_SHA1_80,
    SUITES,
    CryptoAttribute,
    KeyParameter,
    SrtpKey,
    Suite,
    read_crypto,
)
from sipd.sdp.description import MediaDescription, SessionDescription
from sipd.sdp.offer_answer import reject_stream
from sipd.sdp.streams import Slots

#: What is offered, in this order, and accepted. Strongest first; a tag of 32 bits is for those who know no other.
DEFAULT_SUITES = (
    AEAD_AES_256_GCM,
    AEAD_AES_128_GCM,
    AES_256_CM_HMAC_SHA1_80,
    AES_CM_128_HMAC_SHA1_80,
    AES_CM_128_HMAC_SHA1_32,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What one stream of one leg is protected with.

    Args:
        inbound: for what comes from the peer; ``None`` if that is plain.
        outbound: for what goes to it; ``None`` with `inbound`.
    """

    inbound: SrtpKey | None = None
    outbound: SrtpKey | None = None


PLAIN = Keys()


@dataclass(slots=True)
class _Line:
    """One media line of a leg.

    Args:
        own: the keys that this side says for each suite, as long as they are good.
        used: those suites whose key in `own` was in force once.
        said: tag to key, as this side said last.
        agreed: the same when something came into force last: it may be said again.
        keys: in force.
        is_secure: whether the profile agreed on last is one with SRTP; ``None`` if nothing was.
    """

    own: dict[Suite, SrtpKey] = field(default_factory=dict)
    used: set[Suite] = field(default_factory=set)
    said: dict[int, SrtpKey] = field(default_factory=dict)
    agreed: dict[int, SrtpKey] = field(default_factory=dict)
    keys: Keys = PLAIN
    is_secure: bool | None = None

    def put_into_force(self, keys: Keys) -> None:
        """Use these keys from now on."""
        self.keys = keys
        self.agreed = self.said
        if keys.outbound is not None:
            self.used.add(keys.outbound.suite)

    def retire_keys(self) -> None:
        """Forget each key of ours that was in force once and is not any more.

        To come back to it would protect other packets with the same key and index.
        """
        current = self.keys.outbound
        for suite in tuple(self.used):
            if self.own.get(suite) != current:
                self.used.remove(suite)
                self.own.pop(suite, None)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One media line of an offer.

    Args:
        slot: which one of the leg it is; ``None`` if it is none.
        is_secure: whether its profile is one with SRTP.
        chosen: what is accepted of its keying; ``None`` for plain RTP.
    """

    slot: int | None
    is_secure: bool = False
    chosen: CryptoAttribute | None = None


@dataclass(frozen=True, slots=True)
class TakenOffer:
    """An offer of a leg.

    Args:
        description: without keying, all profiles plain.
        lines: what was asked for, one entry for each media line.
    """

    description: SessionDescription
    lines: tuple[_Asked, ...]


class LegCrypto:
    """The keys of one leg.

    Args:
        policy: of the leg.
        entropy: for our keys.
        suites: offered in this order, and accepted. Those that the library cannot do must not be among them.

    Raises:
        ValueError: there is no suite.
    """

    __slots__ = ("_entropy", "_lines", "_suites", "policy")

    def __init__(self, policy: CryptoPolicy, entropy: Entropy, suites: Sequence[Suite] = DEFAULT_SUITES) -> None:
        if not suites:
            raise ValueError("no crypto suite")
        self.policy = policy
        self._entropy = entropy
        self._suites = tuple(dict.fromkeys(suites))
        self._lines: dict[int, _Line] = {}

    def keys(self, index: int) -> Keys:
        """Give what is in force on a media line of this leg."""
        line = self._lines.get(index)
        return PLAIN if line is None else line.keys

    def take_offer(self, description: SessionDescription, slots: Slots | None = None) -> TakenOffer:
        """Take an offer of the leg. Nothing is in force by that.

        A stream that cannot be accepted is refused, as long as there is another one of its kind: some offer both, one
        encrypted and one plain.

        Args:
            description: as it came.
            slots: which line of the leg each one is; without it, they are the same.

        Raises:
            SdpError: of a kind of media, no stream can be accepted.
        """
        places = tuple(range(len(description.media))) if slots is None else slots
        media: list[MediaDescription] = []
        lines: list[_Asked] = []
        refusals: dict[str, str] = {}
        accepted = set()
        for stream, slot in zip(description.media, places, strict=True):
            asked, reason = self._examine(stream, slot)
            plain = without_keying(stream)
            if reason is not None:
                refusals.setdefault(stream.media.lower(), reason)
                plain = reject_stream(plain)
            elif slot is not None and stream.is_rtp and not stream.is_disabled:
                accepted.add(stream.media.lower())
            media.append(plain)
            lines.append(asked)
        for kind, reason in refusals.items():
            if kind not in accepted:
                raise SdpError(reason)
        return TakenOffer(with_streams(description, media), tuple(lines))

    def make_answer(self, taken: TakenOffer, description: SessionDescription) -> SessionDescription:
        """Give the answer to an offer of the leg. Its keys are in force.

        Args:
            taken: that offer. It may be answered several times: the keys of this side stay the same.
            description: without keying, with as many media lines.
        """
        media = []
        slots = set()
        for asked, stream in zip(taken.lines, description.media, strict=True):
            answer = without_keying(stream)
            if answer.is_rtp and asked.is_secure:
                answer = as_secure(answer)
            if asked.slot is not None:
                slots.add(asked.slot)
                line = self._line(asked.slot)
                is_active = answer.is_rtp and not answer.is_disabled
                line.said = {}
                if is_active:
                    line.is_secure = asked.is_secure
                if is_active and asked.chosen is not None:
                    answer = self._accept(line, asked.chosen, answer)
                else:
                    line.put_into_force(PLAIN)
            media.append(answer)
        self._release_except(slots)
        return with_streams(description, media)

    def make_offer(self, description: SessionDescription) -> SessionDescription:
        """Give what to offer the leg. Nothing is in force by that.

        What was offered before is offered again, with the same keys, and what is in force before anything else, so that
        nothing changes for who keeps it.

        Args:
            description: without keying.

        Raises:
            SdpError: there is RTP of a profile that cannot be encrypted, and has to be.
        """
        media = []
        for index, stream in enumerate(description.media):
            offer = without_keying(stream)
            is_rtp = offer.is_rtp and not offer.is_disabled
            is_known = is_rtp and offer.protocol.upper() in PLAIN_PROFILES
            if is_known and self.policy is not CryptoPolicy.OFF:
                line = self._line(index)
                line.retire_keys()
                line.said = {tag: self._own_key(line, suite) for tag, suite in enumerate(self._ordered(line), 1)}
                if self._offers_secure(line):
                    offer = as_secure(offer)
                offer = with_crypto(offer, [_say(tag, key) for tag, key in line.said.items()])
            elif is_rtp and self.policy is CryptoPolicy.REQUIRED:
                raise SdpError(f"{offer.protocol} cannot be encrypted, as it has to be")
            elif (known := self._lines.get(index)) is not None:
                known.said = {}
            media.append(offer)
        return with_streams(description, media)

    def _ordered(self, line: _Line) -> list[Suite]:
        """Give the suites to offer: what is in force first, so that a change of something else does not change that."""
        current = line.keys.outbound
        return sorted(self._suites, key=lambda suite: current is None or suite is not current.suite)

    def take_answer(self, description: SessionDescription) -> SessionDescription:
        """Take the answer of the leg to what this side said last; give it without keying. Its keys are in force.

        Raises:
            SdpError: a stream is not encrypted where it must be, or keyed by something that was not offered. What was
                in force stays.
        """
        agreed = [self._agree(index, stream) for index, stream in enumerate(description.media)]
        for index, (stream, keys) in enumerate(zip(description.media, agreed, strict=True)):
            line = self._line(index)
            line.put_into_force(keys)
            if stream.is_rtp and not stream.is_disabled:
                line.is_secure = stream.protocol.upper() in SECURE_PROFILES
        self._release_except(range(len(agreed)))
        return with_streams(description, [without_keying(stream) for stream in description.media])

    def rest(self) -> None:
        """Put no key into force, until something is agreed on again."""
        for line in self._lines.values():
            line.put_into_force(PLAIN)

    def release(self) -> None:
        """Forget all keys: the leg has ended, or its media is not encrypted here any more."""
        self._lines.clear()

    def _examine(self, stream: MediaDescription, slot: int | None) -> tuple[_Asked, str | None]:
        """Find out what a stream of an offer asks for, and why it cannot be accepted, if so."""
        protocol = stream.protocol.upper()
        if not stream.is_rtp:
            return _Asked(slot), None
        is_secure = protocol in SECURE_PROFILES
        if stream.is_disabled or slot is None:
            return _Asked(slot, is_secure), None
        if protocol not in PLAIN_PROFILES and not is_secure:
            needs_keys = "SAVP" in protocol or self.policy is CryptoPolicy.REQUIRED
            reason = f"{stream.protocol} offered: only SDES keys are known here" if needs_keys else None
            return _Asked(slot), reason
        if self.policy is CryptoPolicy.OFF:
            reason = f"{stream.protocol} offered, but this side is configured for RTP that is not encrypted"
            return _Asked(slot, is_secure), reason if is_secure else None
        line = self._line(slot)
        line.retire_keys()
        chosen = self._choose(line, stream)
        if chosen is None and is_secure:
            return _Asked(slot, is_secure), f"{stream.protocol} offered without a crypto suite that is known here"
        if chosen is None and self.policy is CryptoPolicy.REQUIRED:
            return _Asked(slot), f"{stream.protocol} offered, but this side is configured for encrypted RTP"
        return _Asked(slot, is_secure, chosen), None

    def _choose(self, line: _Line, stream: MediaDescription) -> CryptoAttribute | None:
        """Choose of what is offered: what is in force if that is there again, or else the first that can be used."""
        usable = [each for each in read_crypto(stream) if self._is_usable(line, each)]
        inbound = line.keys.inbound
        for each in usable:
            if inbound is not None and _their_key(each) == inbound:
                return each
        return usable[0] if usable else None

    def _is_usable(self, line: _Line, attribute: CryptoAttribute) -> bool:
        """Say whether it can be answered: a suite of ours, one key that is not ours, nothing unusual asked for."""
        return (
            SUITES.get(attribute.suite) in self._suites
            and len(attribute.keys) == 1
            and all(parameter.asks_for_nothing for parameter in attribute.parameters)
            and all(key.master != attribute.keys[0].master for key in line.own.values())
        )

    def _accept(self, line: _Line, chosen: CryptoAttribute, answer: MediaDescription) -> MediaDescription:
        """Put a key of theirs into force with one of ours; give the answer that says so."""
        inbound = _their_key(chosen)
        outbound = self._own_key(line, inbound.suite)
        line.said = {chosen.tag: outbound}
        line.put_into_force(Keys(inbound=inbound, outbound=outbound))
        return with_crypto(answer, [_say(chosen.tag, outbound)])

    def _agree(self, index: int, stream: MediaDescription) -> Keys:
        """Give what an answer puts into force, or raise `SdpError`."""
        if stream.is_disabled or not stream.is_rtp:
            return PLAIN
        line = self._line(index)
        if stream.attribute("crypto") is not None and (line.said or line.agreed):
            usable = [attribute for attribute in read_crypto(stream) if self._is_usable(line, attribute)]
            for said in (line.said, line.agreed):
                for attribute in usable:
                    outbound = said.get(attribute.tag)
                    if outbound is not None and outbound.suite.name == attribute.suite:
                        return Keys(inbound=_their_key(attribute), outbound=outbound)
            raise SdpError("answer whose crypto attribute is none that was offered")
        if "SAVP" in stream.protocol.upper():
            raise SdpError(f"answer with {stream.protocol} and no keys that were asked for")
        if self.policy is CryptoPolicy.REQUIRED:
            raise SdpError("answer without keys where RTP has to be encrypted")
        return PLAIN

    def _offers_secure(self, line: _Line) -> bool:
        """Say whether to offer a profile with SRTP: as agreed for the line, or for another one, or by policy."""
        if line.keys.outbound is None:
            if self.policy is CryptoPolicy.REQUIRED:
                return True
            if line.is_secure is None:
                return any(other.is_secure for other in self._lines.values())
        return bool(line.is_secure)

    def _line(self, index: int) -> _Line:
        """Give a line; a new one if it is not known yet."""
        line = self._lines.get(index)
        if line is None:
            line = self._lines[index] = _Line()
        return line

    def _own_key(self, line: _Line, suite: Suite) -> SrtpKey:
        """Give our key for a suite; a new one if there is none."""
        key = line.own.get(suite)
        if key is None:
            key = line.own[suite] = SrtpKey(suite=suite, master=self._entropy(suite.master_octets))
        return key

    def _release_except(self, indexes: set[int] | range) -> None:
        """Let no line be encrypted but these."""
        for index, line in self._lines.items():
            if index not in indexes:
                line.said = {}
                line.put_into_force(PLAIN)


def _their_key(attribute: CryptoAttribute) -> SrtpKey:
    """Give the key of an attribute that is usable."""
    key = attribute.keys[0]
    return SrtpKey(suite=SUITES[attribute.suite], master=key.master, mki=key.mki)


def _say(tag: int, key: SrtpKey) -> CryptoAttribute:
    """Give the attribute that says a key."""
    return CryptoAttribute(tag=tag, suite=key.suite.name, keys=(KeyParameter(master=key.master),))
