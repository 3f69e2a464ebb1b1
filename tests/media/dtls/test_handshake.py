"""Tests of `sipd.media.dtls.handshake`: two of them with each other."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

from OpenSSL import SSL
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.media.dtls.errors import (
    DtlsAlertError,
    DtlsError,
    DtlsTimeoutError,
    FingerprintMismatchError,
    NoSrtpProfileError,
)
from sipd.media.dtls.handshake import DtlsHandshake, DtlsLimits, State
from sipd.media.dtls.identity import DtlsIdentity, make_identity
from sipd.media.dtls.records import split_records
from sipd.media.libsrtp import available
from sipd.media.securing import Keys
from sipd.media.srtp import InboundContext, OutboundContext
from sipd.sdp.crypto import AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_80
from sipd.sdp.fingerprints import Fingerprint
from tests.media.dtls.wires import DELAY, Wire, bad, good


class DtlsTestCase(SynchronousTestCase):
    """Two identities."""

    skip = available()

    def setUp(self) -> None:
        """Make them."""
        self.ours, self.theirs = make_identity(), make_identity()

    def assert_agreed(self, wire: Wire) -> tuple[Keys, Keys]:
        """Check that both have the same keys crosswise; give those of the client, then those of the server."""
        of_client, of_server = self.successResultOf(wire.client.done), self.successResultOf(wire.server.done)
        self.assertIsNotNone(of_client.inbound)
        self.assertEqual((of_client.inbound, of_client.outbound), (of_server.outbound, of_server.inbound))
        self.assertNotEqual(of_client.inbound, of_client.outbound)
        self.assertEqual((wire.client.state, wire.server.state), (State.CONNECTED, State.CONNECTED))
        return of_client, of_server

    def assert_over(self, wire: Wire) -> None:
        """Check that both have ended, and that nothing is left."""
        self.assertEqual((wire.client.state, wire.server.state), (State.ENDED, State.ENDED))
        self.assertEqual(wire.clock.getDelayedCalls(), [])


class AgreeingTests(DtlsTestCase):
    """A network that loses nothing."""

    def test_keys(self) -> None:
        """Both sides have the same keys crosswise, of the strongest suite, and no timer is left."""
        wire = Wire(self.ours, self.theirs)
        wire.run()
        keys, _ = self.assert_agreed(wire)
        assert keys.inbound is not None
        self.assertIs(keys.inbound.suite, AEAD_AES_128_GCM)
        self.assertEqual(wire.clock.getDelayedCalls(), [])

    def test_other_keys_each_time(self) -> None:
        """The same identities give other keys the next time."""
        wires = [Wire(self.ours, self.theirs), Wire(self.ours, self.theirs)]
        for wire in wires:
            wire.run()
        self.assertNotEqual(*[self.successResultOf(wire.client.done) for wire in wires])

    def test_srtp(self) -> None:
        """What one side protects, the other opens, in both directions; it does not open its own."""
        wire = Wire(self.ours, self.theirs)
        wire.run()
        packet = struct.pack("!BBHII", 0x80, 0, 1, 160, 7) + bytes(160)
        keys = self.assert_agreed(wire)
        for sender, receiver in ((0, 1), (1, 0)):
            outbound, inbound, mirror = (
                OutboundContext(),
                InboundContext(wire.clock.seconds),
                InboundContext(wire.clock.seconds),
            )
            outgoing, incoming, foreign = keys[sender].outbound, keys[receiver].inbound, keys[sender].inbound
            assert outgoing is not None and incoming is not None and foreign is not None
            outbound.use(outgoing)
            inbound.use(incoming)
            mirror.use(foreign)
            protected = outbound.protect(packet)
            assert protected is not None
            self.assertNotEqual(protected[: len(packet)], packet)
            self.assertIsNone(mirror.unprotect(protected))
            self.assertEqual(inbound.unprotect(protected), packet)

    def test_roles_decide_keys(self) -> None:
        """What the client sends is protected by the first key and the first salt (RFC 5764 section 4.2)."""
        exported = bytes(range(56))
        self.patch(SSL.Connection, "export_keying_material", lambda *_: exported)
        wire = Wire(self.ours, self.theirs)
        wire.run()
        keys, _ = self.assert_agreed(wire)
        assert keys.inbound is not None and keys.outbound is not None
        self.assertEqual(keys.outbound.master, exported[:16] + exported[32:44])
        self.assertEqual(keys.inbound.master, exported[16:32] + exported[44:])

    def test_flights_are_cut_at_records(self) -> None:
        """No datagram is larger than the limit, and each has whole records."""
        for limit in (300, 600, 1200):
            wire = Wire(self.ours, self.theirs, limits=DtlsLimits(datagram_octets=limit))
            wire.run()
            self.assert_agreed(wire)
            said = wire.said_by_client + wire.said_by_server
            self.assertLessEqual(max(map(len, said)), limit)
            for datagram in said:
                self.assertEqual(b"".join(split_records(datagram)), datagram)

    def test_answers_at_once(self) -> None:
        """A wire that delivers while it is given a datagram does no harm."""
        pair: list[DtlsHandshake] = []
        clock = Clock()
        for place, (own, other) in enumerate(((self.ours, self.theirs), (self.theirs, self.ours))):
            pair.append(
                DtlsHandshake(
                    own,
                    is_client=place == 1,
                    expected=[other.fingerprint],
                    send=lambda data, place=place: pair[1 - place].datagram_received(data),  # type: ignore[misc]
                    clock=clock,
                    limits=DtlsLimits(datagram_octets=300),
                )
            )
        for each in pair:
            each.start()
        self.assertEqual([each.state for each in pair], 2 * [State.CONNECTED])
        pair[0].close()
        self.assertEqual([each.state for each in pair], 2 * [State.ENDED])
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_weaker_suite(self) -> None:
        """A peer that has no authenticated encryption for SRTP gets what everybody has."""
        wire = Wire(self.limited(b"SRTP_AES128_CM_SHA1_80"), self.theirs)
        wire.run()
        keys, _ = self.assert_agreed(wire)
        assert keys.inbound is not None
        self.assertIs(keys.inbound.suite, AES_CM_128_HMAC_SHA1_80)

    def test_no_common_profile(self) -> None:
        """Without a suite that both have, neither side has keys."""
        wire = Wire(self.limited(b"SRTP_AES128_CM_SHA1_32"), self.theirs)
        wire.run()
        self.failureResultOf(wire.server.done, NoSrtpProfileError)
        self.failureResultOf(wire.client.done, NoSrtpProfileError)
        self.assert_over(wire)

    def limited(self, profile: bytes) -> DtlsIdentity:
        """Make an identity that offers no other profile."""
        real = SSL.Context.set_tlsext_use_srtp
        patch = self.patch(SSL.Context, "set_tlsext_use_srtp", lambda context, _: real(context, profile))
        identity = make_identity()
        patch.restore()
        return identity


class LossTests(DtlsTestCase):
    """A network that loses, doubles and swaps datagrams."""

    def test_first_flights_lost(self) -> None:
        """Each flight that is lost is sent once more after a quarter of a second."""
        for lost in range(4):
            number = iter(range(100))
            wire = Wire(self.ours, self.theirs, fate=lambda _, n=number, k=lost: () if next(n) == k else (DELAY,))  # type: ignore[misc]
            wire.run(0.25 + 6 * DELAY)
            self.assert_agreed(wire)

    def test_random_loss(self) -> None:
        """With a third of all datagrams lost, others doubled and swapped, both sides come to the same keys."""
        for seed in range(30):
            wire = Wire(self.ours, self.theirs, fate=bad(Random(seed), loss=0.33))
            wire.run()
            self.assert_agreed(wire)
            self.assertEqual(wire.clock.getDelayedCalls(), [])

    def test_small_datagrams_overtake(self) -> None:
        """Flights of several datagrams, in which later ones come first, come to an end if the last one comes last."""
        for seed in range(20):
            random = Random(seed)

            def fate(data: bytes, random: Random = random) -> Sequence[float]:
                has_change = any(record[0] == 20 for record in split_records(data))
                return (DELAY,) if has_change else (random.uniform(0.1, 0.9) * DELAY,)

            wire = Wire(self.ours, self.theirs, fate=fate, limits=DtlsLimits(datagram_octets=300))
            wire.run()
            self.assert_agreed(wire)

    def test_last_flight_is_repeated_on_demand(self) -> None:
        """A server that is done repeats its last flight for a client that lacks it, some times at most."""
        wire = Wire(self.ours, self.theirs, fate=lambda data: () if data in wire.said_by_server[1:] else (DELAY,))
        wire.run(10)
        self.assertEqual((wire.server.state, wire.client.state), (State.CONNECTED, State.HANDSHAKING))
        last_flight, again = wire.said_by_client[-1], len(wire.said_by_server)
        self.assertGreater(again, 3)
        wire.fate = good
        wire.clock.advance(10)
        self.assert_agreed(wire)
        for _ in range(100):
            wire.server.datagram_received(last_flight)
        self.assertLessEqual(len(wire.said_by_server), again + 20)

    def test_silence(self) -> None:
        """Who hears nothing gives up after the limit, at both ends, having repeated ever more slowly."""
        wire = Wire(self.ours, self.theirs, fate=lambda _: ())
        wire.run(19.9)
        self.assertNoResult(wire.client.done)
        wire.clock.advance(0.1)
        error = self.failureResultOf(wire.client.done, DtlsTimeoutError).value
        self.assertEqual(error.status, 408)
        self.failureResultOf(wire.server.done, DtlsTimeoutError)
        self.assertEqual(len(wire.said_by_client), 14)
        self.assert_over(wire)

    def test_openssl_makes_new_records_when_its_time_has_come(self) -> None:
        """What OpenSSL itself has to repeat is sent in the place of what was sent before."""
        wire = Wire(self.ours, self.theirs, fate=lambda _: ())
        wire.client.start()
        [first] = wire.said_by_client
        fresh = first[:5] + (77).to_bytes(6, "big") + first[11:]
        asked: list[SSL.Connection] = []
        self.patch(SSL.Connection, "DTLSv1_handle_timeout", lambda connection: asked.append(connection))
        output = [fresh]
        real = SSL.Connection.bio_read

        def bio_read(connection: SSL.Connection, size: int) -> bytes:
            return output.pop() if len(asked) == 2 and output else real(connection, size)

        self.patch(SSL.Connection, "bio_read", bio_read)
        wire.clock.advance(1.0)
        self.assertEqual(wire.said_by_client, [first, first, fresh, fresh])
        wire.client.done.addErrback(lambda _: None)
        wire.client.close()


class IdentityTests(DtlsTestCase):
    """Peers that are not who they should be."""

    def test_wrong_server(self) -> None:
        """A client that finds another certificate has no keys; the server hears of it."""
        wire = Wire(self.ours, self.theirs, expected_by_client=[self.ours.fingerprint])
        wire.run()
        self.failureResultOf(wire.client.done, FingerprintMismatchError)
        self.failureResultOf(wire.server.done, DtlsAlertError)
        self.assert_over(wire)

    def test_wrong_client(self) -> None:
        """A server that finds another certificate has no keys; the client hears of it."""
        wire = Wire(self.ours, self.theirs, expected_by_server=[Fingerprint.of(b"another")])
        wire.run()
        self.failureResultOf(wire.server.done, FingerprintMismatchError)
        self.failureResultOf(wire.client.done, DtlsAlertError)
        self.assert_over(wire)

    def test_unknown_hash_function(self) -> None:
        """A fingerprint by a hash function that is not known matches nothing."""
        wire = Wire(self.ours, self.theirs, expected_by_server=[Fingerprint("md5", bytes(16))])
        wire.run()
        self.failureResultOf(wire.server.done, FingerprintMismatchError)
        self.failureResultOf(wire.client.done, DtlsAlertError)

    def test_checked_again_before_keys(self) -> None:
        """There are no keys for another certificate, even if OpenSSL had not asked about it."""
        self.patch(DtlsHandshake, "_check", lambda *_: True)
        wire = Wire(self.ours, self.theirs, expected_by_client=[self.ours.fingerprint])
        wire.run()
        self.failureResultOf(wire.client.done, FingerprintMismatchError)
        self.assertIs(wire.client.state, State.ENDED)
        # It was complete for the server, which is then told of the end.
        self.successResultOf(wire.server.done)
        self.assertIs(wire.server.state, State.ENDED)

    def test_nobody_expected(self) -> None:
        """There is no handshake with anybody."""
        self.assertRaises(ValueError, DtlsHandshake, self.ours, is_client=True, expected=[], send=print, clock=Clock())

    def test_limits(self) -> None:
        """Limits that none can keep are refused."""
        for limits in ({"duration": 0.0}, {"datagrams": 0}, {"octets": 0}, {"datagram_octets": 255}):
            self.assertRaises(ValueError, DtlsLimits, **limits)

    def test_same_role(self) -> None:
        """Two clients come to nothing."""
        wire = Wire(self.ours, self.theirs)
        other = Wire(self.theirs, self.ours)
        wire.client.start()
        other.client.start()
        wire.client.datagram_received(other.said_by_client[0])
        error = self.failureResultOf(wire.client.done).value
        self.assertIsInstance(error, DtlsError)
        other.client.done.addErrback(lambda _: None)
        other.client.close()


class EndingTests(DtlsTestCase):
    """How it ends."""

    def test_goodbye(self) -> None:
        """Who closes tells the peer, which tells its owner, once."""
        for closes_first in ("client", "server"):
            wire = Wire(self.ours, self.theirs)
            wire.run()
            self.assert_agreed(wire)
            told: list[str] = []
            first, other = wire.client, wire.server
            if closes_first == "server":
                first, other = other, first
            first.on_closed = lambda told=told: told.append("first")
            other.on_closed = lambda told=told: told.append("other")
            first.close()
            first.close()
            wire.clock.advance(1)
            other.close()
            self.assertEqual(told, ["other"])
            self.assert_over(wire)

    def test_failing_hook(self) -> None:
        """What a hook raises is its own: it is logged."""
        wire = Wire(self.ours, self.theirs)
        wire.run()
        wire.server.on_closed = lambda: 1 / 0
        wire.client.close()
        wire.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_over(wire)

    def test_cancelled(self) -> None:
        """To cancel it, or to close it, before there are keys ends it, and nothing is sent any more."""
        for end in ("cancel", "close"):
            wire = Wire(self.ours, self.theirs)
            wire.run(1.5 * DELAY)
            for each in (wire.client, wire.server):
                each.done.cancel() if end == "cancel" else each.close()
                self.failureResultOf(each.done, CancelledError)
            said = len(wire.said_by_client + wire.said_by_server)
            wire.clock.advance(30)
            self.assertEqual(len(wire.said_by_client + wire.said_by_server), said)
            self.assert_over(wire)

    def test_closed_by_who_gets_the_keys(self) -> None:
        """Who gets the keys may close at once."""
        wire = Wire(self.ours, self.theirs)
        wire.client.done.addCallback(lambda _: wire.client.close())
        wire.server.done.addCallback(lambda _: wire.server.close())
        wire.run()
        self.assert_over(wire)

    def test_before_start(self) -> None:
        """Before the start datagrams are dropped; a start after the end, or a second one, does nothing."""
        wire = Wire(self.ours, self.theirs)
        wire.client.start()
        wire.client.start()
        self.assertEqual(len(wire.said_by_client), 1)
        wire.clock.advance(2 * DELAY)
        self.assertEqual((wire.server.state, wire.said_by_server), (State.NEW, []))
        for each in (wire.client, wire.server):
            each.done.addErrback(lambda _: None)
            each.close()
            each.start()
        self.assert_over(wire)
