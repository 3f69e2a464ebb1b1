"""More requests than anybody means well with: each has a bounded cost, and when they stop nothing is left."""

from __future__ import annotations

from collections import Counter

from sipd.registrar.authentication import DigestAuthenticator
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.credentials import authorize
from tests.hostile.support import ALICE, BOB, STRANGER, USERS, Arena, HostileCase

FROM_STRANGER = f"{STRANGER}:5060"
TO_THE_PHONE = StaticRoute(name="all", to=f"sip:callee@{BOB}:5060", authenticate=False)
#: A final response to INVITE goes out at 0, 0.5, 1.5, 3.5, 7.5, 11.5, ..., 31.5 s (timer G).
REPETITIONS = 11


class InviteTests(HostileCase):
    """INVITEs that nobody acknowledges."""

    def invite(self, number: int, *, contact: str = "<sip:x@203.0.113.9>") -> bytes:
        """Give an INVITE of somebody who does not say who it is."""
        name = f"flood-{number}"
        request = builders.invite(
            via=FROM_STRANGER, branch=f"z9hG4bK-{name}", call_id=name, from_tag=name, contact=contact
        )
        return request.to_bytes()

    def test_without_credentials(self) -> None:
        """Each is asked for credentials, costs a transaction for 32 s and eleven datagrams, and is no call."""
        self.arena.mark()
        number = 300
        for one in range(number):
            self.arena.send(self.invite(one))
        server = self.arena.server
        self.assertEqual(len(server.transactions), number)
        self.assertEqual((len(server.agent), len(server.b2bua), len(server.relay.sessions)), (0, 0, 0))
        self.arena.clock.advance(60.0)
        self.assertEqual(len(server.transactions), 0)
        self.assertEqual(Counter(self.arena.statuses()), {407: number * REPETITIONS})
        self.assertEqual((server.records.records, len(server.explanations)), ([], 0))
        self.assert_unharmed()

    def test_the_same_one(self) -> None:
        """An INVITE that comes a thousand times has one transaction and one call, and an answer for each copy."""
        self.arena.mark()
        for _ in range(1000):
            self.arena.send(self.invite(1))
        self.assertEqual(len(self.arena.server.transactions), 1)
        # Each copy, and what timer G sends within the 50 s of this: the transaction ends after 32 s, once.
        self.assertLessEqual(len(self.arena.statuses()), 1000 + 2 * REPETITIONS)
        self.assert_unharmed()

    def test_answered_and_not_acknowledged(self) -> None:
        """Calls that are answered and never acknowledged end on both legs after 32 s; the phone is hung up on."""
        self.arena = Arena(routes=(TO_THE_PHONE,))
        phone = self.arena.peer("bob", BOB, registered=False)
        phone.auto_answer(0.1)
        number = 50
        for one in range(number):
            self.arena.send(self.invite(one))
        self.arena.clock.advance(1.0)
        self.assertEqual(len(self.arena.server.b2bua), number)
        self.arena.clock.advance(40.0)
        self.assertEqual(len(self.arena.server.b2bua), 0)
        self.assertEqual({call.ended_by for call in phone.calls}, {"them"})
        self.assertEqual({record.cause for record in self.arena.server.records.records}, {"caller-lost"})
        self.assert_unharmed()

    def test_more_calls_than_are_allowed(self) -> None:
        """Beyond the bound calls are refused with 503 and Retry-After; those that there are go on."""
        self.arena = Arena(routes=(TO_THE_PHONE,), max_calls=20)
        phone = self.arena.peer("bob", BOB, registered=False)
        phone.auto_ring()
        self.arena.mark()
        for one in range(100):
            self.arena.send(self.invite(one))
        refused = {answer.call_id: answer for answer in self.arena.answers()}
        self.assertEqual({answer.status for answer in refused.values()}, {503})
        self.assertTrue(all("Retry-After" in answer.headers for answer in refused.values()))
        self.assertEqual((len(refused), len(self.arena.server.b2bua), len(phone.calls)), (80, 20, 20))
        self.assertLessEqual(len(self.arena.server.relay.taken), 40)
        self.arena.server.b2bua.stop_calls("the test is over")
        self.assert_unharmed()

    def test_contacts_of_a_victim(self) -> None:
        """A caller that gives somebody else's address as its Contact can have one BYE sent there, for 32 s."""
        self.arena = Arena(routes=(TO_THE_PHONE,))
        phone = self.arena.peer("bob", BOB, registered=False)
        phone.auto_answer(0.1)
        self.arena.mark()
        self.arena.send(self.invite(1, contact="<sip:x@198.51.100.7:5060>"))
        self.arena.clock.advance(100.0)
        hit = [data for (host, _), data in self.arena.datagrams_sent() if host == "198.51.100.7"]
        self.assertEqual({data.partition(b" ")[0] for data in hit}, {b"BYE"})
        self.assertLessEqual(len(hit), REPETITIONS)
        self.assert_unharmed()


