"""Tests of `sipd.media.dtls.handshake` with octets that no decent peer sends."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sipd.media.dtls.errors import DtlsAlertError, DtlsError, DtlsLimitError
from sipd.media.dtls.handshake import DtlsHandshake, DtlsLimits, State
from sipd.media.dtls.identity import make_identity
from sipd.media.dtls.records import ContentType
from sipd.media.libsrtp import available
from sipd.media.securing import Keys
from sipd.testing.clock import SimulatedClock
from tests.media.dtls.wires import DELAY, Wire

EXAMPLES = settings(max_examples=200, deadline=None)


def record(kind: int, body: bytes, *, epoch: int = 0, sequence: int = 0) -> bytes:
    """Make a record of DTLS 1.2."""
    return struct.pack("!BHHHIH", kind, 0xFEFD, epoch, sequence >> 32, sequence & 0xFFFFFFFF, len(body)) + body


def message(kind: int, body: bytes, *, sequence: int = 0, size: int | None = None, start: int = 0) -> bytes:
    """Make a fragment of a message of the handshake."""
    whole = len(body) if size is None else size
    head = struct.pack("!B", kind) + whole.to_bytes(3, "big") + struct.pack("!H", sequence)
    return head + start.to_bytes(3, "big") + len(body).to_bytes(3, "big") + body


numbers = st.integers(0, 3) | st.integers(0, 0xFFFF)
messages = st.builds(
    message,
    st.sampled_from([0, 1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 20]) | st.integers(0, 255),
    st.binary(max_size=200),
    sequence=numbers,
    size=st.none() | st.integers(0, 0xFFFFFF),
    start=st.just(0) | st.integers(0, 0xFFFFFF),
)
bodies = st.one_of(messages, st.lists(messages, max_size=3).map(b"".join), st.binary(max_size=100))
records = st.builds(
    record,
    st.sampled_from(list(ContentType)) | st.integers(0, 255),
    bodies,
    epoch=st.integers(0, 2),
    sequence=numbers,
)
datagrams = st.binary(max_size=200) | st.lists(records, max_size=4).map(b"".join)


class HostileTests(SynchronousTestCase):
    """Whatever comes, there are the documented errors, or nothing."""

    skip = available()

    def setUp(self) -> None:
        """Make identities: nothing changes them."""
        self.ours, self.theirs = make_identity(), make_identity()

    def alone(self, *, is_client: bool, limits: DtlsLimits | None = None) -> tuple[DtlsHandshake, list[Keys | Failure]]:
        """Start a handshake with nobody; give it, and where its outcome will be."""
        handshake = DtlsHandshake(
            self.ours,
            is_client=is_client,
            expected=[self.theirs.fingerprint],
            send=lambda _: None,
            clock=SimulatedClock(),
            limits=limits or DtlsLimits(),
        )
        handshake.start()
        outcome: list[Keys | Failure] = []
        handshake.done.addBoth(outcome.append)
        return handshake, outcome

    def assert_no_keys(self, outcome: list[Keys | Failure]) -> None:
        """Check that there is no outcome, or a documented error."""
        for each in outcome:
            assert isinstance(each, Failure)
            self.assertIsInstance(each.value, DtlsError)

    @EXAMPLES
    @given(st.booleans(), st.lists(datagrams, max_size=8))
    def test_any_octets(self, is_client: bool, sent: list[bytes]) -> None:
        """Any datagrams to who has just begun give no keys, and no other errors than those."""
        handshake, outcome = self.alone(is_client=is_client)
        for datagram in sent:
            handshake.datagram_received(datagram)
        self.assert_no_keys(outcome)
        handshake.close()
        self.assertEqual(len(outcome), 1)

    @EXAMPLES
    @given(st.integers(0, 3), st.lists(datagrams, min_size=1, max_size=4), st.booleans())
    def test_any_octets_at_any_time(self, steps: int, sent: list[bytes], is_client: bool) -> None:
        """The same to who has got as far as any step of the handshake, or is done with it."""
        wire = Wire(self.ours, self.theirs)
        wire.run((steps + 0.5) * DELAY)
        victim = wire.client if is_client else wire.server
        before = victim.state
        for datagram in sent:
            victim.datagram_received(datagram)
        if before is State.CONNECTED:
            self.assertIs(victim.state, State.CONNECTED)
        outcomes: list[object] = []
        for each in (wire.client, wire.server):
            each.done.addBoth(outcomes.append)
        wire.clock.advance(30)
        self.assertEqual(len(outcomes), 2)
        for outcome in outcomes:
            self.assertIsInstance(outcome.value if isinstance(outcome, Failure) else outcome, Keys | DtlsError)
        wire.client.close()
        wire.server.close()
        wire.clock.advance(1)
        self.assertEqual(wire.clock.getDelayedCalls(), [])

    @EXAMPLES
    @given(st.data())
    def test_damaged_flights(self, data: st.DataObject) -> None:
        """Octets changed on the way give the right keys or none, never different ones."""
        places = data.draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 700), st.integers(1, 255)), max_size=3))
        seen = iter(range(1000))
        wire = Wire(self.ours, self.theirs)

        def damaged(datagram: bytes) -> bytes:
            number, octets = next(seen), bytearray(datagram)
            for which, place, change in places:
                if which == number:
                    octets[place % len(octets)] ^= change
            return bytes(octets)

        for each in (wire.client, wire.server):
            real = each.datagram_received
            self.patch(each, "datagram_received", lambda datagram, real=real: real(damaged(datagram)))
        wire.run()
        outcomes: list[object] = []
        for each in (wire.client, wire.server):
            each.done.addBoth(outcomes.append)
        keys = [outcome for outcome in outcomes if isinstance(outcome, Keys)]
        errors = [outcome.value for outcome in outcomes if isinstance(outcome, Failure)]
        self.assertEqual(len(keys) + len(errors), 2)
        for error in errors:
            self.assertIsInstance(error, DtlsError)
        if len(keys) == 2:
            self.assertEqual(keys[0].inbound, keys[1].outbound)
            self.assertEqual(keys[0].outbound, keys[1].inbound)

    def test_too_many_datagrams(self) -> None:
        """One datagram more than the limit ends it; what is not DTLS does not count."""
        limits = DtlsLimits(datagrams=5)
        handshake, outcome = self.alone(is_client=False, limits=limits)
        fragment = record(22, message(1, b"x", size=1000))
        for _ in range(10):
            handshake.datagram_received(b"\x80 is RTP")
        for _ in range(5):
            handshake.datagram_received(fragment)
        self.assertEqual(outcome, [])
        handshake.datagram_received(fragment)
        [failure] = outcome
        assert isinstance(failure, Failure)
        self.assertIsInstance(failure.value, DtlsLimitError)
        self.assertIs(handshake.state, State.ENDED)

    def test_too_many_octets(self) -> None:
        """One octet more than the limit ends it."""
        fragment = record(22, message(1, bytes(100), size=10000))
        for more, is_over in ((0, False), (1, True)):
            handshake, outcome = self.alone(is_client=False, limits=DtlsLimits(octets=2 * len(fragment)))
            handshake.datagram_received(fragment)
            handshake.datagram_received(fragment + bytes(more))
            self.assertEqual([isinstance(each, Failure) for each in outcome], [True] if is_over else [])
            handshake.close()

    def test_alert(self) -> None:
        """A fatal alert ends it, and the error says which."""
        handshake, outcome = self.alone(is_client=True)
        handshake.datagram_received(record(ContentType.ALERT, b"\x02\x28"))
        [failure] = outcome
        assert isinstance(failure, Failure)
        self.assertIsInstance(failure.value, DtlsAlertError)
        self.assertIn("handshake failure", str(failure.value))

    def test_goodbye_instead_of_handshake(self) -> None:
        """A close_notify during the handshake ends it."""
        handshake, outcome = self.alone(is_client=True)
        handshake.datagram_received(record(ContentType.ALERT, b"\x01\x00"))
        [failure] = outcome
        assert isinstance(failure, Failure)
        self.assertIsInstance(failure.value, DtlsAlertError)

    def test_forged_goodbye(self) -> None:
        """Once it is complete, nobody but the peer can end it."""
        wire = Wire(self.ours, self.theirs)
        wire.run()
        for epoch in (0, 1):
            for body in (b"\x01\x00", b"\x02\x28", bytes(40)):
                wire.client.datagram_received(record(ContentType.ALERT, body, epoch=epoch, sequence=99))
        self.assertIs(wire.client.state, State.CONNECTED)
        wire.client.close()
        wire.server.close()

    def test_application_data(self) -> None:
        """Application data is dropped before, during and after the handshake."""
        wire = Wire(self.ours, self.theirs)
        data = record(ContentType.APPLICATION_DATA, bytes(100), epoch=1)
        wire.run(1.5 * DELAY)
        wire.server.datagram_received(data)
        wire.clock.advance(1)
        wire.server.datagram_received(data)
        self.successResultOf(wire.server.done)
        self.assertIs(wire.server.state, State.CONNECTED)
        wire.client.close()
        wire.server.close()
