"""DTLS-SRTP with the `openssl` program, as client and as server: both ends export the same keys (RFC 5764)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from sipd.media.dtls.errors import DtlsAlertError, DtlsError, FingerprintMismatchError
from sipd.media.dtls.handshake import DtlsHandshake, DtlsLimits, State
from sipd.media.dtls.identity import make_identity
from sipd.media.libsrtp import available
from sipd.media.securing import Keys
from sipd.sdp.crypto import AES_CM_128_HMAC_SHA1_80, Suite
from sipd.sdp.fingerprints import Fingerprint
from tests.interop.case import InteropTestCase
from tests.interop.programs import Program
from tests.ports import HOST

_LABEL = "EXTRACTOR-dtls_srtp"
_PROFILE = "SRTP_AES128_CM_SHA1_80"
_LIMIT = 20.0


class Peer(DatagramProtocol):
    """One socket, and one handshake by it with whoever sends first or is named.

    Attributes:
        handshake: takes what comes.
        remote: where the peer is.
        is_lost: says which of the datagrams that come are lost.
        received: how many came.
        sent: their sizes.
    """

    def __init__(self) -> None:
        self.handshake: DtlsHandshake | None = None
        self.remote: tuple[str, int] | None = None
        self.is_lost: Callable[[bytes], bool] = lambda _: False
        self.received = 0
        self.sent: list[int] = []

    def send(self, data: bytes) -> None:
        """Send to the peer."""
        assert self.transport is not None
        self.sent.append(len(data))
        self.transport.write(data, self.remote)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Give it to the handshake."""
        self.received += 1
        self.remote = addr
        if self.handshake is not None and not self.is_lost(datagram):
            self.handshake.datagram_received(datagram)

    def connectionRefused(self) -> None:
        """The program is not there yet, or not any more."""


def of_keys(keys: Keys, *, is_client: bool) -> str:
    """Give keys as they were exported: those of both sides, then both salts, in hexadecimal."""
    assert keys.inbound is not None and keys.outbound is not None
    first, second = (keys.outbound, keys.inbound) if is_client else (keys.inbound, keys.outbound)
    octets = first.suite.key_octets
    parts = (first.master[:octets], second.master[:octets], first.master[octets:], second.master[octets:])
    return b"".join(parts).hex().upper()


