"""Tests of `sipd.transport.tls`: the files, the names, and connections over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IListeningPort, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.errors import ConfigurationError, TlsError
from sipd.interfaces import IFlow, ListeningPoint
from sipd.sip.locate import Target
from sipd.transport.layer import TransportLayer
from sipd.transport.tls import ClientVerification, TlsContext, TlsSettings, find_identities, is_good_for
from tests.transport.certificates import Authority
from tests.transport.support import (
    TCP,
    TLS,
    LoopbackTestCase,
    RawClient,
    RawPeer,
    RawServer,
    Receiver,
    point,
    reactor,
    request_octets,
    target,
)


class IdentityTests(SynchronousTestCase):
    """Whom a certificate is for (RFC 5922 section 7)."""

    def setUp(self) -> None:
        """Make an authority."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.authority = Authority(folder)

    def identities(self, *names: str) -> tuple[str, ...]:
        """Give the identities of a certificate with these names."""
        return find_identities(self.authority.certificate(names, common_name="cn.example.com"))

    def test_kinds_of_names(self) -> None:
        """SIP URIs come first, then DNS names and addresses; other URIs and users are nobody."""
        self.assertEqual(
            self.identities(
                "a.example.com", "192.0.2.1", "sip:Example.com", "sips:s.example.com", "sip:bob@example.com"
            ),
            ("sip:example.com", "a.example.com", "192.0.2.1"),
        )
        self.assertEqual(self.identities("urn:uuid:1:2:3", "sip:h.example.com:5061"), ("sip:h.example.com",))

    def test_common_name_counts_for_nothing(self) -> None:
        """A certificate without the extension is for nobody."""
        self.assertEqual(self.identities(), ())
        self.assertFalse(is_good_for((), "cn.example.com"))

    def test_matching(self) -> None:
        """Names are compared whole and in any case, addresses by value."""
        for identities, host, expected in (
            (("sip.example.com",), "SIP.example.com.", True),
            (("sip:not a uri",), "example.com", False),
            (("sip:example.com",), "example.com", True),
            (("example.com",), "sip.example.com", False),
            (("sip.example.com",), "example.com", False),
            (("2001:db8::1",), "2001:DB8:0::1", True),
            (("sip:192.0.2.1",), "192.0.2.1", True),
            (("192.0.2.1",), "192.0.2.2", False),
            (("bad..name", "_x", "ok.example.com"), "ok.example.com", True),
            (("example.com",), "exa mple", False),
            (("192.0.2.1",), "example.com", False),
        ):
            self.assertIs(is_good_for(identities, host), expected, (identities, host))

    def test_wildcards(self) -> None:
        """A wildcard is good for nothing (RFC 5922 section 7.2), unless it is allowed; in a SIP URI it never is."""
        self.assertFalse(is_good_for(("*.example.com",), "sip.example.com"))
        self.assertTrue(is_good_for(("*.example.com",), "sip.example.com", allow_wildcards=True))
        self.assertFalse(is_good_for(("*.example.com",), "a.b.example.com", allow_wildcards=True))
        self.assertFalse(is_good_for(("*.example.com",), "example.com", allow_wildcards=True))
        self.assertFalse(is_good_for(("sip:*.example.com",), "sip.example.com", allow_wildcards=True))


