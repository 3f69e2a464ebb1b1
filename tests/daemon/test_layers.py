"""Tests of `sipd.daemon.layers`: what a configuration says is what each layer is told."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives import serialization

from sipd.daemon import layers
from sipd.daemon.certificates import CertificateFiles, make_self_signed
from sipd.daemon.sections import Limits
from sipd.errors import ConfigurationError
from sipd.registrar.bindings import RegistrarSettings
from sipd.sip.locate import Transport
from sipd.sip.timers import TimerValues
from sipd.transport.limits import TransportLimits
from sipd.transport.tls import ClientVerification, TlsContext, TlsSettings
from tests.daemon.case import MINIMAL, ConfigCase


class DefaultsTests(ConfigCase):
    """A configuration that says nothing changes nothing."""

    def test_agree(self) -> None:
        """The defaults of the configuration are the layers' own."""
        config = self.load(MINIMAL)
        self.assertEqual(layers.transport_limits(Limits()), TransportLimits())
        self.assertEqual(layers.timer_values(config), TimerValues())
        self.assertEqual(layers.registrar_settings(config), RegistrarSettings())


class MappingTests(ConfigCase):
    """Sections that say something."""

    def test_listening_point(self) -> None:
        """An advertised address replaces the one that is bound; an advertised port of 0 is the one that is bound."""
        text = MINIMAL + 'port = 5070\nadvertised_address = "sip.example.com"'
        point = layers.listening_point(self.load(text).listen[0])
        self.assertEqual(
            (point.name, point.transport, point.host, point.port), ("udp", Transport.UDP, "192.0.2.1", 5070)
        )
        self.assertEqual((point.advertised_host, point.advertised_port), ("sip.example.com", 0))
        plain = layers.listening_point(self.load(MINIMAL).listen[0])
        self.assertEqual((plain.advertised_host, plain.port), ("192.0.2.1", 5060))

    def test_users(self) -> None:
        """A user is a password or hashes."""
        digest = "0123456789abcdef" * 2
        users = f'[[users]]\nname = "a"\npassword = "p"\n[[users]]\nname = "b"\nha1 = {{ MD5 = "{digest}" }}'
        first, second = (layers.credentials_of(user) for user in self.load(MINIMAL + users).users)
        self.assertEqual((first.username, first.password, first.ha1), ("a", "p", {}))
        self.assertEqual((second.username, second.password, second.ha1), ("b", None, {"MD5": digest}))

    def test_routes(self) -> None:
        """Every condition and every consequence of a route reaches the router."""
        text = """
        [[routes]]
        name = "r"
        user = "1.*"
        host = "a.example"
        from = "sip:x@.*"
        sources = ["10.0.0.0/8"]
        to = "sip:{0}@b.example"
        authenticate = false
        timeout = 7
        next_hop = "sip:c.example"
        credentials = { username = "u", password = "p", realm = "b" }
        [[routes]]
        name = "s"
        refuse = [603, "No"]
        """
        route, refusal = (layers.static_route(rule) for rule in self.load(MINIMAL + text).routes)
        assert route.user and route.host and route.caller and route.credentials
        self.assertEqual(
            (route.user.pattern, route.host.pattern, route.caller.pattern), ("1.*", "a.example", "sip:x@.*")
        )
        self.assertEqual([str(network) for network in route.sources], ["10.0.0.0/8"])
        self.assertEqual((route.to, route.authenticate, route.timeout), ("sip:{0}@b.example", False, 7.0))
        self.assertEqual(str(route.next_hop), "sip:c.example")
        credentials = route.credentials
        self.assertEqual((credentials.username, credentials.password, credentials.realm), ("u", "p", "b"))
        self.assertEqual((refusal.refusal, refusal.to, refusal.authenticate), ((603, "No"), None, True))

    def test_media(self) -> None:
        """Media is received on an address and announced on another."""
        text = (
            '[media]\naddresses = [{ address = "10.0.0.1", advertised_address = "203.0.113.5" }, { address = "::1" }]'
        )
        found = layers.media_addresses(self.load(MINIMAL + text))
        self.assertEqual(
            [(one.host, one.advertised_host) for one in found], [("10.0.0.1", "203.0.113.5"), ("::1", "::1")]
        )


