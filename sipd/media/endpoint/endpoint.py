"""The local end of one call's audio: what speaks and listens for a user agent (RFC 3550, RFC 3264, RFC 4733).

It makes offers and answers, has the two sockets, and works at the beats of a `Pacer` from the first agreement until it
is closed. While it may send it does so at each beat, silence if there is nothing else: that keeps the ways through NAT
open, and no peer takes the call for dead.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import ConfigurationError, InvalidStateError, LocalError
from sipd.interfaces import Entropy, IMediaEndpoint
from sipd.media.audio import all_decoders, all_encoders
from sipd.media.dtls.identity import DtlsIdentity, make_identity
from sipd.media.endpoint.agreement import Agreement, numeric
from sipd.media.endpoint.collecting import DigitListener
from sipd.media.endpoint.describing import Describer, Outcome
from sipd.media.endpoint.interfaces import ISink, ISource
from sipd.media.endpoint.recording import Recording, Recordings
from sipd.media.endpoint.settings import EndpointSettings
from sipd.media.endpoint.sinks import end_sink
from sipd.media.endpoint.speaking import SILENCE, Speaker
from sipd.media.endpoint.statistics import EndpointStatistics, statistics_of
from sipd.media.endpoint.wire import EndpointReactor, Wire
from sipd.media.filewriter import Writer
from sipd.media.latch import Address
from sipd.media.pacer import Pacer
from sipd.media.sounds import SoundLibrary
from sipd.rtp.detection import DtmfDetector
from sipd.rtp.dtmf import DIGITS
from sipd.rtp.packet import RtpPacket
from sipd.rtp.rtcp import RtcpPacket
from sipd.sdp.description import AddressType, Direction, SessionDescription

_DEFAULT_SETTINGS = EndpointSettings()


@implementer(IMediaEndpoint)
class AudioEndpoint:
    """One end of a call.

    Args:
        reactor: has the sockets and the time.
        host: the numeric address to bind.
        advertised_host: the one that descriptions name, if it is another.
        settings: see there.
        pacer: gives the beats; all endpoints of a process should share one.
        sounds: what `play` takes sounds from; to be shared as well.
        entropy: for identifiers and keys, such as ``secrets.token_bytes``.
        canonical_name: of this side in RTCP (RFC 3550 section 6.5.1); something random without it (RFC 7022).
        writer: writes recordings; to be shared, and stopped by who made it. Without one, the endpoint starts a thread
            of its own for its first recording.
        identity: gives the certificate that is shown in DTLS, the same each time; by default it has one of its own.

    Attributes:
        on_digit: each of these is called with each digit that the peer sends.
        on_lost: each of these is called, once, with why no media go any more where ICE or DTLS had to find a way: there
            is none, the peer is not who its description says, or it has left.

    Raises:
        ConfigurationError: an address is not a numeric one, or none that anybody could send to.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: EndpointReactor,
        *,
        host: str,
        advertised_host: str = "",
        settings: EndpointSettings = _DEFAULT_SETTINGS,
        pacer: Pacer,
        sounds: SoundLibrary,
        entropy: Entropy,
        canonical_name: str = "",
        writer: Writer | None = None,
        identity: Callable[[], DtlsIdentity] | None = None,
    ) -> None:
        advertised_host = advertised_host or host
        _check_hosts(host, advertised_host)
        self._reactor = reactor
        self._settings = settings
        self._pacer = pacer
        self._describer = Describer(settings, host, advertised_host, entropy)
        self._agreement: Agreement | None = None
        self._wire = Wire(
            reactor,
            host=host,
            advertised_host=advertised_host,
            settings=settings,
            entropy=entropy,
            canonical_name=canonical_name or entropy(12).hex(),
            heard=self._packet_came,
            lost=self._connection_lost,
            identity=identity or cache(make_identity),
        )
        self._speaker = Speaker(
            sounds=sounds,
            encoders=all_encoders(),
            decoders=all_decoders(),
            entropy=entropy,
            send=self._wire.send_rtp,
        )
        self._listener = DigitListener(reactor)
        self._detector = DtmfDetector(self._listener.tone) if settings.detect_inband else None
        self._sink: ISink | None = None
        self._recordings = Recordings(reactor, writer)
        self._media_waiters: list[Deferred[None]] = []
        self._log_due: float | None = None
        self._is_closed = False
        #: Who waits for the end; ``None`` once it is there.
        self._close_waiters: list[Deferred[None]] | None = []
        self.on_digit: list[Callable[[str], object]] = self._listener.callbacks
        self.on_lost: list[Callable[[str], object]] = []

    # --- offers and answers

    def prepare(self) -> Deferred[None]:
        """See `IMediaEndpoint`. Asks the servers of `EndpointSettings.ice_servers`, for three seconds at most."""
        self._check_open()
        return self._wire.prepare()

    def make_offer(self, direction: Direction = Direction.SENDRECV) -> SessionDescription:
        """See `IMediaEndpoint`."""
        self._prepare()
        return self._describer.make_offer(direction, self._wire)

    def take_answer(self, answer: SessionDescription) -> None:
        """See `IMediaEndpoint`.

        It may be called again for the same offer: several forks answer it, and the last answer holds.
        """
        self._check_open()
        self._agreed(self._describer.take_answer(answer))

    def answer_offer(self, offer: SessionDescription, direction: Direction = Direction.SENDRECV) -> SessionDescription:
        """See `IMediaEndpoint`.

        The first stream of audio that can be used is answered, all others are refused. Of its codecs the answer has
        those of the settings, in their order, with the payload types of the offer.
        """
        self._prepare()
        answer, outcome = self._describer.answer_offer(offer, direction, self._wire)
        self._agreed(outcome)
        return answer

    def offer_rejected(self) -> None:
        """See `IMediaEndpoint`."""
        self._describer.offer_rejected()

    def close(self) -> Deferred[None]:
        """See `IMediaEndpoint`. What is played or collected ends, recordings are completed, the peer gets a goodbye."""
        closed: Deferred[None] = Deferred()
        if self._close_waiters is None:
            return succeed(None)
        self._close_waiters.append(closed)
        if not self._is_closed:
            self._is_closed = True
            self._pacer.remove(self)
            endings = [self._recordings.close(), self._wire.close(self._speaker.sender)]
            self._speaker.close()
            self._listener.close()
            self._detector = None
            sink, self._sink = self._sink, None
            with self._log.failureHandler("a sink failed at its end"):
                end_sink(sink)
            waiting, self._media_waiters = self._media_waiters, []
            for waiter in waiting:
                waiter.errback(InvalidStateError("The endpoint was closed"))
            DeferredList(endings, consumeErrors=True).addCallback(self._closed)
        return closed

    # --- what is known

    @property
    def codec(self) -> str | None:
        """What is sent: ``pcmu/8000``; ``None`` before anything is agreed on."""
        return None if self._agreement is None else self._agreement.encoding

    @property
    def remote(self) -> Address | None:
        """Where media goes: where it comes from, before that where the peer said; ``None`` if nobody knows."""
        return self._wire.remote

    @property
    def local(self) -> Address | None:
        """Where media comes in; ``None`` before the sockets are open."""
        return self._wire.local

    @property
    def is_held(self) -> bool:
        """Whether the peer holds the call."""
        return self._agreement is not None and self._agreement.is_held

    @property
    def is_sending(self) -> bool:
        """Whether media goes out, by what was agreed on."""
        return self._agreement is not None and self._agreement.sends and not self._is_closed

    @property
    def is_receiving(self) -> bool:
        """Whether media may come in, by what was agreed on."""
        return self._agreement is not None and self._agreement.receives and not self._is_closed

    @property
    def is_muted(self) -> bool:
        """Whether silence is sent instead of everything but digits; can be set."""
        return self._speaker.is_muted

    @is_muted.setter
    def is_muted(self, value: bool) -> None:
        self._speaker.is_muted = value

    @property
    def statistics(self) -> EndpointStatistics:
        """What is known by now, also after the end."""
        return statistics_of(self._wire, self._agreement, self._listener.count)

    @property
    def on_rtp(self) -> Callable[[RtpPacket, bool], object] | None:
        """What is called with each RTP packet that is taken or sent, and whether it was sent."""
        return self._wire.on_rtp

    @on_rtp.setter
    def on_rtp(self, callback: Callable[[RtpPacket, bool], object] | None) -> None:
        self._wire.on_rtp = callback

    @property
    def on_rtcp(self) -> Callable[[tuple[RtcpPacket, ...], bool], object] | None:
        """What is called with the packets of each RTCP datagram that is taken or sent, and whether it was sent."""
        return self._wire.on_rtcp

    @on_rtcp.setter
    def on_rtcp(self, callback: Callable[[tuple[RtcpPacket, ...], bool], object] | None) -> None:
        self._wire.on_rtcp = callback

    # --- speaking

    def play(self, what: str | Path | ISource, *, times: int | None = 1, gain: float = 0.0) -> Deferred[None]:
        """Play a sound to the peer, instead of what was played before, which thereby ends.

        It begins when there is a codec, and goes on while the peer holds.

        Args:
            what: the path of a WAVE file; ``tone:de:ringback``, or a tone of one's own, ``tone:440+480 2000/4000``
                (`sipd.rtp.tones.parse_tone_pattern`); ``silence:2.0``; or a source.
            times: how often; ``None`` for ever. A source is played once.
            gain: in decibel.

        Returns:
            When it is over: played to its end, or ended early by another `play`, `echo`, `stop_playing` or `close`. To
            cancel it stops. Fails with `SoundError` or `MissingCodecError`, or with `InvalidStateError` if the endpoint
            was closed.

        Raises:
            ValueError: ``times`` is below 1.
        """
        if times is not None and times < 1:
            raise ValueError("a sound that is played less than once")
        if self._is_closed:
            return fail(InvalidStateError("The endpoint was closed"))
        return self._speaker.play(what, times=times, gain=gain)

    def stop_playing(self) -> None:
        """End what `play`, `echo` and `write_rtp` began."""
        self._speaker.stop()

    def echo(self) -> None:
        """Send back what is heard, until `stop_playing` or `play`."""
        self._check_open()
        self._speaker.echo()

    def send_digits(self, digits: str, *, duration: float = 0.1, pause: float = 0.1) -> Deferred[None]:
        """Send digits, after those that wait: as telephone events if the peer takes them, else as tones.

        They wait while nothing may be sent, as on hold.

        Args:
            digits: ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D``, and ``,`` for two seconds of nothing.
            duration: of each, in seconds: 0.04 to 8.0.
            pause: after each, the same.

        Returns:
            When all are sent, or the endpoint is closed. To cancel it takes back those that were not begun. Fails with
            `LocalError`, before anything is sent, if a character is none of these, or too many digits wait.
        """
        try:
            self._check_open()
            return self._speaker.digits.send(digits, duration=duration, pause=pause)
        except LocalError as error:
            return fail(error)

    # --- listening

    def connect(self, source: ISource | None, sink: ISink | None) -> None:
        """Send what a source gives, and give a sink what is heard, instead of those before.

        Args:
            source: is read at each beat, until it is over; what is played goes before it. ``None`` for none.
            sink: gets 20 ms at each beat. ``None`` for none.
        """
        self._check_open()
        self._speaker.is_raw = False
        self._speaker.source = source
        before, self._sink = self._sink, sink
        if before is not sink:
            end_sink(before)

    def record(self, path: str | Path, *, both: bool = False) -> Recording:
        """Record what is heard from now on, or from when there is an agreement. Until ``stop``, or the end of the call.

        Args:
            path: of a WAVE file, 8000 Hz and 16 bits; a number is put into its name if that is taken.
            both: for two channels, what is heard on the left and what is said on the right.

        Raises:
            InvalidStateError: the endpoint was closed, or has no writer and cannot start a thread.
        """
        self._check_open()
        return self._recordings.begin(Path(path), channels=2 if both else 1)

    def collect(
        self, count: int, *, timeout: float, until: str = "#", between: float = 3.0, keep: bool = False
    ) -> Deferred[str]:
        """Collect digits of the peer, one collection at a time.

        Args:
            count: how many at most.
            timeout: seconds to wait for the first one.
            until: digits that end it, and are not part of it.
            between: seconds to wait for each of the others.
            keep: whether digits that came before, and that nobody collected, count; of those 64 are kept.

        Returns:
            The digits: all, or those that came until it ended, timed out or the endpoint was closed. Can be cancelled.
            Fails with `InvalidStateError` if digits are being collected, or the endpoint was closed.
        """
        try:
            self._check_open()
            return self._listener.collect(count, timeout=timeout, until=until, between=between, keep=keep)
        except InvalidStateError as error:
            return fail(error)

    def digit_received(self, digit: str) -> None:
        """Take a digit of the peer that came in another way, as by SIP INFO: it is heard and collected like the others.

        Args:
            digit: one of ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D``; anything else is passed over.
        """
        if len(digit) == 1 and digit.upper() in DIGITS and not self._is_closed:
            self._listener.digit(digit.upper())

    def wait_for_media(self) -> Deferred[None]:
        """Wait for the peer's first packet; at once if it came. Fails with `InvalidStateError` at the end."""
        if self._wire.receiver.packets:
            return succeed(None)
        if self._is_closed:
            return fail(InvalidStateError("The endpoint was closed"))
        waiter: Deferred[None] = Deferred(self._media_waiters.remove)
        self._media_waiters.append(waiter)
        return waiter

    # --- packets as they are

    def read_rtp(self) -> Deferred[RtpPacket]:
        """Give the next RTP packet of the peer, decrypted. From the first call on 100 are kept, the oldest go first.

        They are heard, recorded and counted beside that. Fails with `InvalidStateError` at the end; can be cancelled.
        """
        return self._wire.read_rtp()

    def write_rtp(self, packet: RtpPacket) -> None:
        """Send an RTP packet as it is, but encrypted if that was agreed on.

        From then on nothing else is sent but RTCP, until `play`, `echo`, `connect` or `stop_playing`. Its numbers are
        the caller's; reports of this side go on to name its own source.

        Raises:
            InvalidStateError: the endpoint was closed, or nobody knows where the peer is.
            ValueError: a field does not fit.
        """
        self._check_open()
        if self.remote is None:
            raise InvalidStateError("Nobody knows where the peer is")
        self._speaker.is_raw = True
        self._wire.send_rtp(packet)

    def read_rtcp(self) -> Deferred[tuple[RtcpPacket, ...]]:
        """Give the packets of the next RTCP datagram of the peer; see `read_rtp`."""
        return self._wire.read_rtcp()

    def write_rtcp(self, packets: Sequence[RtcpPacket]) -> None:
        """Send RTCP packets as one datagram. Reports of this side go on.

        Raises:
            InvalidStateError: the endpoint was closed, or nobody knows where the peer is.
            ValueError: a field does not fit.
        """
        self._check_open()
        if self.remote is None:
            raise InvalidStateError("Nobody knows where the peer is")
        self._wire.send_rtcp(tuple(packets))

    # --- beats

    def beat(self) -> None:
        """See `sipd.media.pacer.Paced`."""
        with self._log.failureHandler("the audio of a call failed for 20 ms"):
            self._beat()

    def skip(self, count: int) -> None:
        """See `sipd.media.pacer.Paced`."""
        self._speaker.sender.skip(count)
        self._recordings.skip(count)

    def _beat(self) -> None:
        now = self._reactor.seconds()
        heard = self._wire.receiver.take()
        if not self.is_receiving:
            heard = None
        if self._detector is not None:
            self._detector.feed(SILENCE if heard is None else heard)
        if self._sink is not None:
            self._write(self._sink, SILENCE if heard is None else heard)
        if self._recordings:
            said = self._speaker.beat(heard, wants_samples=self._recordings.want_both)
            self._recordings.frame(heard, said)
        else:
            self._speaker.beat(heard, wants_samples=False)
        self._wire.keep_alive(now)
        self._wire.report(self._speaker.sender, now)
        if self._settings.log_interval:
            self._log_statistics(now)

    def _write(self, sink: ISink, samples: array[int]) -> None:
        """Let a sink hear; one that fails is not asked again."""
        is_written = False
        with self._log.failureHandler("a sink failed, and hears nothing more"):
            sink.write(samples)
            is_written = True
        if not is_written and self._sink is sink:
            self._sink = None

    def _log_statistics(self, now: float) -> None:
        if self._log_due is None or now >= self._log_due:
            if self._log_due is not None:
                self._log.info("{statistics}", statistics=self.statistics)
            self._log_due = now + self._settings.log_interval

    # --- inside

    def _prepare(self) -> None:
        """See to it that what is going to be said can be kept."""
        self._check_open()
        self._speaker.prepare(self._settings.codecs)

    def _check_open(self) -> None:
        if self._is_closed:
            raise InvalidStateError("The endpoint was closed")

    def _agreed(self, outcome: Outcome) -> None:
        """Go on as was agreed on."""
        is_first, self._agreement = self._agreement is None, outcome.agreement
        self._wire.agreed(outcome)
        self._speaker.agreed(outcome.agreement)
        if is_first:
            self._pacer.add(self)

    def _connection_lost(self, why: str) -> None:
        self._log.warn("no media from or to {remote} any more: {why}", remote=self.remote, why=why)
        for told in tuple(self.on_lost):
            with self._log.failureHandler("who waits for the end of media failed"):
                told(why)

    def _packet_came(self, packet: RtpPacket) -> None:
        """Take an RTP packet of the peer."""
        receiver = self._wire.receiver
        receiver.hear(packet)
        if receiver.is_event(packet):
            self._listener.event(packet)
        waiting, self._media_waiters = self._media_waiters, []
        for waiter in waiting:
            waiter.callback(None)

    def _closed(self, _: object) -> None:
        waiting, self._close_waiters = self._close_waiters or [], None
        for waiter in waiting:
            waiter.callback(None)


def _check_hosts(host: str, advertised_host: str) -> None:
    """Raise `ConfigurationError` if these addresses cannot be used."""
    for each in (host, advertised_host):
        if numeric(each) is None:
            raise ConfigurationError([f"media address {each}: not a numeric address"])
    if AddressType.of(host) is not AddressType.of(advertised_host):
        raise ConfigurationError([f"media address {host}: advertised as another version of IP"])
    if numeric(advertised_host) in ("0.0.0.0", "::"):
        raise ConfigurationError([f"media address {host}: needs an advertised address that peers can send to"])
