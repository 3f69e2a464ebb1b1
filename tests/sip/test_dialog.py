"""Dialogs: what makes them, and every request in them (RFC 3261 section 12)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError, RequestRefusedError
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.message import Request, Response
from sipd.testing import builders

PROXIES = (("Record-Route", "<sip:p2.example.com;lr>"), ("Record-Route", "<sip:p1.example.com;lr>"))


def _caller(*, status: int = 200, headers: builders.Fields = (), contact: str | None = "<sip:bob@192.0.2.2>") -> Dialog:
    invite = builders.invite(via=None, cseq=7)
    return Dialog.of_caller(invite, builders.response(invite, status, contact=contact, headers=headers))


def _callee(*, headers: builders.Fields = ()) -> Dialog:
    return Dialog.of_callee(builders.invite(cseq=7, headers=headers), "our-tag", "<sip:bob@192.0.2.9>")


class CallerTests(SynchronousTestCase):
    """The dialog of a UAC."""

    def test_takes_its_state_from_request_and_response(self) -> None:
        """Tags, numbers, target and state are those of section 12.1.2."""
        dialog = _caller()
        self.assertEqual(dialog.key, ("call-1@example.com", "from-tag", "to-tag"))
        self.assertEqual((dialog.local_sequence, dialog.remote_sequence), (7, None))
        self.assertEqual(str(dialog.remote_target), "sip:bob@192.0.2.2")
        self.assertEqual(dialog.contact, "<sip:alice@192.0.2.1:5060>")
        self.assertIs(dialog.state, DialogState.CONFIRMED)
        self.assertFalse(dialog.is_secure)

    def test_provisional_response_makes_an_early_dialog(self) -> None:
        """A 1xx with a tag is early; the 2xx confirms it."""
        self.assertIs(_caller(status=183).state, DialogState.EARLY)

    def test_route_set_is_the_record_route_reversed(self) -> None:
        """The proxy next to the caller comes first."""
        dialog = _caller(headers=PROXIES)
        self.assertEqual(
            [str(route) for route in dialog.route_set], ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]
        )
        self.assertEqual(str(dialog.next_hop), "sip:p1.example.com;lr")

    def test_confirming_computes_the_route_set_again(self) -> None:
        """The Record-Route of the 2xx replaces that of the 1xx (section 13.2.2.4)."""
        invite = builders.invite(via=None)
        dialog = Dialog.of_caller(invite, builders.response(invite, 180, headers=PROXIES))
        routes = (*PROXIES, ("Record-Route", "<sip:p0.example.com;lr>"))
        dialog.confirm(builders.response(invite, 200, contact="<sip:new@192.0.2.3>", headers=routes))
        self.assertEqual(
            [str(route) for route in dialog.route_set],
            ["<sip:p0.example.com;lr>", "<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"],
        )
        self.assertEqual(str(dialog.remote_target), "sip:new@192.0.2.3")
        self.assertIs(dialog.state, DialogState.CONFIRMED)

    def test_later_2xx_leaves_the_route_set(self) -> None:
        """A 2xx to a re-INVITE refreshes the target and nothing else (lesson 4)."""
        dialog = _caller(headers=PROXIES)
        before = dialog.route_set
        dialog.refresh_target(builders.response(builders.invite(), 200, contact="<sip:new@192.0.2.3>"))
        self.assertEqual(dialog.route_set, before)
        self.assertEqual(str(dialog.remote_target), "sip:new@192.0.2.3")

    def test_missing_contact_leaves_the_request_uri_as_target(self) -> None:
        """A 2xx without Contact is acknowledged where the INVITE went."""
        self.assertEqual(str(_caller(contact=None).remote_target), builders.BOB)

    def test_malformed_contact_makes_no_dialog(self) -> None:
        """A Contact that does not parse raises ParseError."""
        self.assertRaises(ParseError, _caller, contact="<sip:bob@[::>")

    def test_ack_has_the_number_and_credentials_of_the_invite(self) -> None:
        """The ACK of a 2xx carries the INVITE's CSeq number, its credentials, and the route set (section 13.2.2.4)."""
        invite = builders.invite(
            via=None,
            cseq=9,
            headers=[("Proxy-Authorization", 'Digest username="alice"'), ("Authorization", 'Digest username="al"')],
        )
        dialog = Dialog.of_caller(invite, builders.response(invite, 200, headers=PROXIES))
        dialog.request("BYE")
        ack = dialog.ack(invite)
        self.assertEqual(str(ack.cseq), "9 ACK")
        self.assertEqual(ack.headers.get("Proxy-Authorization"), 'Digest username="alice"')
        self.assertEqual(ack.headers.get("Authorization"), 'Digest username="al"')
        self.assertEqual(ack.headers.get_all("Route"), ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"])
        self.assertEqual(dialog.local_sequence, 10)


class CalleeTests(SynchronousTestCase):
    """The dialog of a UAS."""

    def test_takes_its_state_from_the_request(self) -> None:
        """Local is To with our tag, remote is From, the route set is in order (section 12.1.1)."""
        dialog = _callee(headers=PROXIES)
        self.assertEqual(dialog.key, ("call-1@example.com", "our-tag", "from-tag"))
        self.assertEqual((dialog.local_sequence, dialog.remote_sequence), (0, 7))
        self.assertEqual(
            [str(route) for route in dialog.route_set], ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"]
        )
        self.assertIs(dialog.state, DialogState.EARLY)

    def test_needs_a_contact(self) -> None:
        """An INVITE without Contact makes no dialog."""
        self.assertRaises(ParseError, Dialog.of_callee, builders.invite(contact=None), "t", "<sip:x@y>")

    def test_peer_of_rfc_2543_has_no_tag(self) -> None:
        """A From without a tag gives an empty remote tag, not an error (section 12.1.1)."""
        invite = builders.invite()
        invite.headers.set("From", "<sip:old@example.com>")
        self.assertEqual(Dialog.of_callee(invite, "t", "<sip:x@y>").key, ("call-1@example.com", "t", ""))

    def test_numbers_must_grow(self) -> None:
        """A request whose CSeq is not larger than the last is refused with 500; a gap is fine (section 12.2.2)."""
        dialog = _callee()
        dialog.check_sequence(builders.request("INFO", cseq=12))
        for number in (12, 11, 1):
            error = self.assertRaises(RequestRefusedError, dialog.check_sequence, builders.request("BYE", cseq=number))
            self.assertEqual(error.status, 500)
        self.assertEqual(dialog.remote_sequence, 12)


class BuilderTests(SynchronousTestCase):
    """The one builder of requests in a dialog (lesson 3)."""

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.sampled_from(["BYE", "INVITE", "UPDATE", "INFO", "REFER", "NOTIFY", "OPTIONS", "PRACK"]), max_size=8
        ),
        st.booleans(),
        st.booleans(),
    )
    def test_every_request_is_of_the_live_dialog(self, methods: list[str], routed: bool, refreshed: bool) -> None:
        """Whatever is sent carries route set, addresses and target of now, and the next number."""
        dialog = _caller(headers=PROXIES if routed else ())
        if refreshed:
            dialog.refresh_target(builders.response(builders.invite(), 200, contact="<sip:bob@192.0.2.77>"))
        for step, method in enumerate(methods, start=1):
            request = dialog.request(method)
            self.assertEqual(request.headers.get_all("Route"), [str(route) for route in dialog.route_set])
            self.assertEqual(request.uri_text, str(dialog.remote_target))
            self.assertEqual((request.from_, request.to), (dialog.local, dialog.remote))
            self.assertEqual(str(request.cseq), f"{7 + step} {method}")
            self.assertEqual(request.call_id, dialog.call_id)
            self.assertEqual(request.max_forwards, 70)
            self.assertNotIn("Via", request.headers)

    def test_target_refresh_requests_carry_the_contact(self) -> None:
        """INVITE and UPDATE have it, and OPTIONS may; BYE and INFO have not (section 12.2.1.1)."""
        dialog = _caller()
        for method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "OPTIONS"):
            self.assertEqual(dialog.request(method).headers.get("Contact"), dialog.contact)
        for method in ("BYE", "INFO"):
            self.assertNotIn("Contact", dialog.request(method).headers)

    def test_standing_fields_are_in_each_request_that_says_nothing_else(self) -> None:
        """What stands for the dialog is put in once, and not beside what a request says itself (RFC 7989 section 6)."""
        dialog = _caller()
        self.assertNotIn("Session-ID", dialog.request("INFO").headers)
        dialog.standing = (("Session-ID", "1"),)
        for request, expected in (
            (dialog.request("BYE"), ["1"]),
            (dialog.request("INFO", [("session-id", "2")]), ["2"]),
            (dialog.ack(builders.invite()), ["1"]),
        ):
            self.assertEqual(request.headers.get_all("Session-ID"), expected)

    def test_strict_router_becomes_the_request_uri(self) -> None:
        """A first route without `lr` is the request URI, and the target ends the Route (section 12.2.1.1)."""
        dialog = _caller(
            headers=[("Record-Route", "<sip:p2.example.com;lr>"), ("Record-Route", "<sip:strict.example.com>")]
        )
        request = dialog.request("BYE")
        self.assertEqual(request.uri_text, "sip:strict.example.com")
        self.assertEqual(request.headers.get_all("Route"), ["<sip:p2.example.com;lr>", "<sip:bob@192.0.2.2>"])

    def test_headers_of_the_target_uri_are_not_sent_in_the_request_line(self) -> None:
        """A Contact with `?` loses it in a request URI (section 19.1.1, table 1)."""
        request = _caller(contact="<sip:bob@192.0.2.2?Subject=x>").request("BYE")
        self.assertEqual(request.uri_text, "sip:bob@192.0.2.2")

    def test_secure_dialogs(self) -> None:
        """A dialog made by a `sips` request is secure at both ends (sections 12.1.1 and 12.1.2)."""
        for uri, secure in (("sips:bob@example.com", True), ("sip:bob@example.com", False), ("tel:+1", False)):
            invite = builders.invite(uri)
            self.assertIs(Dialog.of_caller(invite, builders.response(invite, 200)).is_secure, secure)
            self.assertIs(Dialog.of_callee(invite, "t", "<sip:bob@192.0.2.9>").is_secure, secure)

    def test_is_one_object(self) -> None:
        """A dialog compares by identity: no copy can be taken for it (lesson 5)."""
        self.assertNotEqual(_caller(), _caller())

    def test_messages_print(self) -> None:
        """What the builder makes is a message that parses again."""
        dialog = _caller(headers=PROXIES)
        message: Request | Response = dialog.request("INVITE", [("Content-Type", "application/sdp")], b"v=0\r\n")
        self.assertIn(b"Content-Length: 5\r\n", message.to_bytes())