class DtlsTests(InteropTestCase):
    """Keys that both ends know."""

    skip = available()
    programs = ("openssl",)

    def setUp(self) -> None:
        """Make identities of both sides."""
        super().setUp()
        self.ours = make_identity()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "theirs")])
        now = datetime.now(UTC)
        certificate = x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now.replace(year=now.year + 1, day=1)
        ).sign(key, hashes.SHA256())
        self.directory.joinpath("key.pem").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        self.directory.joinpath("certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        self.theirs = Fingerprint.of(certificate.public_bytes(Encoding.DER))
        self.peer = Peer()

    def listen(self) -> int:
        """Open our socket; give its port."""
        port = self.ports.take()
        listening = IReactorUDP(self.reactor).listenUDP(port, self.peer, HOST, 8192)
        self.addCleanup(listening.stopListening)
        return port

    def shake_hands(
        self, *, is_client: bool, expected: Fingerprint | None = None, limits: DtlsLimits | None = None
    ) -> DtlsHandshake:
        """Begin our side; it is closed when the test is over."""
        handshake = DtlsHandshake(
            self.ours,
            is_client=is_client,
            expected=[expected or self.theirs],
            send=self.peer.send,
            clock=IReactorTime(self.reactor),
            limits=limits or DtlsLimits(duration=_LIMIT),
        )
        self.addCleanup(handshake.close)
        self.peer.handshake = handshake
        handshake.start()
        return handshake

    def openssl(self, command: str, *arguments: str, profile: str = _PROFILE, octets: int = 60) -> Program:
        """Start the program."""
        return self.start(
            "openssl",
            command,
            "-dtls1_2",
            *("-cert", "certificate.pem", "-key", "key.pem"),
            *("-use_srtp", profile, "-keymatexport", _LABEL, "-keymatexportlen", str(octets)),
            *arguments,
        )

    async def start_server(self, *arguments: str, profile: str = _PROFILE, octets: int = 60) -> Program:
        """Start a server that asks for our certificate, and wait until it listens."""
        port = self.ports.take()
        self.peer.remote = (HOST, port)
        wants = ("-accept", f"{HOST}:{port}", "-Verify", "1")
        server = self.openssl("s_server", *wants, *arguments, profile=profile, octets=octets)
        await server.says("ACCEPT")
        return server

    async def assert_same_keys(
        self, program: Program, handshake: DtlsHandshake, *, is_client: bool, suite: Suite = AES_CM_128_HMAC_SHA1_80
    ) -> None:
        """Check that both ends say the same."""
        keys = await handshake.done
        assert keys.inbound is not None
        self.assertIs(keys.inbound.suite, suite)
        said = await program.says(r"Keying material: ([0-9A-F]{50,})\s")
        self.assertEqual(of_keys(keys, is_client=is_client), said[1].decode())
        self.assertIn(b"SRTP Extension negotiated, profile=", program.output)

    def test_as_server(self) -> Deferred[None]:
        """A client gets the same keys; when it says goodbye, we hear of it."""
        return Deferred.fromCoroutine(self._as_server())

    async def _as_server(self) -> None:
        port = self.listen()
        handshake = self.shake_hands(is_client=False)
        closed: Deferred[None] = Deferred()
        handshake.on_closed = lambda: closed.callback(None)
        client = self.openssl("s_client", "-connect", f"{HOST}:{port}")
        await self.assert_same_keys(client, handshake, is_client=False)
        assert client.transport is not None
        client.transport.write(b"Q\n")
        await closed.addTimeout(_LIMIT, IReactorTime(self.reactor))
        self.assertIs(handshake.state, State.ENDED)

    def test_as_client(self) -> Deferred[None]:
        """A server gets the same keys, and hears of it when we say goodbye."""
        return Deferred.fromCoroutine(self._as_client())

    async def _as_client(self) -> None:
        self.listen()
        server = await self.start_server()
        handshake = self.shake_hands(is_client=True)
        await self.assert_same_keys(server, handshake, is_client=True)
        handshake.close()
        await server.says(r"(?s)Keying material:.*DONE", _LIMIT)

    def test_authenticated_encryption(self) -> Deferred[None]:
        """Who offers both gets the profile that is best, with its shorter salts."""
        return Deferred.fromCoroutine(self._authenticated_encryption())

    async def _authenticated_encryption(self) -> None:
        port = self.listen()
        handshake = self.shake_hands(is_client=False)
        both = f"{_PROFILE}:SRTP_AEAD_AES_128_GCM"
        client = self.openssl("s_client", "-connect", f"{HOST}:{port}", profile=both, octets=56)
        await self.assert_same_keys(client, handshake, is_client=False, suite=self.ours.suites[0])

    def test_cookie(self) -> Deferred[None]:
        """A server that wants a cookie first gets it."""
        return Deferred.fromCoroutine(self._cookie())

    async def _cookie(self) -> None:
        self.listen()
        server = await self.start_server("-listen")
        handshake = self.shake_hands(is_client=True)
        await self.assert_same_keys(server, handshake, is_client=True)

    def test_small_datagrams(self) -> Deferred[None]:
        """Flights of many datagrams arrive, in both directions."""
        return Deferred.fromCoroutine(self._small_datagrams())

    async def _small_datagrams(self) -> None:
        port = self.listen()
        handshake = self.shake_hands(is_client=False, limits=DtlsLimits(duration=_LIMIT, datagram_octets=256))
        client = self.openssl("s_client", "-connect", f"{HOST}:{port}", "-mtu", "300")
        await self.assert_same_keys(client, handshake, is_client=False)
        self.assertLessEqual(max(self.peer.sent), 256)

    def test_last_flight_lost(self) -> Deferred[None]:
        """If what a server says last is lost, it says it again when OpenSSL here has repeated the flight before it."""
        return Deferred.fromCoroutine(self._last_flight_lost())

    async def _last_flight_lost(self) -> None:
        self.listen()
        server = await self.start_server()
        lost: list[bytes] = []

        def is_last_flight(data: bytes) -> bool:
            if data[0] != 20 or lost:
                return False
            lost.append(data)
            return True

        self.peer.is_lost = is_last_flight
        handshake = self.shake_hands(is_client=True)
        await self.assert_same_keys(server, handshake, is_client=True)
        self.assertEqual(len(lost), 1)

    def test_wrong_certificate(self) -> Deferred[None]:
        """A client with another certificate than the one that is expected gets an alert."""
        return Deferred.fromCoroutine(self._wrong_certificate())

    async def _wrong_certificate(self) -> None:
        port = self.listen()
        handshake = self.shake_hands(is_client=False, expected=self.ours.fingerprint)
        client = self.openssl("s_client", "-connect", f"{HOST}:{port}")
        with self.assertRaises(FingerprintMismatchError):
            await handshake.done
        await client.says("alert")
        await client.ends(_LIMIT)

    def test_no_certificate(self) -> Deferred[None]:
        """A client without a certificate gets no keys."""
        return Deferred.fromCoroutine(self._no_certificate())

    async def _no_certificate(self) -> None:
        port = self.listen()
        handshake = self.shake_hands(is_client=False)
        self.start("openssl", "s_client", "-dtls1_2", "-use_srtp", _PROFILE, "-connect", f"{HOST}:{port}")
        with self.assertRaises(DtlsError):
            await handshake.done

    def test_no_common_cipher(self) -> Deferred[None]:
        """A server that wants no cipher of ours says so, and the error does."""
        return Deferred.fromCoroutine(self._no_common_cipher())

    async def _no_common_cipher(self) -> None:
        self.listen()
        await self.start_server("-cipher", "ECDHE-ECDSA-AES128-SHA")
        handshake = self.shake_hands(is_client=True)
        with self.assertRaises(DtlsAlertError) as raised:
            await handshake.done
        self.assertIn("handshake failure", str(raised.exception))
