"""Tests of `sipd.daemon.layers`: what a configuration says is what each layer is told."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import serialization

from sipd.b2bua.transfer import TransferSettings
from sipd.b2bua.trust import HistoryForStrangers, IdentityForm, IdentityPolicy
from sipd.daemon import layers
from sipd.daemon.certificates import CertificateFiles, make_self_signed
from sipd.daemon.routing import static_route
from sipd.daemon.sections import Limits
from sipd.errors import ConfigurationError
from sipd.registrar.bindings import RegistrarSettings
from sipd.registrar.keepalive import KeepAliveSettings, Ping, Silence
from sipd.sip.locate import Transport
from sipd.sip.timers import TimerValues
from sipd.sip.uri import parse_uri
from sipd.testing.clock import SimulatedClock
from sipd.testing.nameserver import NameServer, address
from sipd.testing.network import Network
from sipd.transport.cache import CacheLimits
from sipd.transport.layer import TransportLayer
from sipd.transport.limits import TransportLimits
from sipd.transport.names import DomainNames, SystemNames
from sipd.transport.resolver import Resolver
from sipd.transport.tls import ClientVerification, TlsContext, TlsSettings
from sipd.ua.settings import AgentSettings
from tests.daemon.case import MINIMAL, ConfigCase


class DefaultsTests(ConfigCase):
    """A configuration that says nothing changes nothing."""

    def test_agree(self) -> None:
        """The defaults of the configuration are the layers' own."""
        config = self.load(MINIMAL)
        self.assertEqual(layers.transport_limits(Limits()), TransportLimits())
        self.assertEqual(layers.timer_values(config), TimerValues())
        self.assertEqual(layers.registrar_settings(config), RegistrarSettings())
        agent = AgentSettings()
        transfers = replace(agent, supported=agent.supported | {"replaces"}, takes_referrals=True)
        self.assertEqual(layers.agent_settings(config), transfers)
        self.assertEqual(layers.transfer_settings(config), TransferSettings())
        self.assertEqual(layers.cache_limits(config), CacheLimits())


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

    def test_keep_alive(self) -> None:
        """`[nat]` says how contacts are kept alive, or that they are not."""
        found = layers.keep_alive_settings(self.load(MINIMAL))
        self.assertEqual(found, KeepAliveSettings())
        text = '[nat]\nkeepalive = "crlf"\ninterval = 20\nmisses = 2\nsilent = "unregister"'
        found = layers.keep_alive_settings(self.load(MINIMAL + text))
        expected = KeepAliveSettings(ping=Ping.CRLF, interval=20.0, misses=2, silence=Silence.UNREGISTER)
        self.assertEqual(found, expected)
        self.assertIsNone(layers.keep_alive_settings(self.load(MINIMAL + '[nat]\nkeepalive = "off"')))

    def test_identity(self) -> None:
        """`[identity]` and what users own is what the B2BUA goes by; without a word nobody is trusted."""
        found = layers.identity_policy(self.load(MINIMAL))
        self.assertEqual(found, IdentityPolicy(domains=("example.com",), relays_media=True))
        text = """
        [[users]]
        name = "a"
        password = "p"
        identities = ["tel:+1"]
        [identity]
        trust = ["192.0.2.0/28"]
        form = "both"
        anonymise = false
        tell_strangers = true
        history = "anonymise"
        [media]
        relay = false
        """
        expected = IdentityPolicy(
            trust=(ipaddress.ip_network("192.0.2.0/28"),),
            domains=("example.com",),
            owned={"a": (parse_uri("tel:+1"),)},
            form=IdentityForm.BOTH,
            anonymises=False,
            tells_strangers=True,
            history=HistoryForStrangers.ANONYMISE,
        )
        self.assertEqual(layers.identity_policy(self.load(MINIMAL + text)), expected)

    def test_ringback(self) -> None:
        """What a caller hears while it rings is set for all, for a route, and with anything else that a user has."""
        text = """
        [media]
        ringback = "tone:eu:ringback"
        [[users]]
        name = "a"
        password = "p"
        hold_music = "tone:eu:dial"
        [[routes]]
        name = "r"
        to = "sip:b@b.example"
        ringback = "tone:uk:ringback"
        [[routes]]
        name = "s"
        to = "sip:b@b.example"
        srtp = "off"
        [[routes]]
        name = "t"
        to = "sip:b@b.example"
        """
        config = self.load(MINIMAL + text)
        self.assertEqual(layers.media_policy(config).ringback, "tone:eu:ringback")
        self.assertEqual(layers.user_media(config)["a"].ringback, "tone:eu:ringback")
        media = [static_route(rule, config).media for rule in config.routes]
        self.assertEqual([one and one.ringback for one in media], ["tone:uk:ringback", "tone:eu:ringback", None])

    def test_media(self) -> None:
        """Media is received on an address and announced on another."""
        text = (
            '[media]\naddresses = [{ address = "10.0.0.1", advertised_address = "203.0.113.5" }, { address = "::1" }]'
        )
        found = layers.media_addresses(self.load(MINIMAL + text))
        self.assertEqual(
            [(one.host, one.advertised_host) for one in found], [("10.0.0.1", "203.0.113.5"), ("::1", "::1")]
        )


