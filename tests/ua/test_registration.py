"""Registrations of our own: what is sent when, how answers are read, and what is told of it."""

from __future__ import annotations

from typing import Any

from sipd.errors import LocalError, RegistrationError
from sipd.interfaces import Credentials
from sipd.sip.message import Request, Response
from sipd.sip.registrant import RegistrationTiming, State
from sipd.sip.uri import SipUri
from sipd.testing import builders
from sipd.ua.registering import (
    Expired,
    Failed,
    Refreshed,
    Registered,
    RegistrationEvent,
    RegistrationRefusedError,
    RegistrationSettings,
    Unregistered,
)
from sipd.ua.registration import Registration
from tests.ua.streams import STREAMS, Streams
from tests.ua.support import OTHER, THEM, US, AgentCase, Wire

AOR = SipUri("carrier.example", "4930123")
TIMING = RegistrationTiming(expires=600, retry_base=20.0, retry_limit=100.0, return_after=120.0)


class RegistrationCase(AgentCase):
    """A registration at `THEM`, and then at `OTHER`, whose answers are the test's."""

    def setUp(self) -> None:
        super().setUp()
        self.other = Wire(self.network, OTHER)
        self.events: list[RegistrationEvent] = []

    def registration(self, *registrars: str, **options: Any) -> Registration:
        """Make one, and start it."""
        places = tuple(SipUri(host) for host in registrars or (THEM,))
        values = {"aor": AOR, "registrars": places, "timing": TIMING, "keepalive": 0.0, **options}
        registration = Registration(self.agent, RegistrationSettings(**values), self.events.append)
        registration.start()
        self.addCleanup(registration.close)
        self.clock.advance(0.1)
        return registration

    def register(self, wire: Wire | None = None) -> Request:
        """Give the last REGISTER that came."""
        return (wire or self.them).request("REGISTER")

    def grant(
        self, expires: int = 600, *, wire: Wire | None = None, contacts: tuple[str, ...] = (), **options: Any
    ) -> Request:
        """Grant what was asked for last; the binding of that contact stands among others."""
        register = self.register(wire)
        own = f"{register.headers.get('Contact')};expires={expires}"
        lines = [("Contact", one) for one in (*contacts, own)]
        self.respond(200, wire=wire, headers=(*lines, *options.pop("headers", ())), **options)
        return register

    def respond(self, status: int, *, wire: Wire | None = None, **options: Any) -> Response:
        """Answer what came last."""
        response = builders.response(self.register(wire), status, **options)
        (wire or self.them).send(response)
        self.clock.advance(0.1)
        return response

    def registered(self, **options: Any) -> Registration:
        """Give one that is bound."""
        registration = self.registration(**options)
        self.grant()
        self.assertTrue(registration.is_registered)
        self.them.take()
        self.events.clear()
        return registration

    def next_at(self, wire: Wire | None = None, limit: float = 4000.0) -> float:
        """Give the seconds until the next REGISTER comes."""
        start, where = self.clock.seconds(), wire or self.them
        where.take()
        self.assertTrue(self.clock.run_until(lambda: where.messages, limit=limit))
        return self.clock.seconds() - start