class TlsTests(ConfigCase):
    """What a TLS listening point is told."""

    def setUp(self) -> None:
        super().setUp()
        certificate, key = make_self_signed(("sip.example.com",), datetime.now(UTC))
        self.certificate, self.key = self.directory / "certificate.pem", self.directory / "key.pem"
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)

    def settings(self, listen: str, rest: str = "", self_signed: CertificateFiles | None = None) -> TlsSettings:
        """Give the settings of the second listening point, of these lines."""
        text = f'{MINIMAL}[[listen]]\nname = "tls"\ntransport = "tls"\naddress = "192.0.2.1"\n{listen}\n{rest}'
        config = self.load(text, PASSPHRASE="open sesame")
        return layers.tls_settings(config.listen[1], config.tls, self_signed)

    def test_own_certificate(self) -> None:
        """Its own certificate, and the system's authorities for servers."""
        settings = self.settings('certificate = "certificate.pem"\nkey = "key.pem"')
        self.assertEqual((settings.certificate, settings.key), (str(self.certificate), str(self.key)))
        self.assertEqual((settings.authorities, settings.client_authorities), ((), ()))
        self.assertEqual(settings.client_verification, ClientVerification.NONE)
        self.assertTrue(settings.verify_server)
        self.assertFalse(settings.allow_wildcards)
        TlsContext(settings)

    def test_self_signed(self) -> None:
        """The self-signed one, where it has none of its own."""
        files = CertificateFiles(certificate=self.certificate, key=self.key)
        settings = self.settings("self_signed = true", self_signed=files)
        self.assertEqual((settings.certificate, settings.key), (str(self.certificate), str(self.key)))

    def test_authorities(self) -> None:
        """Who may have issued clients' certificates is one question, who servers' another."""
        listen = 'self_signed = true\nca = "key.pem"\nclient_verification = "required"'
        settings = self.settings(listen, '[tls]\nca = "certificate.pem"\nverify = false\nallow_wildcards = true')
        self.assertEqual(settings.client_authorities, (str(self.key),))
        self.assertEqual(settings.authorities, (str(self.certificate),))
        self.assertEqual(settings.client_verification, ClientVerification.REQUIRED)
        self.assertFalse(settings.verify_server)
        self.assertTrue(settings.allow_wildcards)

    def test_a_file_of_authorities_that_is_none(self) -> None:
        """A file without a certificate as authority of clients is found when the point is opened."""
        listen = 'certificate = "certificate.pem"\nkey = "key.pem"\nca = "key.pem"\nclient_verification = "required"'
        error = self.assertRaises(ConfigurationError, TlsContext, self.settings(listen))
        self.assertEqual(error.problems, [f"{self.key}: no PEM certificate"])

    def test_passphrase(self) -> None:
        """An encrypted key is read with its passphrase, and refused without or with another, showing neither."""
        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        encryption = serialization.BestAvailableEncryption(b"open sesame")
        data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        self.key.write_bytes(data)
        listen = 'certificate = "certificate.pem"\nkey = "key.pem"\n'
        settings = self.settings(listen + 'key_passphrase = { env = "PASSPHRASE" }')
        TlsContext(settings)
        self.assertNotIn("sesame", repr(settings))
        for line, expected in (
            ("", "the private key is encrypted"),
            ('key_passphrase = "wrong"', "no PEM private key, or another passphrase"),
        ):
            error = self.assertRaises(ConfigurationError, TlsContext, self.settings(listen + line))
            self.assertEqual(error.problems, [f"{self.key}: {expected}"])

    def test_passphrase_of_a_key_that_has_none(self) -> None:
        """A passphrase for a key that is not encrypted is a mistake: perhaps the wrong key."""
        settings = self.settings('certificate = "certificate.pem"\nkey = "key.pem"\nkey_passphrase = "x"')
        error = self.assertRaises(ConfigurationError, TlsContext, settings)
        self.assertEqual(error.problems, [f"{self.key}: the private key is not encrypted"])
