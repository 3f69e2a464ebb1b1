"""`[[trunks]]`: what may stand there, what is said of mistakes, and what becomes of it."""

from __future__ import annotations

import ipaddress

from sipd.daemon.parts import make_parts
from sipd.daemon.trunks import number_writer, trunk_limits, trunk_settings
from sipd.guards.limits import TrunkLimits
from sipd.interfaces import Credentials, CryptoPolicy, Dtmf, EarlyMedia
from sipd.registrar.location import LocationService
from sipd.sip.registrant import RegistrationTiming
from sipd.sip.uri import SipUri, parse_sip_uri
from sipd.testing.clock import SimulatedClock
from sipd.trunks.settings import HealthSettings, NumberFormat, TrunkServer, TrunkSettings
from sipd.ua.registering import RegistrationSettings
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase

STATIC = """
[[trunks]]
name = "carrier"
servers = ["sip:gw.example.com"]
"""

REGISTERING = """
[[trunks]]
name = "carrier"
[trunks.registration]
aor = "sip:4930123@carrier.example"
registrars = ["sip:reg.carrier.example"]
"""

FULL = """
[routing]
country_code = "49"

[[trunks]]
name = "carrier"
servers = ["sip:gw1.example.com;transport=tcp", { uri = "sip:192.0.2.5:5070", weight = 0 }]
domain = "carrier.example"
networks = ["192.0.2.0/28", "2001:db8::1"]
certificate_names = ["SIP.carrier.example"]
credentials = { username = "4930123", password = "hunter2-correct-horse", realm = "carrier" }
point = "tls"
numbers = "national"
caller = "+4930123"
trusted = true
calls = 30
calls_in = 20
calls_out = 10
calls_per_second_in = 5
calls_per_second_out = 2.5
timeout = 20
response_timeout = 3
stops = [486, 600]
redirects = 2
early_media = "180->183"
codecs = ["PCMA"]
srtp = "off"
asymmetric = true
dtmf = "info"
[trunks.registration]
aor = "sip:4930123@carrier.example"
registrars = ["sip:reg1.carrier.example", "sip:reg2.carrier.example"]
uri = "sip:registrar.carrier.example"
contact_user = "office"
needed = false
expires = 600
retry = 10
retry_limit = 100
return_after = 60
patience = 5
leave_limit = 1
empty_lines = 0
[trunks.health]
interval = 10
failures = 2
successes = 1
up = ["2xx", 404]
recovery = 20
"""

TLS_POINT = """
[[listen]]
name = "tls"
transport = "tls"
address = "192.0.2.1"
self_signed = true
client_verification = "optional"
ca = "ca.pem"
"""


class TrunksCase(ConfigCase):
    """Reads configurations with trunks."""

    def setUp(self) -> None:
        super().setUp()
        (self.directory / "ca.pem").write_text("authorities")

    def settings(self, text: str) -> TrunkSettings:
        """Give the one trunk of a configuration."""
        (one,) = trunk_settings(self.load(MINIMAL + text))
        return one