class RequestTests(RegistrationCase):
    """The REGISTER."""

    def test_first_request(self) -> None:
        """It names the domain, the address of record twice, a contact of its own, and what is wished for (10.2)."""
        self.registration(contact_user="trunk-1")
        register = self.register()
        self.assertEqual(register.uri_text, "sip:carrier.example")
        self.assertEqual((register.from_.uri, register.to.uri, register.to.tag), (AOR, AOR, None))
        self.assertEqual(register.headers.get_all("Contact"), [f"<sip:trunk-1@{US}:5060>"])
        self.assertEqual((register.expires, register.cseq.number), (600, 1))
        self.assertIn("path", register.headers.tokens("Supported"))

    def test_fields_of_its_own(self) -> None:
        """More fields may stand in each REGISTER, and another Allow."""
        self.registration(headers=(("Allow", "INVITE, ACK, BYE"), ("X-Site", "7")))
        for _ in range(2):
            request = self.register()
            self.assertEqual(request.headers.get_all("Allow"), ["INVITE, ACK, BYE"])
            self.assertEqual(request.headers.get_all("X-Site"), ["7"])
            self.assertIn("path", request.headers.tokens("Supported"))
            self.grant()
            self.clock.advance(400.0)

    def test_request_uri_of_its_own(self) -> None:
        """The request URI may be another one than the domain of the address of record."""
        self.registration(uri=SipUri("registrar.carrier.example"))
        self.assertEqual(self.register().uri_text, "sip:registrar.carrier.example")

    def test_nobody_else_knows_the_contact(self) -> None:
        """Without a user part that is given, each registration has one of 128 bits of chance."""
        one, other = self.registration(), self.registration()
        self.assertEqual(len({one.contact_user, other.contact_user}), 2)
        self.assertEqual(len(one.contact_user), 32)

    def test_same_call_id_and_rising_numbers(self) -> None:
        """All requests to one registrar have one Call-ID, and numbers that rise (10.2.4); other registrars another."""
        self.registration(THEM, OTHER)
        first = self.grant()
        self.next_at()
        second = self.register()
        self.assertEqual((first.call_id, first.from_.tag), (second.call_id, second.from_.tag))
        self.assertEqual((first.cseq.number, second.cseq.number), (1, 2))
        self.respond(500)
        self.assertNotEqual(self.register(self.other).call_id, first.call_id)

    def test_over_tcp(self) -> None:
        """The contact says how it is reached."""
        streams = Streams(self.network)
        settings = RegistrationSettings(aor=AOR, registrars=(STREAMS,), contact_user="t", keepalive=0.0)
        registration = Registration(self.agent, settings)
        registration.start()
        self.clock.advance(1.0)
        self.assertEqual(streams.request().headers.get("Contact"), f"<sip:t@{US}:5060;transport=tcp>")
        registration.close()

    def test_needs_a_registrar(self) -> None:
        """Without a place to go there is nothing to do."""
        settings = RegistrationSettings(aor=AOR, registrars=())
        self.assertRaises(LocalError, Registration, self.agent, settings)

    def test_secrets_are_not_shown(self) -> None:
        """Settings that are printed show no password."""
        settings = RegistrationSettings(
            aor=AOR, registrars=(AOR,), credentials=Credentials(username="u", password="hidden")
        )
        self.assertNotIn("hidden", repr(settings))


class AnswerTests(RegistrationCase):
    """How the answers are read."""

    def test_registered(self) -> None:
        """Who waits is told, and the watcher of all bindings and the way that calls are to take."""
        registration = self.registration()
        waiting = registration.when_registered()
        self.assertNoResult(waiting)
        route = "<sip:edge.carrier.example;lr>"
        others = (f"<sip:4930123@{OTHER}>;expires=55", "<sip:desk@[2001:db8::9]>;expires=3000;q=0.5")
        self.grant(300, contacts=others, headers=(("Service-Route", route),))
        self.successResultOf(waiting)
        self.successResultOf(registration.when_registered())
        (event,) = self.events
        assert isinstance(event, Registered)
        self.assertEqual((event.registrar, event.expires), (SipUri(THEM), 300.0))
        self.assertEqual([one.expires for one in event.bindings], [55, 3000, 300])
        self.assertEqual(event.service_route, (route,))
        self.assertEqual(registration.service_route, (route,))
        self.assertEqual((registration.state, registration.registrar), (State.REGISTERED, SipUri(THEM)))
        self.assertApproximates(registration.expires, 300.0, 0.2)

    def test_own_binding_among_others(self) -> None:
        """Ours is found by the comparison of URIs (19.1.4), however it is written, and its time is what counts."""
        self.registration(contact_user="trunk")
        others = (f"<sip:trunk@{US}:5061>;expires=7", f"<sip:other@{US}:5060>;expires=8")
        mine = f'"Office" <SIP:%74runk@{US}:5060>;expires=400'
        self.respond(200, headers=[("Contact", one) for one in (*others, mine)])
        self.assertEqual(self.events[-1].expires, 400.0)  # type: ignore[union-attr]

    def test_rewritten_binding(self) -> None:
        """One that somebody on the way has put another address into is found by its user part."""
        self.registration(contact_user="trunk")
        lines = ["<sip:other@198.51.100.7>;expires=8", "<sip:trunk@198.51.100.7:61234>;expires=90"]
        self.respond(200, headers=[("Contact", one) for one in lines])
        self.assertEqual(self.events[-1].expires, 90.0)  # type: ignore[union-attr]

    def test_other_ways_to_say_the_time(self) -> None:
        """Without the parameter it is Expires, and without that what was asked for; rubbish counts as nothing."""
        for headers, expected in (
            ([("Expires", "77")], 77.0),
            ([], 600.0),
            ([("Expires", "soon")], 600.0),
            ([("Contact", "<sip:who@192.0.2.99>;expires=44"), ("Expires", "77")], 44.0),
            ([("Contact", "<<>>"), ("Expires", "77")], 77.0),
        ):
            registration = self.registration()
            self.respond(200, headers=headers)
            self.assertEqual(self.events[-1].expires, expected, headers)  # type: ignore[union-attr]
            registration.close()

    def test_no_time(self) -> None:
        """A binding of no time is none."""
        self.registration()
        self.grant(0)
        (event,) = self.events
        assert isinstance(event, Failed)
        self.assertEqual(event.text, "the registrar grants no time")

    def test_service_route_comes_and_goes(self) -> None:
        """Each 2xx says anew which way calls are to take; rubbish says nothing (RFC 3608)."""
        registration = self.registration()
        for values, expected in (
            (["<sip:a.example;lr>, <sip:b.example;lr>"], ("<sip:a.example;lr>", "<sip:b.example;lr>")),
            (["<sip:c.example;lr>"], ("<sip:c.example;lr>",)),
            ([], ()),
            (["<sip:c.example"], ()),
            (["<tel:+1>"], ()),
            (["<sip:c.example;lr>"] * 17, ()),
        ):
            self.grant(headers=[("Service-Route", value) for value in values])
            self.assertEqual(registration.service_route, expected)
            registration.refresh()
            self.clock.advance(0.1)