class FilesTests(SynchronousTestCase):
    """What is wrong with the files is said once, at the start, without showing a key."""

    def setUp(self) -> None:
        """Make an authority and a certificate."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.authority = Authority(self.folder)
        self.certificate, self.key = self.authority.sign(["example.com"])

    def problems(self, **settings: Any) -> list[str]:
        """Give what is wrong with settings."""
        with self.assertRaises(ConfigurationError) as caught:
            TlsContext(TlsSettings(**{"certificate": self.certificate, "key": self.key, **settings}))
        problems: list[str] = caught.exception.problems
        secret = Path(self.key).read_text().split("\n")[1]
        self.assertNotIn(secret, str(caught.exception))
        return problems

    def test_good(self) -> None:
        """Certificate, chain, key and authorities are read; nothing at all is enough for a client."""
        chain = self.authority.write(
            "chain.pem", b"".join(Path(p).read_bytes() for p in (self.certificate, self.authority.path))
        )
        TlsContext(TlsSettings(certificate=chain, key=self.key, authorities=(self.authority.path,)))
        TlsContext(TlsSettings())

    def test_missing(self) -> None:
        """All that is missing is named in one run."""
        self.assertEqual(
            self.problems(certificate="/no/a.pem", key="/no/b.pem", authorities=("/no/c.pem",)),
            [f"/no/{name}.pem: No such file or directory" for name in "abc"],
        )

    def test_unusable(self) -> None:
        """Files of another kind are named."""
        junk = self.authority.write("junk.pem", b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
        self.assertEqual(self.problems(certificate=junk), [f"{junk}: no PEM certificate"])
        self.assertEqual(self.problems(authorities=(junk,)), [f"{junk}: no PEM certificate"])
        self.assertEqual(self.problems(key=junk), [f"{junk}: no PEM private key"])
        locked = self.authority.encrypted_key()
        self.assertEqual(self.problems(key=locked), [f"{locked}: the private key is encrypted"])
        self.assertIn("another passphrase", self.problems(key=locked, passphrase="wrong")[0])
        self.assertIn("not the key of", self.problems(key=locked, passphrase="correct horse")[0])
        self.assertIn("is not encrypted", self.problems(passphrase="correct horse")[0])
        self.assertIn("Is a directory", self.problems(key=str(self.folder))[0])

    def test_mismatch(self) -> None:
        """A key of another certificate, and one without the other, are refused."""
        _, other = self.authority.sign(["example.com"])
        self.assertEqual(self.problems(key=other), [f"{other}: not the key of the certificate in {self.certificate}"])
        self.assertEqual(self.problems(key=""), ["A TLS certificate and its key are needed together"])


class TlsTestCase(LoopbackTestCase):
    """Two layers that speak TLS, on certificates of one authority."""

    def setUp(self) -> None:
        """Make an authority."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.authority = Authority(folder)

    def settings(self, *names: str, days: tuple[int, int] = (-1, 1), **changes: Any) -> TlsSettings:
        """Make settings with a certificate for these names, trusting the authority."""
        certificate, key = self.authority.sign(names, days=days)
        values: dict[str, Any] = {"certificate": certificate, "key": key, "authorities": (self.authority.path,)}
        return TlsSettings(**{**values, **changes})

    async def pair(
        self, server: TlsSettings, client: TlsSettings | None = None, name: str = "sip.example.com"
    ) -> tuple[TransportLayer, Receiver, IFlow, Receiver]:
        """Make a server and a client, and a flow from it to that name; a request is on its way."""
        self.serving, received, self.at = await self.endpoint(TLS, server)
        layer, failures, _ = await self.endpoint(TLS, client or self.settings("client.example.com"))
        self.calling = layer
        flow = layer.flow_to(target(self.at, name=name))
        flow.send(request_octets())
        return layer, failures, flow, received

    async def fails(self, server: TlsSettings, client: TlsSettings | None = None, name: str = "sip.example.com") -> str:
        """Expect that the connection fails for a TLS reason, and give it."""
        _, failures, flow, received = await self.pair(server, client, name)
        await self.until(lambda: failures.failures)
        error = failures.failures[0][1]
        self.assertIsInstance(error, TlsError)
        self.assertIs(failures.failures[0][0], flow)
        self.assertEqual((flow.is_open, received.messages), (False, []))
        await self.until(lambda: not self.serving.connection_count)
        return error.reason