class SettingsTests(TrunksCase):
    """What becomes of a section."""

    def test_defaults(self) -> None:
        """A server is enough; everything else is as it is for any trunk."""
        self.assertEqual(
            self.settings(STATIC), TrunkSettings(name="carrier", servers=(TrunkServer(SipUri("gw.example.com")),))
        )

    def test_registering(self) -> None:
        """So is a registration; calls go to the registrar then."""
        aor, registrar = SipUri("carrier.example", "4930123"), SipUri("reg.carrier.example")
        one = self.settings(REGISTERING)
        self.assertEqual(
            one,
            TrunkSettings(name="carrier", registration=RegistrationSettings(aor=aor, registrars=(registrar,))),
        )
        self.assertEqual(one.places, (TrunkServer(registrar),))

    def test_registrars_are_the_servers(self) -> None:
        """Where no registrars are named, it registers at its servers."""
        text = REGISTERING.replace('registrars = ["sip:reg.carrier.example"]', "")
        text = text.replace('name = "carrier"', 'name = "carrier"\nservers = ["sip:a.example", "sip:b.example"]')
        registration = self.settings(text).registration
        assert registration is not None
        self.assertEqual(registration.registrars, (SipUri("a.example"), SipUri("b.example")))

    def test_everything(self) -> None:
        """Each option reaches the trunk."""
        config = self.load(MINIMAL + TLS_POINT + FULL)
        (one,) = trunk_settings(config)
        credentials = Credentials(username="4930123", password=HIDDEN, realm="carrier")
        assert one.media is not None
        self.assertEqual(
            (one.media.crypto, one.media.is_asymmetric, one.media.is_bypassed), (CryptoPolicy.OFF, True, False)
        )
        self.assertEqual(
            one,
            TrunkSettings(
                name="carrier",
                servers=(
                    TrunkServer(parse_sip_uri("sip:gw1.example.com;transport=tcp")),
                    TrunkServer(SipUri("192.0.2.5", port=5070), 0),
                ),
                domain="carrier.example",
                credentials=credentials,
                registration=RegistrationSettings(
                    aor=SipUri("carrier.example", "4930123"),
                    registrars=(SipUri("reg1.carrier.example"), SipUri("reg2.carrier.example")),
                    credentials=credentials,
                    uri=SipUri("registrar.carrier.example"),
                    contact_user="office",
                    point="tls",
                    timing=RegistrationTiming(
                        expires=600, retry_base=10.0, retry_limit=100.0, return_after=60.0, leave_limit=1.0
                    ),
                    patience=5.0,
                    keepalive=0.0,
                ),
                needs_registration=False,
                networks=(ipaddress.ip_network("192.0.2.0/28"), ipaddress.ip_network("2001:db8::1")),
                certificate_names=("sip.carrier.example",),
                health=HealthSettings(
                    interval=10.0,
                    failures=2,
                    successes=1,
                    up_statuses=frozenset((*range(200, 300), 404)),
                    recovery=20.0,
                ),
                number_format=NumberFormat.NATIONAL,
                caller="+4930123",
                trusted=True,
                codecs=("pcma",),
                media=one.media,
                early_media=EarlyMedia.AS_183,
                dtmf=Dtmf.INFO,
                timeout=20.0,
                response_timeout=3.0,
                stops=frozenset((486, 600)),
                redirects=2,
                point="tls",
            ),
        )
        self.assertEqual(
            trunk_limits(config),
            {"carrier": TrunkLimits(calls=30, calls_in=20, calls_out=10, per_second_in=5.0, per_second_out=2.5)},
        )

    def test_caller_is_escaped(self) -> None:
        """What people write is what stands in a URI, escaped where that needs it."""
        self.assertEqual(self.settings(STATIC + 'caller = "front#desk"').caller, "front%23desk")

    def test_what_follows_from_it(self) -> None:
        """Trusted networks are trusted, and the guards know the limits."""
        config = self.load(MINIMAL + TLS_POINT + FULL)
        parts = make_parts(config, LocationService(clock=SimulatedClock()))
        self.assertTrue(parts.b2bua.identity.trusts("192.0.2.3"))
        self.assertFalse(parts.b2bua.identity.trusts("192.0.2.16"))
        self.assertEqual(parts.guards.limits.of_trunk("carrier").calls_in, 20)
        self.assertEqual([one.name for one in parts.trunks], ["carrier"])


class NumberTests(TrunksCase):
    """How numbers are written."""

    def written(self, form: str, routing: str = "") -> list[str]:
        """Give some numbers as a trunk wants them."""
        config = self.load(f'{MINIMAL}{routing}{STATIC}numbers = "{form}"')
        (trunk,) = trunk_settings(config)
        write = number_writer(config)
        return [write(number, trunk) for number in ("+4930123456", "+14155550100", "110", "alice")]

    def test_formats(self) -> None:
        """Numbers that all the world knows change, others do not."""
        german = '[routing]\ncountry_code = "49"\n'
        self.assertEqual(self.written("as-is"), ["+4930123456", "+14155550100", "110", "alice"])
        self.assertEqual(self.written("plus"), ["+4930123456", "+14155550100", "110", "alice"])
        for routing in ("", german):
            self.assertEqual(self.written("e164", routing), ["4930123456", "14155550100", "110", "alice"])
        self.assertEqual(self.written("national", german), ["030123456", "0014155550100", "110", "alice"])


