"""Digest arithmetic against the examples of the RFCs, and the client's side of it."""

from __future__ import annotations

import hashlib
from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import LocalError
from sipd.interfaces import Credentials
from sipd.sip.digest import (
    ALGORITHMS,
    MAX_COUNTED_NONCES,
    MAX_REALMS,
    Challenge,
    answer_challenges,
    available_algorithms,
    compute_ha1,
    compute_response,
    compute_session_ha1,
    find_challenges,
    hash_octets,
    parse_challenges,
    proven_credentials,
    repeat_credentials,
    set_credentials,
)
from sipd.sip.fields import AuthParameters
from sipd.sip.headers import Headers
from sipd.sip.message import Request, Response

ALICE = Credentials(username="alice", password="secret")
MD5 = 'Digest realm="one", nonce="n1", qop="auth", algorithm=MD5'
SHA256 = 'Digest realm="one", nonce="n1", qop="auth", algorithm=SHA-256'
SHA512 = 'Digest realm="one", nonce="n1", qop="auth", algorithm=SHA-512-256'


def entropy(size: int) -> bytes:
    """Give the same octets each time."""
    return b"\x01" * size


def register(*fields: tuple[str, str], body: bytes = b"") -> Request:
    """Build a REGISTER with some more header fields."""
    return Request("REGISTER", "sip:example.com", Headers([("CSeq", "1 REGISTER"), *fields]), body)


def unauthorized(*lines: str, status: int = 401, name: str = "WWW-Authenticate") -> Response:
    """Build a 401, or a 407, with a header line for each challenge."""
    return Response(status, "Unauthorized", Headers([(name, line) for line in lines]))


def md5(text: str) -> str:
    """Hash as RFC 2617 does, without the module under test."""
    return hashlib.md5(text.encode()).hexdigest()


class ArithmeticTests(SynchronousTestCase):
    """What the RFCs print must come out."""

    def test_rfc_2617(self) -> None:
        """The example of RFC 2617 section 3.5 gives its response."""
        ha1 = compute_ha1("MD5", "Mufasa", "testrealm@host.com", "Circle Of Life")
        response = compute_response(
            "MD5",
            ha1,
            "GET",
            "/dir/index.html",
            "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            qop="auth",
            nonce_count="00000001",
            cnonce="0a4f113b",
        )
        self.assertEqual(response, "6629fae49393a05397450978507c4ef1")

    def test_rfc_7616(self) -> None:
        """The examples of RFC 7616 section 3.9.1 give their responses, in MD5 and in SHA-256."""
        for algorithm, expected in (
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ):
            ha1 = compute_ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
            response = compute_response(
                algorithm,
                ha1,
                "GET",
                "/dir/index.html",
                "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                qop="auth",
                nonce_count="00000001",
                cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            )
            self.assertEqual(response, expected)

    def test_rfc_7616_sha_512_256(self) -> None:
        """The example of RFC 7616 section 3.9.2, as erratum 4897 corrects it, gives its response."""
        ha1 = compute_ha1("SHA-512-256", "J\u00e4s\u00f8n Doe", "api@example.org", "Secret, or not?")
        response = compute_response(
            "SHA-512-256",
            ha1,
            "GET",
            "/doe.json",
            "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
            qop="auth",
            nonce_count="00000001",
            cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
        )
        self.assertEqual(response, "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5")

    def test_sha_512_256_is_not_cut_sha_512(self) -> None:
        """SHA-512/256 gives the value that FIPS 180-4 has for the empty text."""
        expected = "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a"
        self.assertEqual(hash_octets("SHA-512-256", b""), expected)

    def test_without_qop(self) -> None:
        """For a server of RFC 2069 the response has nonce and A2 alone."""
        expected = md5(f"ha1:nonce:{md5('INVITE:sip:b@c')}")
        self.assertEqual(compute_response("MD5", "ha1", "INVITE", "sip:b@c", "nonce"), expected)

    def test_auth_int(self) -> None:
        """With auth-int the hash of the body is part of A2."""
        a2 = md5(f"INVITE:sip:b@c:{md5('v=0')}")
        response = compute_response(
            "MD5", "ha1", "INVITE", "sip:b@c", "n", qop="auth-int", nonce_count="1", cnonce="c", body=b"v=0"
        )
        self.assertEqual(response, md5(f"ha1:n:1:c:auth-int:{a2}"))

    def test_session(self) -> None:
        """A session's H(A1) is the hash of the plain one and both nonces."""
        self.assertEqual(compute_session_ha1("MD5", "ha1", "n", "c"), md5("ha1:n:c"))

    def test_octets_that_are_no_utf_8(self) -> None:
        """A name with a foreign octet is hashed as that octet."""
        expected = hashlib.md5(b"\xff:r:p").hexdigest()
        self.assertEqual(compute_ha1("MD5", "\udcff", "r", "p"), expected)

    def test_unknown_algorithm(self) -> None:
        """An unknown algorithm, and a near miss of a known one, is a LocalError that names the known ones."""
        for name in ("SHA256", "md5", "", "MD5-sess"):
            error = self.assertRaises(LocalError, hash_octets, name, b"")
            self.assertIn("SHA-512-256, SHA-256, MD5", str(error))

    def test_missing_algorithm(self) -> None:
        """Where OpenSSL lacks an algorithm it is not offered, and asking for it says why."""
        self.patch(hashlib, "algorithms_available", {"md5", "sha256"})
        self.patch(hashlib, "new", _refuse)
        self.assertEqual(available_algorithms(), ("SHA-256", "MD5"))
        error = self.assertRaises(LocalError, hash_octets, "SHA-512-256", b"")
        self.assertIn("OpenSSL", str(error))

    def test_missing_algorithm_is_not_answered(self) -> None:
        """A client whose OpenSSL lacks SHA-512-256 answers the next challenge."""
        self.patch(hashlib, "algorithms_available", {"md5", "sha256"})
        self.assertEqual([one.algorithm for one in find_challenges(unauthorized(SHA512, SHA256))], ["SHA-256"])