class RefreshTests(RegistrationCase):
    """When the next request goes out."""

    def test_at_half_of_the_time(self) -> None:
        """Between 45 and 55 percent of what was granted have passed, not always the same part of it."""
        self.registration()
        waits = []
        for _ in range(6):
            self.grant(300)
            waits.append(self.next_at())
        self.assertTrue(all(135.0 <= wait <= 165.0 for wait in waits), waits)
        self.assertGreater(max(waits) - min(waits), 1.0)
        self.assertEqual([type(event) for event in self.events], [Registered, *[Refreshed] * 5])

    def test_longer_expiry(self) -> None:
        """423 is answered at once by asking for what is granted (10.2.8)."""
        self.registration()
        self.respond(423, headers=[("Min-Expires", "1800")])
        self.assertEqual((self.register().expires, self.register().cseq.number), (1800, 2))
        self.grant(1800)
        self.assertEqual([type(event) for event in self.events], [Registered])

    def test_retry_after(self) -> None:
        """A registrar that is overloaded is left alone for as long as it wants."""
        self.registration()
        self.respond(503, headers=[("Retry-After", "90 (maintenance)")])
        (event,) = self.events
        assert isinstance(event, Failed)
        self.assertEqual((event.status, event.text), (503, "503 Service Unavailable"))
        wait = self.next_at()
        self.assertTrue(90.0 <= wait <= 99.0, wait)
        self.assertApproximates(wait, event.next_try, 0.3)
        self.grant()
        self.assertIsInstance(self.events[-1], Registered)

    def test_back_off(self) -> None:
        """Each failure is told, and the waits grow to their limit."""
        self.registration()
        waits = []
        for _ in range(5):
            self.respond(500)
            waits.append(self.next_at())
        for wait, most in zip(waits, (20, 40, 80, 100, 100), strict=True):
            self.assertTrue(most / 2 - 0.2 <= wait <= most, waits)
        self.assertEqual([type(event) for event in self.events], [Failed] * 5)

    def test_network_loss_and_recovery(self) -> None:
        """Nobody answers: the binding expires, and is made anew when somebody does. In between nothing piles up."""
        registration = self.registered()
        self.network.partition([THEM])
        self.clock.advance(700.0)
        self.assertFalse(registration.is_registered)
        self.assertEqual((registration.flow, registration.bindings, registration.expires), (None, (), 0.0))
        kinds = [type(event) for event in self.events]
        self.assertEqual(kinds.count(Expired), 1)
        self.assertIn(Failed, kinds[: kinds.index(Expired)])
        self.assertLessEqual(len(self.transactions), 1)
        self.network.heal()
        self.assertLessEqual(self.next_at(), 132.0)
        self.grant()
        self.assertIs(type(self.events[-1]), Registered)

    def test_retry(self) -> None:
        """Who knows that the network is back need not wait."""
        registration = self.registration()
        self.respond(500)
        self.them.take()
        registration.refresh()
        registration.refresh()
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["REGISTER"])

    def test_late_answer(self) -> None:
        """A registrar that answers a repeated request is taken at its word."""
        self.registration()
        self.clock.advance(10.0)
        self.assertGreater(len(self.them.messages), 3)
        self.grant()
        self.assertIs(type(self.events[-1]), Registered)