class OutgoingTests(TlsTestCase):
    """The certificate of a server is verified against the host of the URI."""

    async def test_request_and_response(self) -> None:
        """With a good certificate a request arrives, and its response comes back on the connection."""
        _, answers, flow, received = await self.pair(self.settings("sip.example.com"))
        received.answer(self.serving)
        await self.until(lambda: received.messages)
        request, inbound = received.messages[0]
        self.assertEqual((request.via.received, inbound.transport, inbound.peer_names), ("127.0.0.1", TLS, ()))
        self.assertEqual(flow.peer_names, ("sip.example.com",))
        flow.send(request_octets(f"SIP/2.0/TLS {flow.point.sent_by};branch=z9hG4bK2"))
        await self.until(lambda: answers.messages)
        self.assertIs(answers.messages[0][1], flow)

    async def test_sip_uri_in_the_certificate(self) -> None:
        """A SIP URI in the certificate is good for its domain (RFC 5922 section 7.1)."""
        _, _, flow, received = await self.pair(self.settings("sip:example.com"), name="example.com")
        await self.until(lambda: received.messages)
        self.assertEqual(flow.peer_names, ("sip:example.com",))

    async def test_numeric_host(self) -> None:
        """A numeric host needs an address in the certificate."""
        _, _, _, received = await self.pair(self.settings("127.0.0.1"), name="")
        await self.until(lambda: received.messages)
        reason = await self.fails(self.settings("sip.example.com"), name="")
        self.assertIn("the certificate is for sip.example.com, not for 127.0.0.1", reason)

    async def test_wrong_name(self) -> None:
        """A good certificate for the address, or for another name, is not good for this one (lesson 15)."""
        reason = await self.fails(self.settings("127.0.0.1", "other.example.com"))
        self.assertIn("the certificate is for other.example.com, 127.0.0.1, not for sip.example.com", reason)

    async def test_wildcard(self) -> None:
        """A wildcard is refused unless the settings allow it."""
        self.assertIn("not for sip.example.com", await self.fails(self.settings("*.example.com")))
        allowing = self.settings("client.example.com", allow_wildcards=True)
        _, _, _, received = await self.pair(self.settings("*.example.com"), allowing)
        await self.until(lambda: received.messages)

    async def test_expired(self) -> None:
        """An expired certificate, or one of the future, is said to be that."""
        self.assertIn("has expired", await self.fails(self.settings("sip.example.com", days=(-3, -2))))
        self.assertIn("not valid yet", await self.fails(self.settings("sip.example.com", days=(1, 2))))

    async def test_unknown_authority(self) -> None:
        """A certificate of an authority that is not trusted is refused; the system's trust has no test authority."""
        other = Path(self.mktemp())
        other.mkdir()
        stranger = self.settings("client.example.com", authorities=(Authority(other, "stranger").path,))
        self.assertIn("authority of the certificate", await self.fails(self.settings("sip.example.com"), stranger))
        system = self.settings("client.example.com", authorities=())
        self.assertIn("authority of the certificate", await self.fails(self.settings("sip.example.com"), system))

    async def test_verification_switched_off(self) -> None:
        """Only settings that say so take any certificate, and then the peer has no verified name."""
        trusting = self.settings("client.example.com", verify_server=False)
        _, _, flow, received = await self.pair(self.settings("other.example.com", days=(-3, -2)), trusting)
        await self.until(lambda: received.messages)
        self.assertEqual(flow.peer_names, ())

    async def test_one_connection_for_each_name(self) -> None:
        """Two names at one address are two connections; the same name, in any case, is one (lesson 17)."""
        layer, _, flow, received = await self.pair(self.settings("sip.example.com", "b.example.com"))
        await self.until(lambda: received.messages)
        self.assertIs(layer.flow_to(target(self.at, name="SIP.example.com")), flow)
        other = layer.flow_to(target(self.at, name="b.example.com"))
        self.assertIsNot(other, flow)
        other.send(request_octets())
        await self.until(lambda: len(received.messages) == 2)
        self.assertIsNot(received.messages[0][1], received.messages[1][1])
        self.assertIs(layer.find_flow(target(self.at)), flow)

    async def test_refused_by_a_tcp_server(self) -> None:
        """A server that does not speak TLS gives a TLS error, and what it says is not taken for SIP."""
        server, listening = self.server()
        layer, receiver, _ = await self.endpoint(TLS, self.settings("client.example.com"))
        flow = layer.flow_to(target(listening, TLS, "sip.example.com"))
        flow.send(request_octets())
        await self.until(lambda: server.peers)
        server.peers[0].wire.write(request_octets())
        await self.until(lambda: receiver.failures)
        self.assertIsInstance(receiver.failures[0][1], TlsError)
        self.assertIn("TLS failed", receiver.failures[0][1].reason)
        self.assertEqual(receiver.messages, [])

    async def test_server_that_never_answers(self) -> None:
        """A handshake that does not come to its end fails in time (lesson 18)."""
        _, listening = self.server()
        layer, receiver, _ = await self.endpoint(TLS, self.settings("client.example.com"), connect_timeout=0.05)
        layer.flow_to(target(listening, TLS, "sip.example.com"))
        await self.until(lambda: receiver.failures)
        self.assertIsInstance(receiver.failures[0][1], TlsError)
        self.assertIn("no TLS handshake in time", receiver.failures[0][1].reason)
        self.assertEqual(layer.incidents.counts["handshake-timeout"], 1)


