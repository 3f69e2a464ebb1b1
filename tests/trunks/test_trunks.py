"""Attempts by trunks, what operators want of them, and how they come and go."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.errors import LocalError
from sipd.interfaces import Attempt, Credentials, Dtmf, EarlyMedia, MediaPolicy
from sipd.policies import LegPolicy
from sipd.sip.fields import NameAddr
from sipd.sip.registrant import State
from sipd.sip.uri import SipUri, parse_sip_uri
from sipd.trunks.interfaces import ITrunkObserver
from sipd.trunks.log import TrunkLog
from sipd.trunks.settings import HealthSettings, NumberFormat, OperatorState, TrunkServer, TrunkSettings
from sipd.trunks.trunks import TrunkObservers, Trunks
from sipd.ua.registering import Expired, Failed, Refreshed, Registered, Unregistered
from tests.trunks.support import AOR, FIRST, NO_OPTIONS, SECOND, TrunksCase, Watcher, asked, registering, static
from tests.ua.streams import STREAMS, Streams
from tests.ua.support import OTHER, THEM

THIRD = SipUri("192.0.2.4")


class AttemptCase(TrunksCase):
    """Attempts."""

    def attempt(self, trunks: Trunks, number: str = "4930999", name: str = "carrier") -> Attempt:
        """Give the attempt, which there must be."""
        found = trunks.attempt(name, number, asked())
        assert isinstance(found, Attempt), found
        return found


class AttemptTests(AttemptCase):
    """What an attempt is like."""

    def test_static(self) -> None:
        """It goes to the server, as the number there, with everything that is known of the trunk."""
        media, policy = MediaPolicy(record="wave"), LegPolicy(name="carrier")
        credentials = Credentials(username="u", password="secret")
        trunks = self.trunks(
            static(
                "carrier",
                TrunkServer(parse_sip_uri("sip:gw.example.com:5070;transport=tcp;lr")),
                credentials=credentials,
                caller="4930123",
                trusted=True,
                policy=policy,
                codecs=("pcma",),
                media=media,
                early_media=EarlyMedia.AS_183,
                dtmf=Dtmf.INFO,
                timeout=20.0,
                response_timeout=3.0,
                stops=frozenset((486,)),
                redirects=2,
            )
        )
        self.assertEqual(
            self.attempt(trunks),
            Attempt(
                uri=parse_sip_uri("sip:4930999@gw.example.com:5070;transport=tcp"),
                label="trunk carrier",
                next_hop=parse_sip_uri("sip:gw.example.com:5070;transport=tcp;lr"),
                credentials=credentials,
                timeout=20.0,
                response_timeout=3.0,
                stops=frozenset((486,)),
                redirects=2,
                trunk="carrier",
                early_media=EarlyMedia.AS_183,
                codecs=("pcma",),
                trusted=True,
                media=media,
                dtmf=Dtmf.INFO,
                policy=policy,
                caller="4930123",
            ),
        )

    def test_domain(self) -> None:
        """The request URI may name a domain, wherever the request goes; `sips` stays `sips`."""
        trunks = self.trunks(
            static("carrier", domain="carrier.example"),
            static("tls", TrunkServer(parse_sip_uri("sips:gw.example.com")), domain="carrier.example"),
        )
        attempt = self.attempt(trunks)
        self.assertEqual((attempt.uri, attempt.next_hop), (SipUri("carrier.example", "4930999"), FIRST))
        self.assertEqual(str(self.attempt(trunks, name="tls").uri), "sips:4930999@carrier.example")

    def test_number_format(self) -> None:
        """Whoever knows numbers writes them as the trunk wants it."""
        trunks = self.trunks(
            static(number_format=NumberFormat.PLUS),
            write_number=lambda number, one: f"{one.number_format.value}{number}",
        )
        self.assertEqual(self.attempt(trunks, "49").uri, SipUri(THEM, "plus49"))

    def test_escapes_stay(self) -> None:
        """A number is written into the URI as it stood in the other one (lesson 54)."""
        trunks = self.trunks(static())
        self.assertEqual(str(self.attempt(trunks, "%2321%23").uri), f"sip:%2321%23@{THEM}")

    def test_registering(self) -> None:
        """It goes to the registrar that has the binding, under the domain that is registered; not without a binding."""
        trunks = self.trunks(registering("carrier", FIRST, SECOND))
        self.assertEqual(trunks.attempt("carrier", "1", asked()), "not registered")
        self.respond("REGISTER", 500)
        self.grant(wire=self.other)
        attempt = self.attempt(trunks)
        self.assertEqual((attempt.uri, attempt.next_hop), (SipUri("carrier.example", "4930999"), SECOND))
        self.assertEqual((attempt.route_set, attempt.source), ((), None))

    def test_why_it_is_not_registered(self) -> None:
        """The reason is that of the registrar."""
        trunks = self.trunks(registering())
        self.respond("REGISTER", 403)
        self.assertEqual(trunks.attempt("carrier", "1", asked()), "not registered: 403 Forbidden")

    def test_service_route(self) -> None:
        """Calls take the way that the registrar says (RFC 3608)."""
        trunks = self.trunks(registering())
        routes = ("<sip:edge.carrier.example;lr>", "<sip:core.carrier.example;lr>")
        self.grant(headers=[("Service-Route", ", ".join(routes))])
        attempt = self.attempt(trunks)
        self.assertEqual((attempt.route_set, attempt.next_hop), (routes, None))
        self.assertEqual(attempt.uri, SipUri("carrier.example", "4930999"))

    def test_connection_of_the_registration(self) -> None:
        """Over TCP a call takes the connection of the registration, while it is open and leads to the same place."""
        streams = Streams(self.network)
        for route, expected in ((None, True), (f"<{STREAMS};lr>", True), ("<sip:edge.carrier.example;lr>", False)):
            trunks = self.trunks(registering("carrier", STREAMS))
            self.clock.advance(0.5)
            streams.grant(headers=() if route is None else (("Service-Route", route),))
            self.clock.advance(0.5)
            source = self.attempt(trunks).source
            self.assertEqual(source is not None, expected, route)
            if source is not None:
                self.assertEqual(str(source), f"TCP {STREAMS.host}:5060")
                self.assertIsNotNone(self.transport.find_flow(source))
            trunks.close()
        streams.connections[-1].loseConnection()
        self.clock.advance(0.5)
        trunks = self.trunks(static("carrier", TrunkServer(STREAMS)))
        self.assertIsNone(self.attempt(trunks).source)

    def test_servers_of_their_own(self) -> None:
        """A trunk that registers may have other servers for calls, which may do without a registration."""
        for needs in (True, False):
            one = registering()
            trunks = self.trunks(
                TrunkSettings(
                    name="carrier",
                    servers=(TrunkServer(THIRD),),
                    registration=one.registration,
                    needs_registration=needs,
                    health=NO_OPTIONS,
                )
            )
            before = trunks.attempt("carrier", "1", asked())
            self.assertEqual(isinstance(before, Attempt), not needs)
            self.grant()
            self.assertEqual(self.attempt(trunks).next_hop, THIRD)

    def test_unknown(self) -> None:
        """Who asks for a trunk that there is not hears so."""
        trunks = self.trunks(static())
        self.assertRaises(KeyError, trunks.attempt, "other", "1", asked())
        self.assertRaises(KeyError, trunks.set_state, "other", OperatorState.DOWN)
        self.assertRaises(KeyError, trunks.settings, "other")
        self.assertEqual((len(trunks), "carrier" in trunks, "other" in trunks), (1, True, False))


class WeightTests(AttemptCase):
    """Which server has the next call."""

    def chosen(self, trunks: Trunks, calls: int = 1000) -> Counter[str]:
        """Count who has so many calls."""
        return Counter(str(self.attempt(trunks).next_hop) for _ in range(calls))

    def test_in_proportion(self) -> None:
        """Of 1,000 calls each server has its share, give or take four standard deviations."""
        self.agent.entropy = Random(5).randbytes
        trunks = self.trunks(static("carrier", TrunkServer(FIRST, 5), TrunkServer(SECOND, 3), TrunkServer(THIRD, 2)))
        found = self.chosen(trunks)
        for uri, share in ((FIRST, 0.5), (SECOND, 0.3), (THIRD, 0.2)):
            deviation = (1000 * share * (1 - share)) ** 0.5
            self.assertLess(abs(found[str(uri)] - 1000 * share), 4 * deviation, found)

    def test_among_those_that_are_up(self) -> None:
        """The share of one that is down goes to the others, in proportion; one of weight 0 waits for its time."""
        self.agent.entropy = Random(6).randbytes
        trunks = self.trunks(static("carrier", TrunkServer(FIRST, 1), TrunkServer(SECOND, 1), TrunkServer(THIRD, 0)))
        self.assertEqual(set(self.chosen(trunks)), {str(FIRST), str(SECOND)})
        for _ in range(3):
            trunks.attempt_ended("carrier", 0, FIRST)
        self.assertEqual(self.chosen(trunks), {str(SECOND): 1000})
        trunks.attempt_ended("carrier", 503, SECOND, 30.0)
        self.assertEqual(self.chosen(trunks), {str(THIRD): 1000})
        for _ in range(3):
            trunks.attempt_ended("carrier", 503, THIRD)
        self.assertEqual(
            trunks.attempt("carrier", "1", asked()),
            f"{FIRST} is down (no response to a call, 3 times), {SECOND} rests for 30 s, "
            f"{THIRD} is down (503 to a call, 3 times)",
        )

    def test_one_seed_one_order(self) -> None:
        """The same chance gives the same choices."""
        orders = []
        for _ in range(2):
            self.agent.entropy = Random(7).randbytes
            trunks = self.trunks(static("carrier", TrunkServer(FIRST), TrunkServer(SECOND)))
            orders.append([str(self.attempt(trunks).next_hop) for _ in range(50)])
        self.assertEqual(*orders)


class OperatorTests(AttemptCase):
    """What an operator wants."""

    def test_drained(self) -> None:
        """No call goes out by it, it is unregistered, and is asked whether it is there, until it is wanted again."""
        trunks = self.trunks(registering(health=HealthSettings(interval=30.0)), static("other", TrunkServer(SECOND)))
        self.grant()
        draining = trunks.set_state("carrier", OperatorState.DRAIN)
        self.clock.advance(0.1)
        self.assertEqual(self.register().expires, 0)
        self.assertNoResult(draining)
        self.respond("REGISTER", 200)
        self.successResultOf(draining)
        self.assertEqual(trunks.attempt("carrier", "1", asked()), "the operator has set it to drain")
        self.assertIsInstance(trunks.attempt("other", "1", asked()), Attempt)
        self.answer_options(200)
        self.successResultOf(trunks.set_state("carrier", OperatorState.UP))
        self.clock.advance(0.1)
        self.grant()
        self.attempt(trunks)
        self.assertEqual(
            self.watcher.take(),
            ["carrier Registered", "carrier drain", "carrier Unregistered", "carrier up", "carrier Registered"],
        )

    def test_same_contact_afterwards(self) -> None:
        """The contact is the same when it is registered again: calls that are on their way still find it."""
        trunks = self.trunks(registering())
        self.grant()
        first = self.register().contacts[0].uri
        for state in (OperatorState.DOWN, OperatorState.UP):
            trunks.set_state("carrier", state)
            self.clock.advance(0.1)
        self.assertEqual(self.register().contacts[0].uri, first)

    def test_down(self) -> None:
        """Nobody asks whether it is there, either."""
        trunks = self.trunks(static(health=HealthSettings(interval=30.0)))
        self.answer_options(200)
        self.successResultOf(trunks.set_state("carrier", OperatorState.DOWN))
        self.successResultOf(trunks.set_state("carrier", OperatorState.DOWN))
        self.them.take()
        self.clock.advance(100.0)
        self.assertEqual(self.them.kinds(), [])
        self.assertEqual(trunks.attempt("carrier", "1", asked()), "the operator has set it to down")
        self.assertEqual(self.watcher.take(), ["carrier down"])

    def test_before_the_start(self) -> None:
        """What was set before the start holds from the start on."""
        trunks = Trunks(self.agent, (registering(),))
        self.successResultOf(trunks.set_state("carrier", OperatorState.DOWN))
        trunks.start()
        self.clock.advance(1.0)
        self.assertEqual(self.them.kinds(), [])
        trunks.close()


class ComingAndGoingTests(AttemptCase):
    """Trunks that are added, changed and removed, and the end of all."""

    def test_added_and_removed(self) -> None:
        """A new one begins at once, one that is not there any more is unregistered."""
        trunks = self.trunks(registering("a", FIRST))
        self.grant()
        trunks.configure((registering("b", SECOND),))
        self.clock.advance(0.1)
        self.assertEqual(self.register().expires, 0)
        self.assertEqual(self.register(self.other).expires, 600)
        self.assertEqual([one.name for one in trunks.describe()], ["b"])
        self.respond("REGISTER", 200)
        self.assertEqual(self.watcher.take(), ["a Registered", "a Unregistered"])

    def test_changed(self) -> None:
        """What is not about the registration leaves it alone; what is makes a new one."""
        trunks = self.trunks(registering("carrier", FIRST))
        self.grant()
        self.them.take()
        trunks.configure((registering("carrier", FIRST, caller="4930"),))
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), [])
        self.assertEqual(self.attempt(trunks).caller, "4930")
        trunks.configure((registering("carrier", SECOND),))
        self.clock.advance(0.1)
        self.assertEqual((self.register().expires, self.register(self.other).expires), (0, 600))
        contacts = [self.register(wire).contacts[0].uri for wire in (self.them, self.other)]
        self.assertEqual(*contacts)

    def test_changed_at_the_same_registrar(self) -> None:
        """The contact is registered again when it is removed, not before: it is the same, and the last one counts."""
        trunks = self.trunks(registering())
        self.grant()
        self.them.take()
        changed = registering()
        assert changed.registration is not None
        longer = replace(changed.registration, timing=replace(changed.registration.timing, expires=900))
        trunks.configure((replace(changed, registration=longer),))
        self.clock.advance(0.1)
        self.assertEqual(self.register().expires, 0)
        trunks.configure((replace(changed, registration=longer, caller="4930"),))
        self.clock.advance(0.3)
        self.assertEqual([self.register().expires, len(self.them.messages)], [0, 1])
        self.respond("REGISTER", 200)
        self.assertEqual(self.register().expires, 900)
        self.grant()
        self.attempt(trunks)

    def test_closed_while_it_leaves(self) -> None:
        """Nothing is left of a registration that was being removed when all is closed."""
        trunks = self.trunks(registering())
        self.grant()
        trunks.configure(())
        self.clock.advance(0.1)
        trunks.close()
        self.assertEqual(self.watcher.take(), ["carrier Registered"])
        self.clock.advance(10.0)
        self.assertEqual(self.watcher.take(), [])

    def test_what_is_known_stays(self) -> None:
        """Servers that stay are as up or down as they were, and the operator's wish holds."""
        trunks = self.trunks(static("carrier", TrunkServer(FIRST), TrunkServer(SECOND)), static("drained"))
        for _ in range(3):
            trunks.attempt_ended("carrier", 0, FIRST)
        trunks.set_state("drained", OperatorState.DRAIN)
        changed = static("carrier", TrunkServer(THIRD), TrunkServer(FIRST, 7))
        trunks.configure((changed, static("drained", TrunkServer(THIRD))))
        carrier, drained = trunks.describe()
        self.assertEqual(
            [(one.uri, one.weight, one.is_up) for one in carrier.servers], [(THIRD, 1, True), (FIRST, 7, False)]
        )
        self.assertIs(drained.state, OperatorState.DRAIN)

    def test_same_name_twice(self) -> None:
        """It is refused, and everything stays as it was."""
        trunks = self.trunks(static("a"))
        self.assertRaises(LocalError, trunks.configure, (static("b"), static("b")))
        self.assertEqual([one.name for one in trunks.describe()], ["a"])

    def test_end(self) -> None:
        """All are unregistered at once, those that are leaving already included, and nothing is left."""
        trunks = self.trunks(registering("a", FIRST), registering("b", SECOND), static("c", TrunkServer(THIRD)))
        self.grant()
        self.grant(wire=self.other)
        trunks.set_state("a", OperatorState.DRAIN)
        ending = trunks.stop()
        self.clock.advance(0.1)
        self.assertEqual((self.register().expires, self.register(self.other).expires), (0, 0))
        self.respond("REGISTER", 200)
        self.assertNoResult(ending)
        self.respond("REGISTER", 200, wire=self.other)
        self.successResultOf(ending)
        self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end_within_a_limit(self) -> None:
        """Registrars that do not answer hold nobody up."""
        trunks = self.trunks(registering("a", FIRST), registering("b", SECOND))
        self.grant()
        ending = trunks.stop()
        self.clock.advance(3.1)
        self.successResultOf(ending)
        self.settle()

    def test_back_when_the_server_is(self) -> None:
        """A server that answers again is registered at, without waiting for the time that was set."""
        health = HealthSettings(interval=10.0, failures=1, successes=1)
        self.trunks(registering(health=health))
        self.network.partition([THEM])
        self.clock.advance(60.0)
        self.network.heal()
        self.watcher.take()
        self.answer_options(200)
        self.clock.advance(0.1)
        self.grant()
        self.assertEqual(self.watcher.take(), [f"carrier {FIRST} up: it answers", "carrier Registered"])