class RegisterCase(HostileCase):
    """REGISTERs from the stranger."""

    def register(self, number: int, *, user: str = "alice", headers: builders.Fields = ()) -> Request:
        """Give a REGISTER in a transaction of its own."""
        name = f"register-{number}"
        return builders.register(
            f"sip:{user}@example.com",
            via=FROM_STRANGER,
            branch=f"z9hG4bK-{name}",
            call_id="registration",
            cseq=number,
            headers=headers,
        )

    def ask(self, request: Request) -> Response:
        """Send a request; give its only answer."""
        self.arena.mark()
        self.arena.send(request.to_bytes())
        (answer,) = self.arena.answers()
        return answer


class RegisterTests(RegisterCase):
    """REGISTERs of somebody who does not know the password."""

    def count_challenges(self) -> list[object]:
        """Count from now on what the authenticator looks up."""
        looked_up: list[object] = []
        original = DigestAuthenticator._challenge

        def challenge(self: DigestAuthenticator, *arguments: object) -> object:
            looked_up.append(arguments)
            return original(self, *arguments)  # type: ignore[arg-type]

        self.patch(DigestAuthenticator, "_challenge", challenge)
        return looked_up

    def test_guessing(self) -> None:
        """Each wrong password is one 401 and one challenge, whoever the user is; nothing is bound or stays."""
        challenges = self.count_challenges()
        number = 300
        statuses = Counter[int]()
        for one in range(1, number + 1):
            user = ("alice", "bob", "nobody")[one % 3]
            request = self.register(2 * one, user=user)
            challenge = self.ask(request)
            guess = self.register(2 * one + 1, user=user)
            self.assertTrue(authorize(guess, challenge, user, f"guess-{one}", "c"))
            answer = self.ask(guess)
            statuses[answer.status] += 1
            self.assertNotIn("stale", answer.headers.get("WWW-Authenticate") or "")
        self.assertEqual((statuses, len(challenges)), ({401: number}, 2 * number))
        self.assertEqual(len(self.arena.server.location), 0)
        self.assertEqual(len(self.arena.server.transactions), 2 * number)
        self.arena.clock.advance(40.0)
        self.assertEqual(len(self.arena.server.transactions), 0)
        alice = self.arena.peer("alice", ALICE)
        self.assertEqual(len(self.arena.server.location), 1)
        alice.close()
        self.assert_unharmed()

    def test_replays(self) -> None:
        """Credentials that were seen on the wire are good for nothing: not again, not for another address of record."""
        request = self.register(1)
        good = self.register(2)
        self.assertTrue(authorize(good, self.ask(request), "alice", USERS["alice"], "c"))
        self.assertEqual(self.ask(good).status, 200)
        credentials = good.headers.get("Authorization") or ""
        again = self.register(3, headers=[("Authorization", credentials)])
        answer = self.ask(again)
        self.assertEqual(answer.status, 401)
        self.assertIn("stale=true", answer.headers.get("WWW-Authenticate") or "")
        other = self.register(4, user="bob", headers=[("Authorization", credentials)])
        self.assertIn(self.ask(other).status, (401, 403))
        self.assertEqual(len(self.arena.server.location), 1)
        self.arena.clock.advance(4000.0)
        self.assert_unharmed()

    def test_somebody_elses_name(self) -> None:
        """Who knows a password may bind contacts to the user's own address only: 403."""
        request = self.register(1, user="bob")
        good = self.register(2, user="bob")
        self.assertTrue(authorize(good, self.ask(request), "alice", USERS["alice"], "c"))
        self.assertEqual(self.ask(good).status, 403)
        self.assertEqual(len(self.arena.server.location), 0)
        self.assert_unharmed()

    def test_credentials_that_are_none(self) -> None:
        """Malformed and incomplete credentials get 400 or 401."""
        named = 'Digest realm="example.com", username="alice"'
        for number, text in enumerate(
            (
                "Digest",
                "Digest ",
                "Digest =",
                "Digest username",
                'Digest username="alice',
                'Digest username="alice", username="bob"',
                'Digest realm="example.com"',
                'Digest realm="example.com", username="alice", nonce="", uri="", response=""',
                f'{named}, nonce="x", uri="sip:example.com", response="x", qop=auth',
                f'{named}, nonce="x", uri="sip:example.com", response="x", qop=y',
                f'{named}, nonce="é", uri="sip:example.com", response="\udcff"',
                f'{named}, nonce="A", uri="sip:else.where", response="x"',
                'Digest realm="example.com", algorithm=MD6, username="alice"',
                "Basic YWxpY2U6c2VjcmV0",
                "Bearer x",
                "\udcff",
                ",",
                "",
            ),
            1,
        ):
            answer = self.ask(self.register(number, headers=[("Authorization", text)]))
            self.assertIn(answer.status, (400, 401), text)
        self.assertEqual(len(self.arena.server.location), 0)
        self.assert_unharmed()