def _refuse(name: str, data: bytes, *, usedforsecurity: bool) -> None:
    raise ValueError(f"unsupported hash type {name}")


class ParsingTests(SynchronousTestCase):
    """Challenges come in several shapes."""

    def test_one_a_line(self) -> None:
        """Each header line is a challenge, in order."""
        found = parse_challenges([SHA256, MD5])
        self.assertEqual([one.parameters["algorithm"] for one in found], ["SHA-256", "MD5"])

    def test_several_in_a_line(self) -> None:
        """Challenges that share a line are told apart, commas in quotes notwithstanding."""
        found = parse_challenges([f'{SHA256}, opaque="a, b=c d", Basic realm="x", {MD5}'])
        self.assertEqual([one.scheme for one in found], ["Digest", "Basic", "Digest"])
        self.assertEqual(found[0].parameters["opaque"], "a, b=c d")

    def test_white_space_around_equals(self) -> None:
        """White space before an equals sign begins no new challenge."""
        found = parse_challenges(['Digest realm = "one" , nonce ="n"'])
        self.assertEqual([one.parameters for one in found], [{"realm": "one", "nonce": "n"}])

    def test_malformed_lines_are_passed_over(self) -> None:
        """A line with an open quote does not hide the next one."""
        self.assertEqual(len(parse_challenges(['Digest realm="open', "", "Digest a=1, a=2", MD5])), 1)

    def test_what_cannot_be_answered(self) -> None:
        """Other schemes and algorithms, missing parameters, unknown qop, and a session without qop are left out."""
        lines = (
            'Basic realm="one"',
            'Digest realm="one", nonce="n", algorithm=SHA256',
            'Digest realm="one", qop="auth"',
            'Digest nonce="n", qop="auth"',
            'Digest realm="one", nonce="n", qop="auth-conf"',
            'Digest realm="one", nonce="n", algorithm=MD5-sess',
            "Bearer abc",
        )
        self.assertEqual(find_challenges(unauthorized(*lines)), [])

    def test_defaults(self) -> None:
        """Without algorithm it is MD5, without qop none, without stale false."""
        expected = Challenge(
            header="Authorization",
            realm="r",
            nonce="n",
            algorithm="MD5",
            token=None,
            qop="",
            opaque=None,
            is_stale=False,
        )
        self.assertEqual(find_challenges(unauthorized('digest realm=r, nonce="n"')), [expected])

    def test_qop_prefers_auth(self) -> None:
        """`auth` is taken where both are offered; `auth-int` where it stands alone."""
        for offered, taken in (("auth-int,auth", "auth"), ("auth-int", "auth-int"), ("x, AUTH", "auth")):
            (challenge,) = find_challenges(unauthorized(f'Digest realm="r", nonce="n", qop="{offered}"'))
            self.assertEqual(challenge.qop, taken)

    @given(st.lists(st.text(alphabet='Digest ",=\\<>ab;\t', max_size=40), max_size=4))
    @settings(deadline=None, max_examples=200)
    def test_never_raises(self, lines: list[str]) -> None:
        """Whatever stands in the challenges, answering them raises nothing."""
        answer_challenges(unauthorized(*lines), register(), [ALICE], entropy, {})