class MistakeTests(TrunksCase):
    """What is said of mistakes."""

    def test_values(self) -> None:
        """Each value that cannot be is named, with what it should have been."""
        server = 'a server such as "sip:gw.example.com" or "sip:192.0.2.5:5070;transport=tcp" expected'
        address = 'an address such as "sip:4930123@carrier.example" expected, with a user and no password in it'
        for line, expected in (
            ('servers = ["sip:user@gw.example.com"]', f"servers[0]: {server}, with no user in it"),
            ('servers = ["tel:+49"]', f"servers[0]: {server}, with no user in it"),
            ('servers = ["gw.example.com"]', "servers[0]: "),
            ("servers = [{ weight = 2 }]", 'servers[0]: a URI, or { uri = "...", weight = 1 }, expected'),
            (
                'servers = [{ uri = "sip:a.example", weight = -1 }]',
                "servers[0]: a weight from 0 to 1000000 expected (got -1)",
            ),
            ('servers = [{ uri = "sip:a.example", weight = true }]', "servers[0]: a weight from 0 to 1000000 expected"),
            ('caller = "a b"', 'caller: a number or a user such as "+4930123" expected (got "a b")'),
            (
                'certificate_names = ["*.example"]',
                'certificate_names[0]: a name such as "sip.carrier.example" expected',
            ),
            ('numbers = "local"', "numbers: "),
            ("calls = -1", "calls: 0 or more expected (got -1)"),
            ("unknown = 1", "unknown: unknown key"),
            ('health = { up = ["1xx"] }', 'health.up[0]: a status from 200 to 699, or a class such as "4xx", expected'),
            ("health = { up = [100] }", 'health.up[0]: a status from 200 to 699, or a class such as "4xx", expected'),
            ("health = { up = [] }", "health.up: at least 1 entry expected"),
            ("health = { failures = 0 }", "health.failures: 1 or more expected (got 0)"),
            ('registration = { aor = "sip:carrier.example" }', f"registration.aor: {address}"),
            (f'registration = {{ aor = "sip:u:{HIDDEN}@carrier.example" }}', f"registration.aor: {address}"),
            (
                'registration = { aor = "sip:u@a.example", expires = 5 }',
                "registration.expires: 30 or more expected (got 5)",
            ),
            (
                'registration = { aor = "sip:u@a.example", contact_user = "a b" }',
                "registration.contact_user: 1 to 64 letters, digits, or any of . _ ~ - expected",
            ),
        ):
            own = STATIC.replace('servers = ["sip:gw.example.com"]\n', "") if line.startswith("servers") else STATIC
            found = self.problems(f"{MINIMAL}{own}{line}\n")
            wanted = f"trunks[0].{expected}"
            self.assertTrue(any(one.startswith(wanted) for one in found), (line, found))

    def test_relations(self) -> None:
        """So is each that cannot stand beside another one."""
        self.assert_problem(
            f'{MINIMAL}\n[[trunks]]\nname = "carrier"\n',
            "trunks[0].servers: required (or a registration), and missing: where do calls go?",
        )
        self.assert_problem(
            f'{MINIMAL}\n[[trunks]]\nname = "carrier"\nregistration = {{ aor = "sip:u@a.example" }}\n',
            "trunks[0].registration.registrars: required (or servers of the trunk), and missing: where is it "
            "registered?",
        )
        self.assert_problem(
            f"{MINIMAL}{REGISTERING}needed = false\nretry = 50\nretry_limit = 20\n",
            "trunks[0].registration.retry: retry no greater than retry_limit expected (got 50 and 20)",
            "trunks[0].registration.needed: true expected where there are no servers: calls go to the registrar that "
            "has the binding",
        )
        self.assert_problem(
            f'{MINIMAL}{STATIC}point = "tls"\nnumbers = "national"\ncertificate_names = ["a.example"]\n',
            'trunks[0].point: the name of a listening point expected (got "tls")',
            "trunks[0].certificate_names: a listening point for TLS expected: nobody shows a certificate elsewhere",
            "trunks[0].numbers: routing.country_code required for this, and missing",
        )

    def test_what_only_one_can_have(self) -> None:
        """Names, networks, certificates and contacts tell trunks apart."""
        one = """
[[trunks]]
name = "carrier"
servers = ["sip:gw.example.com"]
networks = ["192.0.2.0/28"]
certificate_names = ["{}"]
registration = {{ aor = "sip:u@a.example", contact_user = "c" }}
"""
        self.assert_problem(
            MINIMAL + TLS_POINT + one.format("a.example") + one.format("A.Example"),
            'trunks[1].name: a name of its own expected (trunks[0] is "carrier" too)',
            'trunks[1].networks[0]: a network of its own expected (trunks[0] has "192.0.2.0/28" too)',
            'trunks[1].certificate_names[0]: a name of its own expected (trunks[0] has "a.example" too)',
            'trunks[1].registration.contact_user: a contact of its own expected (trunks[0] has "c" too)',
        )

    def test_rubbish(self) -> None:
        """Values of any type in any place are mistakes, and nothing else."""
        for value in ("1", "true", '"x"', "[]", "[1]", "{}", '{ a = "b" }', "1.5", "[[]]", "[{}]"):
            for key in ("servers", "networks", "certificate_names", "registration", "health", "point", "numbers"):
                text = f'{MINIMAL}\n[[trunks]]\nname = "carrier"\n{key} = {value}\n'
                self.assertTrue(self.problems(text), (key, value))
        for trunks in ("1", "[1]", "{}", '"x"'):
            self.assertTrue(self.problems(f"trunks = {trunks}\n{MINIMAL}"), trunks)

    def test_recording_needs_a_directory(self) -> None:
        """A trunk may want recordings only where there is room for them."""
        self.assert_problem(
            f'{MINIMAL}{STATIC}record = "wave"\n',
            'recording.directory: required by record = "wave" in trunks, and missing',
        )
