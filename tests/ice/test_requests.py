"""Tests of `sipd.ice.requests`."""

from __future__ import annotations

from itertools import count
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from sipd.ice.requests import (
    Answered,
    Credentials,
    Effects,
    Pace,
    Refused,
    Requests,
    Send,
    StartTimer,
    StopTimer,
    shown,
)
from sipd.rtp.stun import Attribute, Kind, Method, StunMessage, error_code_value, long_term_key, read_xor_address

SERVER = ("192.0.2.10", 3478)
CREDENTIALS = Credentials("alice", "secret")
KEY = long_term_key("alice", "example.org", "secret")
CHALLENGE = ((Attribute.REALM, b"example.org"), (Attribute.NONCE, b"one"))

EffectT = TypeVar("EffectT")


def only(kind: type[EffectT], effects: Effects) -> EffectT:
    """Give the one effect of a kind."""
    (effect,) = [each for each in effects if isinstance(each, kind)]
    return effect


def sent(effects: Effects) -> StunMessage:
    """Give the message that is sent."""
    return StunMessage.parse(only(Send, effects).octets)


def received(message: StunMessage, key: bytes | None = None) -> StunMessage:
    """Give a message as it is after it went over the wire."""
    return StunMessage.parse(message.to_bytes(key=key))


def error(request: StunMessage, code: int, *attributes: tuple[int, bytes]) -> StunMessage:
    """Make an error response."""
    first = (Attribute.ERROR_CODE, error_code_value(code, "Reason"))
    return StunMessage(request.method, Kind.ERROR, request.transaction, (first, *attributes))


class RequestsCase(SynchronousTestCase):
    """Requests with transaction ids that count."""

    def setUp(self) -> None:
        """Make one with and one without credentials."""
        numbers = count(1)

        def entropy(size: int) -> bytes:
            return next(numbers).to_bytes(size, "big")

        self.plain = Requests(SERVER, entropy=entropy)
        self.requests = Requests(SERVER, entropy=entropy, credentials=CREDENTIALS)

    def take(self, message: StunMessage, key: bytes | None = None) -> Effects:
        """Let a response come to the one with credentials."""
        return self.requests.message_received(received(message, key), SERVER)

    def challenged(self) -> StunMessage:
        """Start a request, have it challenged, and give what is sent then."""
        first = sent(self.requests.start("name", Method.REFRESH))
        return sent(self.take(error(first, 401, *CHALLENGE)))

    def success(self, request: StunMessage) -> StunMessage:
        """Make a success response."""
        return StunMessage(request.method, Kind.SUCCESS, request.transaction)