class AnswerTests(SynchronousTestCase):
    """How a client answers."""

    def answer(
        self, response: Response, request: Request | None = None, *credentials: Credentials
    ) -> list[AuthParameters]:
        """Answer with alice's credentials unless others are given."""
        answers = answer_challenges(response, request or register(), credentials or (ALICE,), entropy, {})
        return [AuthParameters.parse(value) for _, value in answers]

    def test_answer(self) -> None:
        """A challenge of MD5 with qop and opaque gets every parameter that RFC 7616 section 3.4 asks for."""
        line = f'{MD5}, opaque="o"'
        ((name, value),) = answer_challenges(unauthorized(line), register(), [ALICE], entropy, {})
        cnonce = "01" * 16
        ha1, ha2 = md5("alice:one:secret"), md5("REGISTER:sip:example.com")
        response = md5(f"{ha1}:n1:00000001:{cnonce}:auth:{ha2}")
        self.assertEqual(name, "Authorization")
        self.assertEqual(
            value,
            f'Digest username="alice", realm="one", nonce="n1", uri="sip:example.com", response="{response}", '
            f'algorithm=MD5, opaque="o", cnonce="{cnonce}", qop=auth, nc=00000001',
        )

    def test_proxy(self) -> None:
        """A 407 is answered by Proxy-Authorization."""
        response = unauthorized(MD5, status=407, name="Proxy-Authenticate")
        answers = answer_challenges(response, register(), [ALICE], entropy, {})
        self.assertEqual([name for name, _ in answers], ["Proxy-Authorization"])

    def test_first_supported_is_taken(self) -> None:
        """Of several algorithms the first that is known is answered, once (RFC 8760 section 2.4)."""
        for lines, taken in (
            ((SHA512, SHA256, MD5), "SHA-512-256"),
            ((SHA256, SHA512), "SHA-256"),
            (('Digest realm="one", nonce="n", qop="auth", algorithm=SHA3', MD5), "MD5"),
        ):
            self.assertEqual([one.parameters["algorithm"] for one in self.answer(unauthorized(*lines))], [taken])

    def test_algorithm_tokens(self) -> None:
        """Each algorithm is answered under exactly its token, without quotes."""
        for token in ALGORITHMS:
            response = unauthorized(f'Digest realm="one", nonce="n", qop="auth", algorithm={token}')
            ((_, value),) = answer_challenges(response, register(), [ALICE], entropy, {})
            self.assertIn(f", algorithm={token},", value)

    def test_hash_instead_of_password(self) -> None:
        """With hashes alone the first algorithm that a hash is known for is answered."""
        hashed = Credentials(username="alice", ha1={"SHA-256": compute_ha1("SHA-256", "alice", "one", "secret")})
        (by_hash,) = self.answer(unauthorized(SHA512, SHA256, MD5), None, hashed)
        (by_password,) = self.answer(unauthorized(SHA256))
        self.assertEqual(by_hash, by_password)
        self.assertEqual(self.answer(unauthorized(MD5), None, hashed), [])

    def test_session(self) -> None:
        """A `-sess` challenge is answered with the session's key and its own token."""
        (answer,) = self.answer(unauthorized('Digest realm="one", nonce="n", qop="auth", algorithm=MD5-sess'))
        cnonce = "01" * 16
        ha1 = md5(f"{md5('alice:one:secret')}:n:{cnonce}")
        expected = md5(f"{ha1}:n:00000001:{cnonce}:auth:{md5('REGISTER:sip:example.com')}")
        self.assertEqual(answer.parameters["response"], expected)
        self.assertEqual(answer.parameters["algorithm"], "MD5-sess")

    def test_auth_int(self) -> None:
        """Where only auth-int is offered the body is protected, too."""
        (answer,) = self.answer(unauthorized('Digest realm="one", nonce="n", qop="auth-int"'), register(body=b"body"))
        a2 = md5(f"REGISTER:sip:example.com:{md5('body')}")
        expected = md5(f"{md5('alice:one:secret')}:n:00000001:{'01' * 16}:auth-int:{a2}")
        self.assertEqual(answer.parameters["response"], expected)

    def test_old_server(self) -> None:
        """A server of RFC 2069 gets no qop, nc, cnonce or algorithm that it did not offer."""
        (answer,) = self.answer(unauthorized('Digest realm="one", nonce="n"'))
        self.assertEqual(set(answer.parameters), {"username", "realm", "nonce", "uri", "response"})

    def test_nonce_count_grows(self) -> None:
        """Each use of a nonce counts one more, in eight hexadecimal digits; another nonce begins at one."""
        counts: dict[str, int] = {"n1": 9}
        for nonce, expected in (("n1", "0000000a"), ("n1", "0000000b"), ("n2", "00000001")):
            response = unauthorized(f'Digest realm="one", nonce="{nonce}", qop="auth"')
            ((_, value),) = answer_challenges(response, register(), [ALICE], entropy, counts)
            self.assertTrue(value.endswith(f"nc={expected}"), value)

    def test_nonce_counts_are_bounded(self) -> None:
        """A server that never repeats a nonce does not fill the memory."""
        counts: dict[str, int] = {}
        for number in range(MAX_COUNTED_NONCES + 50):
            answer_challenges(
                unauthorized(f'Digest realm="one", nonce="{number}"'), register(), [ALICE], entropy, counts
            )
        self.assertEqual(len(counts), MAX_COUNTED_NONCES)
        self.assertIn(str(MAX_COUNTED_NONCES + 49), counts)

    def test_quotes_in_names(self) -> None:
        """A quote in a user name or realm is escaped, and hashed as what it means."""
        user = Credentials(username='al"ice', password="p")
        (answer,) = self.answer(unauthorized(r'Digest realm="o\"ne", nonce="n"'), None, user)
        self.assertEqual((answer.parameters["username"], answer.parameters["realm"]), ('al"ice', 'o"ne'))
        expected = md5(f"{md5('al' + chr(34) + 'ice:o' + chr(34) + 'ne:p')}:n:{md5('REGISTER:sip:example.com')}")
        self.assertEqual(answer.parameters["response"], expected)

    def test_realm_of_credentials(self) -> None:
        """Credentials for one realm answer that one only, and before those for any."""
        own = Credentials(username="bob", password="p", realm="one")
        (answer,) = self.answer(unauthorized(MD5), None, ALICE, own)
        self.assertEqual(answer.parameters["username"], "bob")
        self.assertEqual(self.answer(unauthorized('Digest realm="two", nonce="n"'), None, own), [])

    def test_several_realms(self) -> None:
        """Each realm gets an answer, and both kinds of challenge do."""
        response = unauthorized(MD5, 'Digest realm="two", nonce="n2"')
        response.headers.add("Proxy-Authenticate", 'Digest realm="one", nonce="n3"')
        answers = answer_challenges(response, register(), [ALICE], entropy, {})
        self.assertEqual(
            [(name, AuthParameters.parse(value).parameters["realm"]) for name, value in answers],
            [("Authorization", "one"), ("Authorization", "two"), ("Proxy-Authorization", "one")],
        )

    def test_other_realm_is_renewed(self) -> None:
        """When a second server challenges, the first gets its credentials again, with the next nonce count."""
        counts: dict[str, int] = {}
        request = register()
        first = unauthorized(MD5, status=407, name="Proxy-Authenticate")
        set_credentials(request, answer_challenges(first, request, [ALICE], entropy, counts))
        second = unauthorized('Digest realm="two", nonce="n2", qop="auth"')
        set_credentials(request, answer_challenges(second, request, [ALICE], entropy, counts))
        (proxy,) = parse_challenges(request.headers.get_all("Proxy-Authorization"))
        (user,) = parse_challenges(request.headers.get_all("Authorization"))
        self.assertEqual((proxy.parameters["realm"], proxy.parameters["nc"]), ("one", "00000002"))
        self.assertEqual((user.parameters["realm"], user.parameters["nc"]), ("two", "00000001"))

    def test_no_credentials(self) -> None:
        """Without credentials, or without a challenge, there is nothing to send again."""
        self.assertEqual(answer_challenges(unauthorized(MD5), register(), [], entropy, {}), ())
        self.assertEqual(self.answer(unauthorized()), [])