class DescriptionTests(AttemptCase):
    """What is said to who asks."""

    def test_description(self) -> None:
        """All that is known, in values."""
        trunks = self.trunks(registering(contact_user="trunk"), static("gateway", TrunkServer(SECOND, 3)))
        self.grant(headers=[("Service-Route", "<sip:edge.example;lr>")])
        trunks.attempt("gateway", "1", asked())
        trunks.attempt_ended("gateway", 503)
        carrier, gateway = trunks.describe()
        self.assertEqual((carrier.name, carrier.state, carrier.obstacle), ("carrier", OperatorState.UP, ""))
        found = carrier.registration
        assert found is not None
        self.assertEqual((found.state, found.aor, found.contact_user), (State.REGISTERED, AOR, "trunk"))
        self.assertEqual((found.registrar, found.bindings, found.failure), (FIRST, 1, ""))
        self.assertEqual(found.service_route, ("<sip:edge.example;lr>",))
        self.assertApproximates(found.expires, 600.0, 0.5)
        (server,) = gateway.servers
        self.assertEqual((server.uri, server.weight, server.is_up, server.calls), (SECOND, 3, True, 1))
        self.assertEqual((server.failures, server.reason), (1, "503 to a call"))
        self.assertIsNone(gateway.registration)

    def test_obstacles(self) -> None:
        """Why no call goes out is said."""
        trunks = self.trunks(registering("a"), static("b"), static("c"))
        self.respond("REGISTER", 500)
        trunks.set_state("b", OperatorState.DRAIN)
        trunks.attempt_ended("c", 503, FIRST, 20.0)
        self.assertEqual(
            [one.obstacle for one in trunks.describe()],
            [
                "not registered: 500 Server Internal Error",
                "the operator has set it to drain",
                f"{FIRST} rests for 20 s",
            ],
        )

    def test_no_secrets(self) -> None:
        """Settings that are printed show no password."""
        one = static(credentials=Credentials(username="u", password="hidden"))
        self.assertNotIn("hidden", repr(one))