class BindingTests(RegisterCase):
    """REGISTERs of somebody who knows the password, and means no good."""

    def bind(self, contact: str | None, *headers: tuple[str, str]) -> int:
        """Register as alice with these contacts; give the status."""
        self.number = getattr(self, "number", 0) + 2
        plain = self.register(self.number)
        challenge = self.ask(plain)
        request = self.register(self.number + 1, headers=headers)
        if contact is None:
            request.headers.remove("Contact")
        else:
            request.headers.set("Contact", contact)
        if challenge.status == 401:
            self.assertTrue(authorize(request, challenge, "alice", USERS["alice"], f"c{self.number}"))
        return self.ask(request).status

    def test_nonsense(self) -> None:
        """What nobody could call, or would loop for ever, is refused before it is kept, or can do no harm."""
        for contact, headers in (
            ("<<", ()),
            ("*", ()),
            ("*, <sip:a@b>", (("Expires", "0"),)),
            ("<sip:a@b>;q=2", ()),
            ("<sip:a@b>", (("Path", "nonsense"),)),
            ("<sip:a@b>", (("Path", "<mailto:a@b>"),)),
            ("<sip:a@b>", (("Path", "<sip:[::>"),)),
            (", ".join(f"<sip:a{number}@b>" for number in range(21)), ()),
            (", ".join(f"<sip:a{number}@b>" for number in range(11)), ()),
            ("<sip:a@b>;expires=1", ()),
            (f"<sip:{'a' * 10_000}@b>", ()),
            (f'"{chr(0xDCFF) * 10_000}" <sip:a@b>', ()),
            ("<sip:a@b>", (("Path", ", ".join(["<sip:a@b>"] * 1000)),)),
        ):
            self.assertIn(self.bind(contact, *headers), (400, 403, 423), (contact, headers))
        self.arena.clock.advance(10_000.0)
        self.assertEqual(len(self.arena.server.location), 0)
        self.assert_unharmed()

    def test_the_bound_of_contacts(self) -> None:
        """However many REGISTERs come, a user has ten contacts at most, and they expire in time."""
        statuses = Counter(self.bind(f"<sip:a{number}@192.0.2.{number}>;expires=99999999999") for number in range(20))
        self.assertEqual(statuses, {200: 10, 403: 10})
        self.assertEqual(len(self.arena.server.location.lookup("sip:alice@example.com")), 10)
        self.arena.clock.advance(7201.0)
        self.assertEqual(len(self.arena.server.location), 0)
        self.assert_unharmed()

    def test_calling_what_cannot_be_called(self) -> None:
        """Contacts of unknown schemes and hosts that do not exist are tried, and the caller hears that they failed."""
        contacts = ("<mailto:a@b>", "<tel:+1>", "<isbn:2983792873>", "<sip:nowhere.invalid:1>", "<sip:a@[::1]>")
        self.assertEqual(self.bind(", ".join(contacts)), 200)
        self.arena.network.partition([STRANGER])
        call = self.arena.peer("bob", BOB).call("alice")
        self.arena.clock.advance(100.0)
        self.assertGreaterEqual(call.status, 400)
        (record,) = self.arena.server.records.records
        self.assertEqual(len(record.attempts), len(contacts))
        self.arena.network.heal()
        self.assert_unharmed()