class ChallengeTests(RegistrationCase):
    """Digest."""

    CREDENTIALS = Credentials(username="4930123", password="secret")

    def challenge(self, nonce: str, status: int = 401, more: str = "") -> None:
        """Ask who it is."""
        name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
        value = f'Digest realm="carrier.example", nonce="{nonce}", qop="auth", algorithm=MD5{more}'
        self.respond(status, headers=[(name, value)])

    def test_answers(self) -> None:
        """The challenge is answered, with the next number, and the nonce serves for the refreshes, too (22.3)."""
        self.registration(credentials=self.CREDENTIALS)
        self.assertNotIn("Authorization", self.register().headers)
        self.challenge("n1")
        answered = self.register()
        self.assertIn('nonce="n1"', answered.headers.get("Authorization") or "")
        self.assertEqual(answered.cseq.number, 2)
        self.grant()
        self.next_at()
        refresh = self.register().headers.get("Authorization") or ""
        self.assertIn('nonce="n1"', refresh)
        self.assertIn("nc=00000002", refresh)

    def test_stale(self) -> None:
        """A nonce that has grown old is replaced by the one that comes, whether or not it is called stale."""
        self.registration(credentials=self.CREDENTIALS)
        self.challenge("n0")
        for number, more in enumerate((", stale=true", ", stale=TRUE", ""), 1):
            self.grant()
            self.next_at()
            self.challenge(f"n{number}", more=more)
            self.assertIn(f'nonce="n{number}"', self.register().headers.get("Authorization") or "")
        self.grant()
        self.assertEqual({type(event) for event in self.events}, {Registered, Refreshed})

    def test_by_a_proxy(self) -> None:
        """A proxy on the way may ask, as well."""
        self.registration(credentials=self.CREDENTIALS)
        self.challenge("n1", 407)
        self.assertIn('nonce="n1"', self.register().headers.get("Proxy-Authorization") or "")

    def test_wrong_password(self) -> None:
        """It is tried once, and again only after the longest wait: who waits for it hears that at once."""
        registration = self.registration(credentials=self.CREDENTIALS)
        waiting = registration.when_registered()
        self.challenge("n1")
        self.challenge("n2")
        error = self.failureResultOf(waiting, RegistrationRefusedError).value
        self.assertEqual((error.status, error.response.status, error.request.method), (401, 401, "REGISTER"))
        self.assertIn("n2", error.response.headers.get("WWW-Authenticate") or "")
        self.assertIn("Contact", error.request.headers)
        (event,) = self.events
        assert isinstance(event, Failed)
        self.assertEqual(event.text, "401 Unauthorized, with these credentials")
        self.assertTrue(50.0 <= event.next_try <= 100.0)
        self.assertEqual(registration.failure.status if registration.failure else 0, 401)

    def test_no_password(self) -> None:
        """Without credentials that is said."""
        self.registration()
        self.challenge("n1")
        (event,) = self.events
        assert isinstance(event, Failed)
        self.assertEqual(event.text, "401 Unauthorized, and there are no credentials")


class FailoverTests(RegistrationCase):
    """Several registrars."""

    def test_next_one(self) -> None:
        """One that refuses, or says nothing for too long, is left for the next one."""
        for is_silent in (False, True):
            registration = self.registration(THEM, OTHER, patience=5.0)
            if is_silent:
                self.clock.advance(5.0)
            else:
                self.respond(500)
            self.grant(wire=self.other)
            self.assertEqual(registration.registrar, SipUri(OTHER))
            failed, registered = self.events
            assert isinstance(failed, Failed)
            self.assertEqual((failed.registrar, failed.next_try), (SipUri(THEM), 0.0))
            self.assertEqual(failed.text, "No answer within 5 s" if is_silent else "500 Server Internal Error")
            self.assertIs(type(registered), Registered)
            registration.close()
            self.events.clear()
            self.them.take()
            self.other.take()

    def test_returns(self) -> None:
        """The preferred one is asked again after a while, and has the binding when it is back."""
        registration = self.registration(THEM, OTHER)
        self.respond(500)
        self.grant(wire=self.other)
        wait = self.next_at(self.them)
        self.assertTrue(110.0 <= wait <= 120.1, wait)
        self.respond(500)
        self.grant(wire=self.other)
        self.next_at(self.them)
        self.grant()
        self.assertEqual(registration.registrar, SipUri(THEM))
        self.assertEqual([type(one) for one in self.events], [Failed, Registered, Failed, Refreshed, Refreshed])

    def test_both_are_told_of_the_end(self) -> None:
        """Every registrar that may still have the binding is asked to remove it."""
        registration = self.registration(THEM, OTHER)
        self.respond(500)
        self.grant(wire=self.other)
        self.next_at(self.them)
        self.grant()
        ending = registration.stop()
        self.clock.advance(0.1)
        for wire in (self.them, self.other):
            self.assertEqual(self.register(wire).expires, 0)
            self.assertNoResult(ending)
            self.respond(200, wire=wire)
        self.successResultOf(ending)
        self.assertEqual(self.events[-1], Unregistered(is_confirmed=True))