class RepetitionTests(RequestsCase):
    """RFC 8489 section 6.2.1."""

    def test_sent_seven_times(self) -> None:
        """Unanswered, a request is sent at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s, and fails at 39.5 s."""
        effects = self.plain.start("name", Method.BINDING)
        first = only(Send, effects)
        self.assertEqual(first.to, SERVER)
        now, times = 0.0, []
        while not any(isinstance(effect, Refused) for effect in effects):
            self.assertEqual(only(Send, effects), first)
            times.append(now)
            timer = only(StartTimer, effects)
            self.assertEqual(timer.timer, "name")
            now += timer.duration
            effects = self.plain.timer_fired("name")
        self.assertEqual(times, [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(now, 39.5)
        self.assertEqual(effects, (StopTimer("name"), Refused("name", 0, "no answer from 192.0.2.10:3478")))
        self.assertEqual(len(self.plain), 0)
        self.assertEqual(self.plain.timer_fired("name"), ())

    def test_another_pace(self) -> None:
        """A request can be given up earlier."""
        effects = self.plain.start("name", Method.BINDING, pace=Pace(first=1.0, attempts=2, last=3.0))
        self.assertEqual(only(StartTimer, effects).duration, 1.0)
        self.assertEqual(only(StartTimer, self.plain.timer_fired("name")).duration, 3.0)
        self.assertEqual(only(Refused, self.plain.timer_fired("name")).code, 0)

    def test_forgotten(self) -> None:
        """A request that was forgotten takes no answer."""
        request = sent(self.plain.start("name", Method.BINDING))
        self.assertIn("name", self.plain)
        self.assertEqual(self.plain.forget("name"), (StopTimer("name"),))
        self.assertEqual(self.plain.forget("name"), ())
        self.assertEqual(self.plain.message_received(received(self.success(request)), SERVER), ())


class ResponseTests(RequestsCase):
    """RFC 8489 section 6.3."""

    def test_answered(self) -> None:
        """The response with the request's transaction id is its answer, once."""
        request = sent(self.plain.start("name", Method.BINDING))
        other = sent(self.plain.start("other", Method.BINDING))
        answer = received(self.success(request))
        self.assertEqual(self.plain.message_received(answer, SERVER), (StopTimer("name"), Answered("name", answer)))
        self.assertEqual(self.plain.message_received(answer, SERVER), ())
        self.assertEqual(self.plain.names(), ("other",))
        self.assertNotEqual(request.transaction, other.transaction)

    def test_from_elsewhere(self) -> None:
        """A response from elsewhere, of another method or transaction, and what is no response, answer nothing."""
        request = sent(self.plain.start("name", Method.BINDING))
        answer = received(self.success(request))
        self.assertEqual(self.plain.message_received(answer, ("192.0.2.10", 3479)), ())
        self.assertEqual(self.plain.message_received(answer, ("192.0.2.11", 3478)), ())
        for other in (
            StunMessage(Method.REFRESH, Kind.SUCCESS, request.transaction),
            StunMessage(Method.BINDING, Kind.SUCCESS, bytes(12)),
            StunMessage(Method.BINDING, Kind.INDICATION, request.transaction),
            StunMessage(Method.BINDING, Kind.REQUEST, request.transaction),
        ):
            self.assertEqual(self.plain.message_received(received(other), SERVER), ())
        self.assertEqual(len(self.plain), 1)

    def test_refused(self) -> None:
        """An error response ends the request with its code and reason."""
        request = sent(self.plain.start("name", Method.BINDING))
        refused = only(Refused, self.plain.message_received(received(error(request, 500)), SERVER))
        self.assertEqual((refused.name, refused.code, refused.text), ("name", 500, "500 Reason"))

    def test_cannot_be_used(self) -> None:
        """An error without a code, or an answer with attributes that must be understood and are not, ends it, too."""
        for attributes in ((), ((0x7FFF, b""),)):
            request = sent(self.plain.start("name", Method.BINDING))
            answer = StunMessage(Method.BINDING, Kind.ERROR, request.transaction, attributes)
            self.assertEqual(only(Refused, self.plain.message_received(received(answer), SERVER)).code, 0)


class CredentialsTests(RequestsCase):
    """RFC 8489 section 9.2."""

    def test_challenged(self) -> None:
        """The first request has no credentials; after a 401 it is another transaction, signed; so are all others."""
        first = sent(self.requests.start("name", Method.REFRESH, ((Attribute.LIFETIME, bytes(4)),)))
        self.assertIsNone(first.get(Attribute.USERNAME))
        second = sent(self.take(error(first, 401, *CHALLENGE)))
        self.assertNotEqual(second.transaction, first.transaction)
        self.assertEqual(second.get(Attribute.LIFETIME), bytes(4))
        self.assertEqual(second.get(Attribute.USERNAME), b"alice")
        self.assertEqual(second.get(Attribute.REALM), b"example.org")
        self.assertEqual(second.get(Attribute.NONCE), b"one")
        self.assertTrue(second.is_signed_with(KEY))
        self.assertEqual(only(Answered, self.take(self.success(second), KEY)).name, "name")
        self.assertTrue(sent(self.requests.start("next", Method.REFRESH)).is_signed_with(KEY))

    def test_unsigned_answer(self) -> None:
        """The answer to a signed request counts only if it is signed with the same key; an error, too."""
        request = self.challenged()
        self.assertEqual(self.take(self.success(request)), ())
        self.assertEqual(self.take(self.success(request), b"another key"), ())
        self.assertEqual(self.take(error(request, 437)), ())
        self.assertEqual(only(Refused, self.take(error(request, 437), KEY)).code, 437)

    def test_unsigned_answer_is_mentioned(self) -> None:
        """A request that fails after an unsigned answer says so."""
        request = self.challenged()
        self.take(error(request, 508))
        for _ in range(6):
            self.requests.timer_fired("name")
        text = only(Refused, self.requests.timer_fired("name")).text
        self.assertIn("not signed with the password (508 Reason)", text)

    def test_stale_nonce(self) -> None:
        """A 438 has the request sent with the new nonce, once."""
        request = self.challenged()
        fresh = (CHALLENGE[0], (Attribute.NONCE, b"two"))
        again = sent(self.take(error(request, 438, *fresh)))
        self.assertEqual(again.get(Attribute.NONCE), b"two")
        self.assertTrue(again.is_signed_with(KEY))
        self.assertEqual(only(Refused, self.take(error(again, 438, *fresh))).code, 438)
        # The next request may be challenged again.
        third = sent(self.requests.start("next", Method.REFRESH))
        self.assertEqual(third.get(Attribute.NONCE), b"two")
        sent(self.take(error(third, 438, *CHALLENGE)))

    def test_stale_nonce_without_realm(self) -> None:
        """A 438 without a realm is of the one before."""
        again = sent(self.take(error(self.challenged(), 438, CHALLENGE[1])))
        self.assertEqual(again.get(Attribute.REALM), b"example.org")

    def test_wrong_password(self) -> None:
        """A second 401 of the same realm says that the credentials are wrong; the password is not in the text."""
        refused = only(Refused, self.take(error(self.challenged(), 401, *CHALLENGE)))
        self.assertEqual(refused.code, 401)
        self.assertIn("does not take these credentials", refused.text)
        self.assertNotIn("secret", repr(refused) + repr(CREDENTIALS))

    def test_realms_do_not_go_on(self) -> None:
        """A server that names another realm each time is not answered for ever."""
        request = self.challenged()
        other = ((Attribute.REALM, b"example.com"), CHALLENGE[1])
        self.assertEqual(only(Refused, self.take(error(request, 401, *other))).code, 401)

    def test_no_credentials(self) -> None:
        """A challenge without credentials to answer it ends the request."""
        request = sent(self.plain.start("name", Method.BINDING))
        refused = only(Refused, self.plain.message_received(received(error(request, 401, *CHALLENGE)), SERVER))
        self.assertIn("wants a user and a password", refused.text)

    def test_challenges_that_cannot_be_answered(self) -> None:
        """A challenge without a nonce or a realm, or with one that is too long or no text, ends the request."""
        realm, nonce = CHALLENGE
        for attributes in (
            (realm,),
            (nonce,),
            (realm, (Attribute.NONCE, b"")),
            (realm, (Attribute.NONCE, bytes(764))),
            ((Attribute.REALM, b"x" * 764), nonce),
            ((Attribute.REALM, b"\xff"), nonce),
        ):
            request = sent(self.requests.start("name", Method.REFRESH))
            self.assertEqual(only(Refused, self.take(error(request, 401, *attributes))).code, 401)

    def test_challenges_that_are_not_answered(self) -> None:
        """On demand a challenge ends the request."""
        request = sent(self.requests.start("name", Method.REFRESH))
        self.requests.answer_no_challenge()
        self.assertEqual(only(Refused, self.take(error(request, 401, *CHALLENGE))).code, 401)

    def test_moved(self) -> None:
        """Another server is asked without credentials at first."""
        self.take(self.success(self.challenged()), KEY)
        self.requests.move(("192.0.2.20", 3478))
        effects = self.requests.start("name", Method.ALLOCATE)
        self.assertEqual(only(Send, effects).to, ("192.0.2.20", 3478))
        self.assertIsNone(sent(effects).get(Attribute.NONCE))

    def test_peer(self) -> None:
        """A peer's address is written for the transaction id of each repetition of its own."""
        peer = ("2001:db8::5", 9)
        first = sent(self.requests.start("name", Method.CREATE_PERMISSION, peer=peer))
        second = sent(self.take(error(first, 401, *CHALLENGE)))
        for message in (first, second):
            value = message.get(Attribute.XOR_PEER_ADDRESS) or b""
            self.assertEqual(read_xor_address(value, message.transaction), peer)

    def test_bounds(self) -> None:
        """Names that are empty, too long or no text are refused; one goes out composed (RFC 8265)."""
        for user, password in (("", "x"), ("x" * 509, "x"), ("\ud800", "x")):
            self.assertRaises(ValueError, Credentials, user, password)
        error = self.assertRaises(ValueError, Credentials, "x", "secret\ud800")
        self.assertEqual(str(error), "a STUN user name or password is no text")
        self.assertEqual(Credentials("e\u0301", "x").username, "\u00e9".encode())

    def test_shown(self) -> None:
        """Addresses stand in messages as in URIs."""
        self.assertEqual(shown(("192.0.2.1", 5)), "192.0.2.1:5")
        self.assertEqual(shown(("2001:db8::1", 5)), "[2001:db8::1]:5")