class RejectionTests(SynchronousTestCase):
    """Trying again must come to an end."""

    def setUp(self) -> None:
        """Answer a first challenge."""
        self.counts: dict[str, int] = {}
        self.request = register()
        self.assertTrue(self.try_again(MD5))

    def try_again(self, *lines: str) -> bool:
        """Answer these challenges in the request; say whether there was an answer."""
        answers = answer_challenges(unauthorized(*lines), self.request, [ALICE], entropy, self.counts)
        if answers:
            set_credentials(self.request, answers)
        return bool(answers)

    def test_rejected(self) -> None:
        """A second challenge of the same realm means that the password is wrong, whatever its nonce."""
        self.assertFalse(self.try_again(MD5))
        self.assertFalse(self.try_again(MD5.replace("n1", "n2")))

    def test_stale(self) -> None:
        """A nonce that had served and is now stale is replaced by the new one."""
        self.use_again()
        self.assertTrue(self.try_again(MD5.replace("n1", "n9") + ", stale=TRUE"))
        (answer,) = parse_challenges(self.request.headers.get_all("Authorization"))
        self.assertEqual((answer.parameters["nonce"], answer.parameters["nc"]), ("n9", "00000001"))

    def test_stale_with_a_known_nonce(self) -> None:
        """A server that calls a nonce stale and gives one that has served, too, is not believed."""
        self.use_again()
        self.assertFalse(self.try_again(MD5 + ", stale=true"))

    def test_stale_on_first_use(self) -> None:
        """A nonce cannot be stale when it is used for the first time."""
        self.assertFalse(self.try_again(MD5.replace("n1", "n2") + ", stale=true"))

    def test_always_stale(self) -> None:
        """A server that calls every nonce stale is given up after one more try."""
        self.use_again()
        self.assertTrue(self.try_again(MD5.replace("n1", "n2") + ", stale=true"))
        self.assertFalse(self.try_again(MD5.replace("n1", "n3") + ", stale=true"))

    def test_always_another_realm(self) -> None:
        """A server that asks for one realm after another is given up at the bound."""
        tries = 0
        while self.try_again(MD5.replace("one", f"realm {tries}")):
            tries += 1
        self.assertEqual(tries, MAX_REALMS - 1)

    def test_rejected_among_others(self) -> None:
        """Where one realm rejects, another that asks for the first time is not answered either: it would not help."""
        self.assertFalse(self.try_again('Digest realm="two", nonce="n2"', MD5))

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), min_size=1, max_size=3))
    @settings(deadline=None, max_examples=300)
    def test_ends(self, script: list[tuple[int, int, bool]]) -> None:
        """Whatever a server repeats, with whatever nonces were used before, a request is not tried for ever."""
        counts = {f"n{number}": 5 for number in range(3)}
        request = register()
        for (realm, nonce, stale), _ in zip(cycle(script), range(100), strict=False):
            text = f'Digest realm="{realm}", nonce="n{nonce}", qop="auth", stale={stale}'
            answers = answer_challenges(unauthorized(text), request, [ALICE], entropy, counts)
            if not answers:
                return
            set_credentials(request, answers)
        self.fail("still trying")

    def test_sent_ahead(self) -> None:
        """Credentials that went ahead of a challenge are replaced, also where nobody says that their nonce is stale."""
        self.use_again()
        self.assertTrue(self.try_again(MD5.replace("n1", "n9")))
        self.assertFalse(self.try_again(MD5.replace("n1", "n10")))

    def use_again(self) -> None:
        """Send another request with the same nonce, as one that is not challenged first does."""
        self.request = register()
        self.assertTrue(self.try_again(MD5))