class ObserverTests(TrunksCase):
    """Who watches."""

    def test_provide_the_interface(self) -> None:
        """They are observers."""
        for one in (TrunkLog(), Watcher(), TrunkObservers(())):
            verifyObject(ITrunkObserver, one)

    def test_all_are_told(self) -> None:
        """Each observer hears of everything."""
        second = Watcher()
        trunks = Trunks(self.agent, (registering(),), observers=(self.watcher, second))
        trunks.start()
        self.clock.advance(0.1)
        self.grant()
        trunks.attempt_ended("carrier", 503, FIRST, 10.0)
        for _ in range(3):
            trunks.attempt_ended("carrier", 0, FIRST)
        trunks.set_state("carrier", OperatorState.DOWN)
        trunks.close()
        self.assertEqual(self.watcher.lines, second.lines)
        self.assertEqual(len(second.lines), 4)


class LogTests(SynchronousTestCase):
    """The log."""

    def test_lines(self) -> None:
        """One line each, that says what and why; a refresh is for those who look closely."""
        contacts = (NameAddr(SipUri(OTHER, "a")), NameAddr(SipUri(OTHER, "b")))
        with capturedLogs() as events:
            log = TrunkLog()
            for kind, bindings in ((Registered, contacts[:1]), (Registered, contacts), (Refreshed, contacts[:1])):
                event = kind(registrar=FIRST, expires=600.0, bindings=bindings, service_route=())
                log.registration_changed("a", event)
            for wait in (30.4, 0.0):
                failed = Failed(registrar=FIRST, status=500, text="500 No\nway", next_try=wait)
                log.registration_changed("a", failed)
            log.registration_changed("a", Expired())
            for is_confirmed in (True, False):
                log.registration_changed("a", Unregistered(is_confirmed=is_confirmed))
            log.server_changed("a", FIRST, "silence", is_up=False)
            log.server_changed("a", FIRST, "it answers", is_up=True)
            log.server_rests("a", FIRST, 20.0)
            log.operator_set("a", OperatorState.DRAIN)
        said = [(event["log_level"], f"trunk {event['trunk']}: {event['text']}") for event in events]
        self.assertEqual([text for level, text in said if level is LogLevel.debug], [
            f"trunk a: refreshed at {FIRST} for 600 s",
        ])  # fmt: skip
        self.assertEqual([text for level, text in said if level is LogLevel.info], [
            f"trunk a: registered at {FIRST} for 600 s",
            f"trunk a: registered at {FIRST} for 600 s, beside 1 other contact",
            f"trunk a: not registered at {FIRST}: 500 No?way; tried again in 30 s",
            f"trunk a: not registered at {FIRST}: 500 No?way; the next registrar is tried",
            "trunk a: the registration has expired",
            "trunk a: unregistered",
            "trunk a: not registered any more; nobody has confirmed it",
            f"trunk a: {FIRST} is down: silence",
            f"trunk a: {FIRST} is up: it answers",
            f"trunk a: {FIRST} has no calls for 20 s, as it wishes",
            "trunk a: the operator has set it to drain",
        ])  # fmt: skip