class EndTests(RegistrationCase):
    """How it ends."""

    def test_unregisters(self) -> None:
        """The binding is removed by the contact that was bound, and nothing goes on."""
        registration = self.registration(contact_user="trunk")
        bound = self.grant()
        ending = registration.stop()
        again = registration.stop()
        self.clock.advance(0.1)
        last = self.register()
        self.assertEqual((last.expires, last.call_id, last.cseq.number), (0, bound.call_id, 2))
        self.assertEqual(last.headers.get("Contact"), bound.headers.get("Contact"))
        self.assertNoResult(ending)
        self.respond(200)
        self.successResultOf(ending)
        self.successResultOf(again)
        self.successResultOf(registration.stop())
        self.assertEqual(self.events[-1], Unregistered(is_confirmed=True))
        self.assertIs(registration.state, State.STOPPED)
        self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_within_a_limit(self) -> None:
        """A registrar that does not answer, or refuses, holds nobody up."""
        for is_silent in (True, False):
            registration = self.registration()
            self.grant()
            ending = registration.stop()
            self.clock.advance(2.8)
            self.assertNoResult(ending)
            if not is_silent:
                self.respond(500)
            self.clock.advance(0.3)
            self.successResultOf(ending)
            self.assertEqual(self.events[-1], Unregistered(is_confirmed=False))
        self.settle()

    def test_while_it_asks(self) -> None:
        """The answer to what is under way comes first (10.2); then what it has bound is removed."""
        registration = self.registration()
        ending = registration.stop()
        self.clock.advance(0.3)
        self.assertEqual(self.register().expires, 600)
        self.grant()
        self.assertEqual(self.register().expires, 0)
        self.respond(200)
        self.successResultOf(ending)
        self.assertEqual([type(event) for event in self.events], [Unregistered])

    def test_nothing_bound(self) -> None:
        """Without a binding there is nothing to remove."""
        registration = self.registration()
        self.respond(500)
        self.them.take()
        self.successResultOf(registration.stop())
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), [])
        self.assertEqual(self.events[-1], Unregistered(is_confirmed=True))

    def test_who_waits_hears_of_it(self) -> None:
        """Nobody waits for ever for what has been stopped, or closed."""
        for end in ("stop", "close"):
            registration = self.registration()
            waiting, cancelled = registration.when_registered(), registration.when_registered()
            cancelled.addErrback(lambda _: None)
            cancelled.cancel()
            self.respond(500)
            getattr(registration, end)()
            self.failureResultOf(waiting, RegistrationError)
            self.failureResultOf(registration.when_registered(), RegistrationError)

    def test_closed(self) -> None:
        """It ends at once, whatever is under way, and the registrar hears nothing."""
        registration = self.registration()
        registration.close()
        registration.close()
        asked = self.registered()
        ending = asked.stop()
        asked.close()
        self.successResultOf(ending)
        registration.start()
        self.clock.advance(100.0)
        self.assertEqual(registration.state, State.STOPPED)
        self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class KeepAliveTests(RegistrationCase):
    """The way to the registrar is kept open (RFC 5626)."""

    def test_empty_lines(self) -> None:
        """They go out on the flow of the binding, about as often as was said."""
        self.registered(keepalive=20.0)
        sent = [event.at for event in self.network.log if event.data == b"\r\n\r\n"]
        self.assertEqual(sent, [])
        self.clock.advance(100.0)
        times = [event.at for event in self.network.log if event.data == b"\r\n\r\n" and event.fate.is_departure]
        self.assertTrue(5 <= len(times) <= 6, times)

    def test_connection_that_ends(self) -> None:
        """It is made anew, and the binding with it, when the next empty line is due."""
        streams = Streams(self.network)
        settings = RegistrationSettings(aor=AOR, registrars=(STREAMS,), keepalive=20.0)
        registration = Registration(self.agent, settings, self.events.append)
        registration.start()
        self.clock.advance(0.5)
        streams.grant()
        self.clock.advance(0.5)
        self.assertTrue(registration.is_registered)
        streams.connections[0].loseConnection()
        self.clock.advance(21.0)
        self.assertEqual(len(streams.connections), 2)
        streams.grant()
        self.clock.advance(0.5)
        self.assertEqual([type(event) for event in self.events], [Registered, Refreshed])
        assert registration.flow is not None
        self.assertTrue(registration.flow.is_open)
        registration.close()