class ClientCertificateTests(TlsTestCase):
    """What a listening point asks of clients."""

    async def test_required_and_shown(self) -> None:
        """A verified client certificate gives the flow its names, and a request back may take the connection."""
        required = self.settings("sip.example.com", client_verification=ClientVerification.REQUIRED)
        _, _, _, received = await self.pair(required, self.settings("sip:client.example.com", "pbx.example.com"))
        await self.until(lambda: received.messages)
        flow = received.messages[0][1]
        self.assertEqual(flow.peer_names, ("sip:client.example.com", "pbx.example.com"))
        back = Target(transport=TLS, host=flow.host, port=flow.port, server_name="pbx.example.com")
        self.assertIs(self.serving.flow_to(back), flow)
        wrong = Target(transport=TLS, host=flow.host, port=flow.port, server_name="other.example.com")
        self.assertIsNot(self.serving.flow_to(wrong), flow)

    async def test_required_and_missing(self) -> None:
        """Without a certificate there is no connection where one is required."""
        required = self.settings("sip.example.com", client_verification=ClientVerification.REQUIRED)
        peer, received = await self.bare_client(required)
        await self.until(lambda: peer.is_lost)
        self.assertEqual(received.messages, [])

    async def test_optional(self) -> None:
        """Without a certificate a client is served where it is optional; with one of a stranger it is not."""
        optional = self.settings("sip.example.com", client_verification=ClientVerification.OPTIONAL)
        peer, received = await self.bare_client(optional)
        peer.wire.write(request_octets())
        await self.until(lambda: received.messages)
        self.assertEqual(received.messages[0][1].peer_names, ())
        folder = Path(self.mktemp())
        folder.mkdir()
        certificate, key = Authority(folder, "stranger").sign(["client.example.com"])
        stranger = TlsSettings(certificate=certificate, key=key, authorities=(self.authority.path,))
        reason = await self.fails(optional, stranger)
        self.assertIn("alert", reason)
        self.assertEqual(self.serving.incidents.counts["tls"], 1)

    async def test_authorities_of_clients(self) -> None:
        """Clients may be verified by other authorities than servers."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = Authority(folder, "clients")
        certificate, key = authority.sign(["client.example.com"])
        client = TlsSettings(certificate=certificate, key=key, authorities=(self.authority.path,))
        server = self.settings(
            "sip.example.com",
            client_verification=ClientVerification.REQUIRED,
            client_authorities=(authority.path,),
        )
        _, _, _, received = await self.pair(server, client)
        await self.until(lambda: received.messages)
        self.assertEqual(received.messages[0][1].peer_names, ("client.example.com",))
        self.assertIn("alert", await self.fails(server))

    async def test_expired_client(self) -> None:
        """An expired client certificate is refused where certificates are asked for."""
        optional = self.settings("sip.example.com", client_verification=ClientVerification.OPTIONAL)
        self.assertIn("alert", await self.fails(optional, self.settings("client.example.com", days=(-3, -2))))

    async def bare_client(self, server: TlsSettings) -> tuple[RawPeer, Receiver]:
        """Connect to a server with those settings, without a certificate."""
        _, received, at = await self.endpoint(TLS, server)
        return await self.tls_peer(at), received

    async def tls_peer(self, at: ListeningPoint) -> RawPeer:
        """Connect with TLS and nothing else."""
        client = RawClient()
        creator = TlsContext(TlsSettings(verify_server=False)).client_creator("sip.example.com")
        connector = reactor.connectTCP(at.host, at.port, TLSMemoryBIOFactory(creator, True, client))
        self.addCleanup(connector.disconnect)
        await self.until(lambda: client.peer.connected or client.peer.is_lost)
        return client.peer


class WireTests(TlsTestCase):
    """What is on the wire during the handshake."""

    async def server_seeing(self, options: int = 0) -> tuple[list[bytes | None], list[bytes], IListeningPort]:
        """Run a TLS server that notes the server name and the protocols offered by clients."""
        names: list[bytes | None] = []
        offered: list[bytes] = []
        certificate, key = self.authority.sign(["sip.example.com", "127.0.0.1"])
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_options(options)
        context.use_certificate_file(certificate)
        context.use_privatekey_file(key)
        context.set_tlsext_servername_callback(lambda connection: names.append(connection.get_servername()))

        def select(connection: SSL.Connection, protocols: list[bytes]) -> bytes:
            offered.extend(protocols)
            return protocols[0]

        context.set_alpn_select_callback(select)

        @implementer(IOpenSSLServerConnectionCreator)
        class Creator:
            def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
                return SSL.Connection(context)

        inner = RawServer()
        listening = reactor.listenTCP(0, TLSMemoryBIOFactory(Creator(), False, inner), interface="127.0.0.1")
        self.addCleanup(self._close_server, inner, listening)
        return names, offered, listening

    async def test_server_name_is_sent(self) -> None:
        """The name of the URI is sent (RFC 6066), an address is not, and no application protocol is offered."""
        names, offered, listening = await self.server_seeing()
        layer, _, _ = await self.endpoint(TLS, self.settings("client.example.com"))
        flows = [layer.flow_to(target(listening, TLS, name)) for name in ("sip.example.com", "")]
        await self.until(lambda: len(names) == 2 and all(flow.peer_names for flow in flows))
        self.assertEqual(set(names), {None, b"sip.example.com"})
        self.assertEqual(offered, [])

    async def test_old_versions_are_refused(self) -> None:
        """TLS 1.1 and older are not spoken (RFC 8996)."""
        _, _, listening = await self.server_seeing(SSL.OP_NO_TLSv1_2 | SSL.OP_NO_TLSv1_3)
        layer, receiver, _ = await self.endpoint(TLS, self.settings("client.example.com"))
        layer.flow_to(target(listening, TLS, "sip.example.com"))
        await self.until(lambda: receiver.failures)
        self.assertIsInstance(receiver.failures[0][1], TlsError)

    async def test_plain_tcp_to_a_tls_port(self) -> None:
        """SIP without TLS on a TLS port is no message, and ends with a count of a TLS incident."""
        layer, receiver, at = await self.endpoint(TLS, self.settings("sip.example.com"))
        peer = await self.connect(at)
        peer.wire.write(request_octets())
        await self.until(lambda: peer.is_lost)
        await self.until(lambda: not layer.connection_count)
        self.assertEqual((receiver.messages, layer.incidents.counts["tls"]), ([], 1))

    async def test_handshake_that_never_ends(self) -> None:
        """A client that begins no handshake is closed in time, and TCP beside it works (lesson 18)."""
        layer, receiver, at = await self.endpoint(TLS, self.settings("sip.example.com"), handshake_timeout=0.05)
        tcp = await layer.listen(point(TCP))
        silent = await self.connect(at)
        other = await self.connect(tcp)
        other.wire.write(request_octets())
        await self.until(lambda: receiver.messages and silent.is_lost)
        self.assertEqual(layer.incidents.counts["handshake-timeout"], 1)