class LaterTests(SynchronousTestCase):
    """What a later request to the same peer carries (RFC 3261 section 22.3)."""

    def setUp(self) -> None:
        """Answer a challenge."""
        self.counts: dict[str, int] = {}
        self.request = register()
        set_credentials(self.request, answer_challenges(unauthorized(MD5), self.request, [ALICE], entropy, self.counts))

    def test_repeated(self) -> None:
        """Credentials that were right are repeated, with the next count and for the request that they are in."""
        proven = proven_credentials(self.request, Response(486, "Busy Here", Headers()))
        later = Request("BYE", "sip:elsewhere@example.com", Headers())
        ((name, value),) = repeat_credentials(proven, later, [ALICE], entropy, self.counts)
        again = AuthParameters.parse(value).parameters
        self.assertEqual((name, again["nc"], again["uri"]), ("Authorization", "00000002", later.uri_text))

    def test_not_proven(self) -> None:
        """A challenge proves nothing, and neither does a request without credentials."""
        for status in (401, 407):
            self.assertEqual(proven_credentials(self.request, Response(status, "Unauthorized", Headers())), ())
        self.assertEqual(proven_credentials(register(), Response(200, "OK", Headers())), ())

    def test_not_ours(self) -> None:
        """What nobody has a password for, or what is no digest, is not repeated."""
        other = Credentials(username="x", password="y", realm="another")
        proven = proven_credentials(self.request, Response(200, "OK", Headers()))
        self.assertEqual(repeat_credentials(proven, register(), [other], entropy, {}), ())
        self.assertEqual(repeat_credentials([("Authorization", "Bearer x")], register(), [ALICE], entropy, {}), ())
