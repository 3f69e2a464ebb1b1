"""The handshake of DTLS-SRTP with one peer, and what comes after it: RFC 5764 section 4, RFC 6347 section 4.2.

OpenSSL speaks the protocol. Here is what is around it: datagrams, time, bounds, and whether the peer is the right one.

Time: OpenSSL repeats a flight that nobody answers after 1, 3, 7 and 15 s, and measures that by the clock of the
system, which nothing can replace. A clock that is given to a handshake says when OpenSSL is asked. If it has nothing to
repeat by then, as always where the time of the clock is not that of the system, the datagrams of the last flight are
sent once more as they were: to the peer, the network has doubled them. So a first loss costs a quarter of a second and
not a whole one, and handshakes can be simulated.

Two things cannot be mended by that, but only by OpenSSL itself, since a peer takes the same record for a replay: a
flight of several datagrams of which a later one came first (its change of the cipher is dropped, but remembered), and,
if the peer is a server that is not of this kind, the loss of its last flight.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sipd.media.dtls.errors import (
    DtlsAlertError,
    DtlsError,
    DtlsLimitError,
    DtlsTimeoutError,
    FingerprintMismatchError,
    NoSrtpProfileError,
)
from sipd.media.dtls.identity import PROFILES, DtlsIdentity, certificate_octets
from sipd.media.dtls.records import ContentType, pack_records, split_records
from sipd.media.securing import Keys
from sipd.sdp.crypto import SrtpKey
from sipd.sdp.fingerprints import Fingerprint, matches

#: RFC 5764 section 4.2.
_EXPORTER = b"EXTRACTOR-dtls_srtp"
#: Seconds from one repetition of a flight to the next; the last one stays. Among the moments that this gives are those
#: at which OpenSSL has something to repeat: 1, 3, 7 and 15 s.
_INTERVALS = (0.25, 0.25, 0.5, 1.0, 1.0, 2.0)
#: How often a server that is done sends its last flight once more because the peer shows that it lacks it.
_LAST_FLIGHT_LIMIT = 20
_READ_OCTETS = 16384
#: What OpenSSL calls an alert of the peer, each version otherwise: "ssl/tls alert bad certificate", "tlsv1 alert ...".
_ALERT = re.compile(r"\S*(?:ssl|tls)\S* alert (.+)")
#: Of no use to who wants nothing but keys.
_UNUSED = ContentType.APPLICATION_DATA


@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsLimits:
    """What a handshake may take.

    Args:
        duration: seconds until it has to be complete.
        datagrams: that are taken of the peer until it is; one more ends it.
        octets: in them; one more ends it.
        datagram_octets: of the largest datagram that is sent. One record with its header has to fit: 256 at least.

    Raises:
        ValueError: a number is too small.
    """

    duration: float = 20.0
    datagrams: int = 200
    octets: int = 65536
    datagram_octets: int = 1200

    def __post_init__(self) -> None:
        if self.duration <= 0 or self.datagrams < 1 or self.octets < 1 or self.datagram_octets < 256:
            raise ValueError("limit of a DTLS handshake that none can keep")


DEFAULT_LIMITS = DtlsLimits()


class State(Enum):
    """How far a handshake is."""

    NEW = "new"
    HANDSHAKING = "handshaking"
    CONNECTED = "connected"
    ENDED = "ended"

    __hash__ = object.__hash__


class DtlsHandshake:
    """One DTLS association: gives keys, or a reason why there are none.

    A server keeps state for whoever sends to it, and answers by more octets than it got: so there may be one only for a
    peer that the signalling or ICE knows of, and only those datagrams may be given to it that come from where ICE, or
    the description of the peer, says that the peer is. That is the caller's duty. Nothing before the handshake is
    complete is authenticated, alerts neither: who can send from the peer's address can end it, but gets no keys.

    One handshake is one association: a new fingerprint, role or transport of the peer wants a new one (RFC 8842
    section 5.1).

    Args:
        identity: of this side.
        is_client: whether this side begins: its role is active (`sipd.sdp.fingerprints`).
        expected: what the description of the peer says of its certificate.
        send: called with each datagram for the peer. It must not raise; it may give an answer at once.
        clock: for repetition and for the limit.
        limits: see there.

    Attributes:
        done: fires once with the keys of both directions: those of the suite that both sides chose, to be used by
            `sipd.media.srtp`. Or it fails: with `FingerprintMismatchError`, `NoSrtpProfileError`, `DtlsTimeoutError`,
            `DtlsAlertError`, `DtlsLimitError`, or with a plain `DtlsError` if the peer breaks the protocol. It can be
            cancelled, which ends the handshake.
        on_closed: called without arguments, once, if the peer ends the association after the keys were there.
        state: how far it is.

    Raises:
        ValueError: no fingerprint is expected. Without one, anybody could be the peer.
    """

    _log = Logger()

    def __init__(
        self,
        identity: DtlsIdentity,
        *,
        is_client: bool,
        expected: Sequence[Fingerprint],
        send: Callable[[bytes], object],
        clock: IReactorTime,
        limits: DtlsLimits = DEFAULT_LIMITS,
    ) -> None:
        if not expected:
            raise ValueError("DTLS with a peer whose fingerprint nobody knows")
        self._is_client = is_client
        self._expected = tuple(expected)
        self._send = send
        self._clock = clock
        self._limits = limits
        self._connection: SSL.Connection | None = identity.connect(self._check, mtu_octets=limits.datagram_octets)
        if is_client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self._is_other = False
        self._flight: list[bytes] = []
        self._repeated = 0
        self._datagrams = 0
        self._octets = 0
        self._repetition: IDelayedCall | None = None
        self._limit: IDelayedCall | None = None
        self.state = State.NEW
        self.on_closed: Callable[[], object] | None = None
        self.done: Deferred[Keys] = Deferred(lambda _: self._end())

    def start(self) -> None:
        """Begin: a client sends its first flight, a server waits; the time is limited from now on. Idempotent."""
        if self.state is not State.NEW:
            return
        self.state = State.HANDSHAKING
        self._limit = self._clock.callLater(self._limits.duration, self._time_out)
        if self._is_client:
            self._proceed()

    def datagram_received(self, data: bytes) -> None:
        """Take a datagram of the peer.

        What is not DTLS is dropped, as is everything before the start and after the end. So is application data, which
        has no use here.

        Args:
            data: any octets.
        """
        connection = self._connection
        if connection is None or self.state is State.NEW:
            return
        records = [record for record in split_records(data) if record[0] != _UNUSED]
        if not records:
            return
        taken = b"".join(records)
        if self.state is State.CONNECTED:
            connection.bio_write(taken)
            self._go_on(connection, asks_again=any(record[0] != ContentType.ALERT for record in records))
            return
        self._datagrams += 1
        self._octets += len(data)
        if self._datagrams > self._limits.datagrams or self._octets > self._limits.octets:
            self._fail(DtlsLimitError("the peer sends more than any DTLS handshake needs"))
            return
        connection.bio_write(taken)
        self._proceed()

    def close(self) -> None:
        """End it and forget its keys: the peer is told, if there is an association. Idempotent.

        If it is not complete, `done` fails with ``CancelledError``.
        """
        connection, was_connected = self._connection, self.state is State.CONNECTED
        self._end()
        if connection is not None and was_connected:
            _shut_down(connection)
            self._send_all(self._take_output(connection))
        if not self.done.called:
            self.done.cancel()

    # --- until it is complete

    def _proceed(self) -> None:
        """Let OpenSSL go on with the handshake, send what it has to say, and see what has become of it."""
        connection = self._connection
        if connection is None:
            return
        failure: DtlsError | None = None
        is_complete = False
        try:
            connection.do_handshake()
            is_complete = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            failure = self._explain(error)
        keys: Keys | None = None
        if is_complete:
            try:
                keys = self._derive_keys(connection)
            except DtlsError as error:
                failure = error
                _shut_down(connection)
        flight = self._take_output(connection)
        # Sending may give the answer at once: so everything is as it will be before anything is sent.
        if flight:
            self._flight, self._repeated = flight, 0
        if failure is not None:
            self._end()
        elif keys is not None:
            self.state = State.CONNECTED
            self._stop_timers()
            self._repeated = 0
        elif flight:
            self._schedule()
        self._send_all(flight)
        if failure is not None:
            self._give_up(failure)
        elif keys is not None and not self.done.called:
            self.done.callback(keys)
            # What came in the same datagram, such as the end.
            if self._connection is not None:
                self._go_on(self._connection, asks_again=False)

    def _derive_keys(self, connection: SSL.Connection) -> Keys:
        """Give the keys, or raise `DtlsError`: nothing else gets to them."""
        certificate = connection.get_peer_certificate()
        if certificate is None or not matches(certificate_octets(certificate), self._expected):
            raise FingerprintMismatchError("the certificate of the peer is not the one that its description names")
        suite = PROFILES.get(connection.get_selected_srtp_profile())
        if suite is None:
            raise NoSrtpProfileError("the peer does DTLS, but no SRTP that could be used")
        key, salt = suite.key_octets, suite.salt_octets
        material = connection.export_keying_material(_EXPORTER, 2 * (key + salt))
        salts = material[2 * key :]
        of_client = SrtpKey(suite=suite, master=material[:key] + salts[:salt])
        of_server = SrtpKey(suite=suite, master=material[key : 2 * key] + salts[salt:])
        if self._is_client:
            return Keys(inbound=of_server, outbound=of_client)
        return Keys(inbound=of_client, outbound=of_server)

    def _check(self, certificate: bytes) -> bool:
        """Say, during the handshake, whether that is the peer's certificate."""
        is_right = matches(certificate, self._expected)
        self._is_other = not is_right
        return is_right

    def _explain(self, error: SSL.Error) -> DtlsError:
        """Give what an error of OpenSSL means: it carries (library, function, reason) of each thing that is wrong."""
        if self._is_other:
            return FingerprintMismatchError("the certificate of the peer is not the one that its description names")
        if isinstance(error, SSL.ZeroReturnError):
            return DtlsAlertError("the peer has ended the DTLS handshake")
        entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
        reasons = [str(entry[-1]) for entry in entries if entry]
        reason = reasons[0] if reasons else "no reason given"
        if (alert := _ALERT.fullmatch(reason)) is not None:
            return DtlsAlertError(f"the peer has ended the DTLS handshake: {alert[1]}")
        return DtlsError(f"DTLS handshake with a peer that does not keep to the protocol: {reason}")

    # --- time

    def _schedule(self) -> None:
        """See to it that the last flight is repeated."""
        if self._repetition is not None:
            self._repetition.cancel()
        interval = _INTERVALS[min(self._repeated, len(_INTERVALS) - 1)]
        self._repetition = self._clock.callLater(interval, self._repeat)

    def _repeat(self) -> None:
        self._repetition = None
        connection = self._connection
        if connection is None:
            return
        try:
            connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._fail(self._explain(error))
            return
        self._flight = self._take_output(connection) or self._flight
        self._repeated += 1
        self._schedule()
        self._send_all(self._flight)

    def _time_out(self) -> None:
        self._limit = None
        self._fail(DtlsTimeoutError(f"no DTLS handshake within {self._limits.duration:g} s"))

    # --- afterwards

    def _go_on(self, connection: SSL.Connection, *, asks_again: bool) -> None:
        """Let OpenSSL see what came after the handshake, and answer who lacks our last flight.

        Args:
            connection: with records to read.
            asks_again: whether the peer repeats something of the handshake.
        """
        is_over = False
        try:
            while True:
                connection.recv(_READ_OCTETS)
        except SSL.WantReadError:
            pass
        except SSL.Error:
            # The peer says goodbye, or sends a fatal alert.
            is_over = True
        answer = self._take_output(connection)
        if is_over:
            self._end()
        elif not answer and asks_again and not self._is_client and self._repeated < _LAST_FLIGHT_LIMIT:
            self._repeated += 1
            answer = self._flight
        self._send_all(answer)
        hook = self.on_closed
        if is_over and hook is not None:
            self.on_closed = None
            with self._log.failureHandler("who waits for the end of DTLS failed"):
                hook()

    # --- the end

    def _fail(self, error: DtlsError) -> None:
        """End it without keys."""
        self._end()
        self._give_up(error)

    def _give_up(self, error: DtlsError) -> None:
        if not self.done.called:
            self.done.errback(error)

    def _end(self) -> None:
        """Forget the connection, and what was sent. Idempotent."""
        self.state = State.ENDED
        self._stop_timers()
        connection, self._connection = self._connection, None
        self._flight = []
        if connection is not None:
            connection.set_app_data(None)

    def _stop_timers(self) -> None:
        for timer in (self._repetition, self._limit):
            if timer is not None:
                timer.cancel()
        self._repetition = self._limit = None

    # --- octets

    def _take_output(self, connection: SSL.Connection) -> list[bytes]:
        """Give what OpenSSL has to say as datagrams: it hands out all records in one piece."""
        pieces: list[bytes] = []
        try:
            while True:
                pieces.append(connection.bio_read(_READ_OCTETS))
        except SSL.WantReadError:
            pass
        return pack_records(split_records(b"".join(pieces)), self._limits.datagram_octets)

    def _send_all(self, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            self._send(datagram)


def _shut_down(connection: SSL.Connection) -> None:
    """Say goodbye. That OpenSSL cannot any more, after an error, does not matter."""
    try:
        connection.shutdown()
    except SSL.Error:
        return
