"""The rules of section 10.3 on values."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import LocalError, ParseError, RequestRefusedError
from sipd.interfaces import Binding
from sipd.registrar.bindings import (
    Outcome,
    RegistrarSettings,
    apply_registration,
    print_contact,
    read_registration,
)
from sipd.sip.message import Request
from tests.registrar.fakes import POINT, SOURCE, request

AOR = "sip:alice@example.com"
SETTINGS = RegistrarSettings(min_expires=60, max_expires=600, default_expires=300, max_contacts=3)
A = "<sip:alice@10.0.0.1>"
B = "<sip:alice@10.0.0.2>"


def apply(bindings: Sequence[Binding], message: Request, now: float = 0.0) -> Outcome:
    """Read a request and apply it."""
    registration = read_registration(message, aor=AOR, settings=SETTINGS, source=SOURCE, point=POINT.name)
    return apply_registration(bindings, registration, now=now, max_contacts=SETTINGS.max_contacts)


def contacts(bindings: Sequence[Binding]) -> list[str]:
    """Give the URIs alone."""
    return [str(binding.uri) for binding in bindings]


class SettingsTests(SynchronousTestCase):
    """Bounds that make no sense are refused at the start."""

    def test_contradictions(self) -> None:
        """Minimum, default and maximum must be in order, and the minimum within what the RFC lets refuse."""
        for values in (
            {"min_expires": 0},
            {"min_expires": 400, "default_expires": 300},
            {"default_expires": 9000},
            {"min_expires": 3601, "default_expires": 5000},
            {"max_contacts": 0},
        ):
            self.assertRaises(LocalError, RegistrarSettings, **values)

    def test_defaults(self) -> None:
        """The defaults are valid."""
        self.assertEqual(RegistrarSettings().max_contacts, 10)


class ReadingTests(SynchronousTestCase):
    """What a REGISTER says."""

    def expiry(self, contact: str, *headers: tuple[str, str]) -> float:
        """Give the seconds that one contact is bound for."""
        (binding,) = apply((), request(contact, headers=headers)).bindings
        return binding.expires_at

    def test_whose_expiry(self) -> None:
        """The Contact's own expiry goes before the header field's, and that before the default."""
        self.assertEqual(self.expiry(f"{A};expires=100", ("Expires", "200")), 100)
        self.assertEqual(self.expiry(A, ("Expires", "200")), 200)
        self.assertEqual(self.expiry(A), 300)

    def test_upper_bound(self) -> None:
        """A longer expiry is shortened, however large the number is."""
        for text in ("601", "4294967295"):
            self.assertEqual(self.expiry(f"{A};expires={text}"), 600)

    def test_malformed_expiry(self) -> None:
        """What is no number, or none that fits, counts as 3600 (section 10.2.1.1), within the bounds."""
        for text in ("soon", "-1", "99999999999999999999999"):
            self.assertEqual(self.expiry(f"{A};expires={text}"), 600)
            self.assertEqual(self.expiry(A, ("Expires", text)), 600)

    def test_too_brief(self) -> None:
        """An expiry below the minimum is refused with 423 and the minimum; all other contacts fall with it."""
        for contact, headers in ((f"{A};expires=59", ()), (A, [("Expires", "1")])):
            message = request(B, contact, headers=headers)
            error = self.assertRaises(RequestRefusedError, apply, (), message)
            self.assertEqual((error.status, error.headers), (423, (("Min-Expires", "60"),)))

    def test_exactly_the_minimum(self) -> None:
        """The minimum itself is accepted."""
        self.assertEqual(self.expiry(f"{A};expires=60"), 60)

    def test_what_a_binding_keeps(self) -> None:
        """A binding has everything that routing needs: contact parameters, q, Path, source, listening point."""
        message = request(
            f'"Alice" {A};q=0.5;expires=90;+sip.instance="<urn:uuid:1>"',
            call_id="x",
            cseq=7,
            headers=[("Path", "<sip:p1;lr>, <sip:p2;lr>"), ("Path", "<sip:p3;lr>"), ("User-Agent", "phone/1")],
        )
        (bound,) = apply((), message, now=10.0).bindings
        expected = Binding(
            aor=AOR,
            contact=f'Alice {A};q=0.5;+sip.instance="<urn:uuid:1>"',
            uri=bound.uri,
            q=0.5,
            expires_at=100.0,
            call_id="x",
            cseq=7,
            path=("<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>"),
            source=SOURCE,
            point="udp",
            user_agent="phone/1",
        )
        self.assertEqual(bound, expected)
        self.assertEqual(print_contact(bound, 40.0), f"{expected.contact};expires=60")

    def test_addr_spec(self) -> None:
        """A Contact without brackets gets them, so that its parameters stay its own."""
        (bound,) = apply((), request("sip:alice@10.0.0.1;expires=90;q=0.1")).bindings
        self.assertEqual(print_contact(bound, 0.0), f"{A};q=0.1;expires=90")

    def test_printed_expiry_is_never_zero(self) -> None:
        """A binding that is about to expire is printed with a second left, since 0 would mean that it is gone."""
        (bound,) = apply((), request(A)).bindings
        self.assertEqual(print_contact(bound, 299.9), f"{A};expires=1")

    def test_malformed(self) -> None:
        """A Contact or q that breaks the grammar is a ParseError."""
        for contact in (f"{A};q=2", "<sip:>", "*;expires=0"):
            self.assertRaises(ParseError, apply, (), request(contact))

    def test_star(self) -> None:
        """`*` is refused with other contacts, with contacts in the same line, and without Expires 0."""
        zero = [("Expires", "0")]
        for message in (
            request("*"),
            request("*", headers=[("Expires", "60")]),
            request("*", headers=[("Expires", "x")]),
            request("*", A, headers=zero),
            request(A, "*", headers=zero),
            request(f"*, {A}", headers=zero),
            request("*", "*", headers=zero),
        ):
            error = self.assertRaises(RequestRefusedError, apply, (), message)
            self.assertEqual(error.status, 400)


class ApplyingTests(SynchronousTestCase):
    """What a REGISTER does."""

    def setUp(self) -> None:
        """Bind two contacts by one client."""
        self.bindings = apply((), request(A, B, cseq=5)).bindings

    def test_new(self) -> None:
        """Several contacts of one request are bound together."""
        self.assertEqual(contacts(self.bindings), ["sip:alice@10.0.0.1", "sip:alice@10.0.0.2"])

    def test_refresh(self) -> None:
        """A contact that is bound already is replaced where it stands."""
        outcome = apply(self.bindings, request(A, cseq=6), now=100.0)
        self.assertEqual([one.expires_at for one in outcome.bindings], [400.0, 300.0])
        self.assertEqual((outcome.made, contacts(outcome.refreshed)), ((), ["sip:alice@10.0.0.1"]))

    def test_equal_uris(self) -> None:
        """Contacts are compared by section 19.1.4, not by letters; the new spelling is kept."""
        outcome = apply(self.bindings, request("<SIP:%61lice@10.0.0.1;x=1>", cseq=6))
        self.assertEqual(contacts(outcome.bindings), ["SIP:%61lice@10.0.0.1;x=1", "sip:alice@10.0.0.2"])
        different = apply(self.bindings, request("<sip:Alice@10.0.0.1>", cseq=6))
        self.assertEqual(len(different.bindings), 3)

    def test_another_port_is_another_contact(self) -> None:
        """The default port written out makes another URI."""
        self.assertEqual(len(apply(self.bindings, request("<sip:alice@10.0.0.1:5060>", cseq=6)).bindings), 3)

    def test_twice_in_one_request(self) -> None:
        """Of two equal contacts in a request the last counts, and nothing is refused."""
        outcome = apply((), request(f"{A};q=0.1", f"{A};q=0.2"))
        self.assertEqual([one.q for one in outcome.bindings], [0.2])
        self.assertEqual(len(outcome.made), 1)

    def test_remove(self) -> None:
        """An expiry of zero removes a contact; one that is not bound does not matter."""
        outcome = apply(self.bindings, request(f"{A};expires=0", "<sip:x@y>;expires=0", cseq=6))
        self.assertEqual(contacts(outcome.bindings), ["sip:alice@10.0.0.2"])
        self.assertEqual(contacts(outcome.removed), ["sip:alice@10.0.0.1"])

    def test_move(self) -> None:
        """One request can remove a contact and bind another."""
        outcome = apply(self.bindings, request(f"{A};expires=0", "<sip:alice@10.0.0.3>", cseq=6))
        self.assertEqual(contacts(outcome.bindings), ["sip:alice@10.0.0.2", "sip:alice@10.0.0.3"])

    def test_remove_all(self) -> None:
        """`*` with Expires 0 removes every contact, also those of another client."""
        both = apply(self.bindings, request("<sip:alice@10.0.0.3>", call_id="c2")).bindings
        outcome = apply(both, request("*", call_id="c3", headers=[("Expires", "0")]))
        self.assertEqual((outcome.bindings, len(outcome.removed)), ((), 3))

    def test_overtaken(self) -> None:
        """A CSeq that is not higher than that of the same Call-ID fails, for a refresh, a removal and for `*`."""
        for message in (
            request(A, cseq=5),
            request(A, cseq=4),
            request(f"{A};expires=0", cseq=5),
            request("*", cseq=5, headers=[("Expires", "0")]),
        ):
            error = self.assertRaises(RequestRefusedError, apply, self.bindings, message)
            self.assertEqual(error.status, 500)

    def test_another_call_id_has_no_order(self) -> None:
        """A client that was restarted has a new Call-ID and begins to count anew."""
        outcome = apply(self.bindings, request(A, call_id="c2", cseq=1))
        self.assertEqual([one.call_id for one in outcome.bindings], ["c2", "c1"])

    def test_order_of_what_is_not_touched(self) -> None:
        """Only the bindings that a request names count: an old CSeq may bind a new contact."""
        self.assertEqual(len(apply(self.bindings, request("<sip:alice@10.0.0.3>", cseq=1)).bindings), 3)

    def test_expired_bindings_do_not_count(self) -> None:
        """A binding that has expired neither refuses an old CSeq nor fills the list."""
        outcome = apply(self.bindings, request(A, cseq=1), now=300.0)
        self.assertEqual((contacts(outcome.bindings), len(outcome.made)), (["sip:alice@10.0.0.1"], 1))

    def test_too_many(self) -> None:
        """The contact that is one too many is refused with 403; a refresh at the bound is not."""
        full = apply(self.bindings, request("<sip:alice@10.0.0.3>", cseq=6)).bindings
        error = self.assertRaises(RequestRefusedError, apply, full, request("<sip:alice@10.0.0.4>", cseq=7))
        self.assertEqual(error.status, 403)
        self.assertEqual(len(apply(full, request(A, cseq=7)).bindings), 3)
        swap = request("<sip:alice@10.0.0.4>", f"{A};expires=0", cseq=7)
        self.assertEqual(len(apply(full, swap).bindings), 3)

    def test_far_too_many(self) -> None:
        """More contacts than could all be replaced are refused before they are compared, which costs their square."""
        many = [f"<sip:alice@10.0.1.{number}>;expires=0" for number in range(7)]
        error = self.assertRaises(RequestRefusedError, apply, self.bindings, request(*many, cseq=6))
        self.assertEqual(error.status, 403)
        self.assertEqual(len(apply(self.bindings, request(*many[:6], cseq=6)).bindings), 2)

    def test_bound_that_was_lowered(self) -> None:
        """Who already has more contacts than a new configuration allows can still refresh them."""
        registration = read_registration(request(A, cseq=6), aor=AOR, settings=SETTINGS)
        outcome = apply_registration(self.bindings, registration, now=0.0, max_contacts=1)
        self.assertEqual(len(outcome.bindings), 2)

    def test_sorted_by_preference(self) -> None:
        """The highest q comes first, and of equal ones the older."""
        message = request("<sip:a@h>;q=0.2", "<sip:b@h>", "<sip:c@h>;q=1.0")
        self.assertEqual(contacts(apply((), message).bindings), ["sip:b@h", "sip:c@h", "sip:a@h"])


CONTACTS = ("sip:alice@h1", "sip:alice@h2", "sip:alice@h3", "sip:alice@h4")


class Model:
    """The same rules, written as slowly and plainly as possible: a dictionary of contacts."""

    def __init__(self) -> None:
        self.bound: dict[str, tuple[float, str, int]] = {}

    def register(self, wanted: list[tuple[int, int]], call_id: str, cseq: int, now: float) -> bool:
        """Apply (contact, expires) pairs; say whether it was done."""
        self.bound = {uri: value for uri, value in self.bound.items() if value[0] > now}
        after = dict(self.bound)
        for number, expires in wanted:
            uri = CONTACTS[number]
            if uri in self.bound and self.bound[uri][1] == call_id and self.bound[uri][2] >= cseq:
                return False
            after.pop(uri, None) if expires == 0 else after.update({uri: (now + expires, call_id, cseq)})
        if len(after) > max(SETTINGS.max_contacts, len(self.bound)):
            return False
        self.bound = after
        return True


class ModelTests(SynchronousTestCase):
    """Any history ends where the model ends."""

    @given(
        st.lists(
            st.tuples(
                st.lists(st.tuples(st.integers(0, 3), st.sampled_from((0, 60, 120, 600))), min_size=1, max_size=3),
                st.sampled_from(("c1", "c2")),
                st.integers(1, 6),
                st.integers(0, 100),
            ),
            max_size=12,
        )
    )
    @settings(deadline=None, max_examples=200)
    def test_histories(self, history: list[tuple[list[tuple[int, int]], str, int, int]]) -> None:
        """Registering, refreshing and removing in any order leaves what the model has; a refusal changes nothing."""
        model, now = Model(), 0.0
        bindings: tuple[Binding, ...] = ()
        for wanted, call_id, cseq, wait in history:
            now += wait
            message = request(
                *(f"<{CONTACTS[number]}>;expires={expires}" for number, expires in wanted), call_id=call_id, cseq=cseq
            )
            done = model.register(wanted, call_id, cseq, now)
            try:
                bindings = apply(bindings, message, now).bindings
                self.assertTrue(done)
            except RequestRefusedError:
                self.assertFalse(done)
            alive = {str(one.uri): (one.expires_at, one.call_id, one.cseq) for one in bindings if one.expires_at > now}
            self.assertEqual(alive, model.bound)
