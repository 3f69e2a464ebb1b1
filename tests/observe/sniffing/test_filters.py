"""Which messages are shown."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.sniffing.filters import Filter, parse_methods, parse_network, parse_statuses
from sipd.observe.sniffing.sightings import MediaSeen, Sighting, Unreadable
from tests.observe.sniffing.wires import ALICE, BOB, register, registered, request, response, rtp, seen

_MESSAGES = {
    "invite": seen(request()),
    "401": seen(response(401, fields="WWW-Authenticate: Digest realm=x\r\n")),
    "200": seen(response(200)),
    "bye": seen(request("BYE", "a2", cseq=2)),
    "bye 200": seen(response(200, "BYE", "a2", cseq=2)),
    "register": seen(register("carol")),
    "register 403": seen(registered("carol", status=403)),
    "malformed": seen(b"INVITE sip:bob SIP/2.0\r\nno header\r\n\r\n"),
}


def shown(chosen: Filter) -> list[str]:
    """Give the names of the messages that pass."""
    return [name for name, sighting in _MESSAGES.items() if chosen.shows(sighting)]


class FilterTests(SynchronousTestCase):
    """Each condition by itself, and together."""

    def test_conditions(self) -> None:
        """Each condition lets pass what it says; nothing asked, everything passes."""
        for chosen, expected in (
            (Filter(), list(_MESSAGES)),
            (Filter(methods=frozenset({"INVITE"})), ["invite", "401", "200"]),
            (Filter(methods=frozenset({"REGISTER", "BYE"})), ["bye", "bye 200", "register", "register 403"]),
            (Filter(statuses=((400, 499),)), ["401", "register 403"]),
            (Filter(statuses=((401, 401), (200, 200))), ["401", "200", "bye 200"]),
            (Filter(users=("carol",)), ["register", "register 403"]),
            (Filter(users=("al*", "nobody")), ["invite", "401", "200", "bye", "bye 200"]),
            (Filter(users=("bob",)), ["invite", "401", "200", "bye", "bye 200"]),
            (Filter(call_id="a2"), ["bye", "bye 200"]),
            (Filter(call_id="a"), ["invite", "401", "200", "bye", "bye 200"]),
            (Filter(text="digest REALM"), ["401"]),
            (Filter(text="no header"), ["malformed"]),
            (Filter(methods=frozenset({"REGISTER"}), statuses=((400, 499),)), ["register 403"]),
        ):
            self.assertEqual(shown(chosen), expected, chosen)

    def test_networks(self) -> None:
        """Addresses are those of the packet, on either side, also for RTP and what cannot be read."""
        for text, expected in (("192.0.2.1", True), ("192.0.2.9", True), ("192.0.2.0/28", True), ("192.0.2.2", False)):
            chosen = Filter(networks=(parse_network("2001:db8::/32"), parse_network(text)))
            media = MediaSeen(at=0.0, source=ALICE, destination=BOB, data=rtp(1))
            tls = Unreadable(at=0.0, source=ALICE, destination=BOB, reason="TLS")
            for one in (_MESSAGES["invite"], media, tls):
                self.assertEqual(chosen.shows(one), expected)

    def test_media(self) -> None:
        """What is asked of messages is not asked of RTP."""
        chosen = Filter(methods=frozenset({"BYE"}), users=("nobody",))
        self.assertTrue(chosen.shows(MediaSeen(at=0.0, source=ALICE, destination=BOB, data=rtp(1))))

    def test_text_is_of_what_is_shown(self) -> None:
        """A secret that is covered cannot be searched for."""
        sighting: Sighting = seen(request(fields='Authorization: Digest username="a", response="0123abcd"\r\n'))
        self.assertFalse(Filter(text="0123abcd").shows(sighting))
        self.assertTrue(Filter(text='response="xxxxxxxx"').shows(sighting))


class ParseTests(SynchronousTestCase):
    """How conditions are written."""

    def test_read(self) -> None:
        """Lists have commas; case does not count."""
        self.assertEqual(parse_methods("invite, BYE"), {"INVITE", "BYE"})
        self.assertEqual(parse_statuses("4xx, 200,500-503"), ((400, 499), (200, 200), (500, 503)))

    def test_faults(self) -> None:
        """What cannot be one is refused."""
        for text in ("", "IN VITE", "INVITE,"):
            self.assertRaises(ValueError, parse_methods, text)
        for text in ("", "99", "7xx", "4x", "500-400", "200-", "200,"):
            self.assertRaises(ValueError, parse_statuses, text)
        for text in ("", "nobody", "192.0.2.1/33"):
            self.assertRaises(ValueError, parse_network, text)