class DnsTests(ConfigCase):
    """`[dns]`."""

    def setUp(self) -> None:
        """Make a network with a name server that has a port of its own."""
        super().setUp()
        self.clock = SimulatedClock()
        network = Network(self.clock, 1)
        self.entropy = network.entropy
        self.host: Any = network.host("192.0.2.1")
        reactor: Any = self.host
        self.transport = TransportLayer(reactor=reactor)
        self.successResultOf(self.transport.listen(layers.listening_point(self.load(MINIMAL).listen[0])))
        self.server = NameServer(network.host("192.0.2.53"), "192.0.2.53", 5353)
        self.server.records["example.com"] = [address("2001:db8::5"), address("192.0.2.5")]

    def resolver(self, text: str) -> Resolver:
        """Make a resolver of a configuration."""
        config = self.load(MINIMAL + "[dns]\n" + text)
        return layers.resolver(config, self.host, self.transport, self.entropy)

    def test_servers(self) -> None:
        """The servers of the configuration are asked, and only what the listening points speak is found."""
        resolver = self.resolver('servers = ["192.0.2.53:5353"]\nprefer = "ipv4"\ntarget_rest = 5')
        found = resolver.locate(parse_uri("sip:example.com:5070"))
        self.clock.advance(1.0)
        self.assertEqual([str(target) for target in self.successResultOf(found)], ["UDP 192.0.2.5:5070"])
        resolver.close()

    def test_system(self) -> None:
        """The system's resolver is asked where that is wanted."""
        self.assertIsInstance(self.resolver('lookup = "system"').names, SystemNames)
        self.assertIsInstance(self.resolver("").names, DomainNames)

    def test_settings(self) -> None:
        """What is said of targets and of the cache reaches those who need it."""
        config = self.load(MINIMAL + "[dns]\ntarget_timeout = 2\ncache_entries = 7\nmaximum_ttl = 60")
        self.assertEqual(layers.agent_settings(config).target_timeout, 2.0)
        limits = layers.cache_limits(config)
        self.assertEqual((limits.max_entries, limits.max_ttl, limits.max_negative_ttl), (7, 60.0, 300.0))

    def test_addresses_of_servers(self) -> None:
        """A server is an address, with a port or without; anything else is a mistake."""
        servers = '["192.0.2.53", "192.0.2.53:5353", "2001:DB8::53", "[2001:db8::53]:54"]'
        self.assertEqual(
            self.load(f"{MINIMAL}[dns]\nservers = {servers}").dns.servers,
            (("192.0.2.53", 53), ("192.0.2.53", 5353), ("2001:db8::53", 53), ("2001:db8::53", 54)),
        )
        for text in ("ns.example.com", "192.0.2.53:0", "192.0.2.53:65536", "0.0.0.0", "[192.0.2.1", "", "[]:53", ":53"):
            with self.assertRaises(ConfigurationError) as caught:
                self.load(f'{MINIMAL}[dns]\nservers = ["{text}"]')
            self.assertIn("dns.servers[0]: an address such as", caught.exception.problems[0])


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
