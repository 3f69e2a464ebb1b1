"""What crosses from one leg to the other, and what the other leg must never see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.b2bua.headers import IDENTITY, STAYS, body_fields, crossing
from sipd.sip.headers import Headers


class CrossingTests(SynchronousTestCase):
    """The one table."""

    def test_unknown_fields_cross_octet_for_octet_in_order(self) -> None:
        """Spelling, white space and folding of what nobody knows stay as they are."""
        lines = ["X-UCM-AudioRecord :  yes", "Subject: a\r\n folded one", "x-ucm-callpark: 7"]
        headers = Headers.from_lines("\r\n".join(["Via: SIP/2.0/UDP h", *lines, "Call-ID: 1"]).split("\r\n"))
        self.assertEqual(crossing(headers).lines(), lines)

    def test_nothing_of_the_dialog_or_the_hop_crosses(self) -> None:
        """Topology and capabilities of a leg are its own, in every spelling."""
        names = [
            "v",
            "F",
            "t",
            "i",
            "CSEQ",
            "m",
            "Record-route",
            "ROUTE",
            "k",
            "Allow",
            "User-Agent",
            "Server",
            "Warning",
        ]
        self.assertEqual(len(crossing(Headers([(name, "x") for name in names]))), 0)

    def test_what_stays(self) -> None:
        """The whole table, by subject: nothing else stays, and nothing of this crosses."""
        hop = {"via", "route", "record-route", "path", "service-route", "max-forwards", "max-breadth", "timestamp"}
        dialog = {"from", "to", "call-id", "cseq", "contact", "replaces", "join", "target-dialog", "in-reply-to"}
        body = {
            "content-length", "content-type", "content-disposition", "content-encoding", "content-language",
            "mime-version",
        }  # fmt: skip
        capabilities = {
            "allow", "allow-events", "supported", "require", "proxy-require", "unsupported", "accept",
            "accept-encoding", "user-agent", "server",
        }  # fmt: skip
        extensions = {"rseq", "rack", "session-expires", "min-se", "expires", "retry-after", "warning"}
        secrets = {
            "authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info",
            "proxy-authentication-info", "security-client", "security-server", "security-verify",
        }  # fmt: skip
        trust = {
            "p-access-network-info", "p-visited-network-id",
            "p-charging-vector", "p-charging-function-addresses", "p-served-user", "p-asserted-service",
        }  # fmt: skip
        stays = hop | dialog | body | capabilities | extensions | secrets | trust | IDENTITY
        self.assertEqual(set(STAYS), stays)
        self.assertEqual(len(crossing(Headers([(name, "x") for name in sorted(stays)]))), 0)

    def test_secrets_do_not_cross(self) -> None:
        """Credentials and challenges are for one side's realm."""
        names = ["Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate"]
        self.assertEqual(len(crossing(Headers([(name, "Digest x=y") for name in names]))), 0)

    def test_identity_does_not_cross_by_itself(self) -> None:
        """What says who somebody is, is for `sipd.b2bua.identity` to decide about."""
        self.assertLess(IDENTITY, set(STAYS))
        self.assertLessEqual({"p-asserted-identity", "privacy", "session-id"}, IDENTITY)

    def test_each_entry_has_its_reason(self) -> None:
        """The table is for people to read: canonical names, each with why."""
        for name, reason in STAYS.items():
            self.assertEqual(name, name.lower())
            self.assertGreater(len(reason), 10)

    def test_body_fields_go_with_the_body(self) -> None:
        """Content-Type in either form, disposition, encoding, language and MIME-Version; not the length."""
        fields = [
            ("c", "application/sdp"), ("Content-Disposition", "session"), ("e", "gzip"), ("Content-Language", "de"),
            ("MIME-Version", "1.0"),
        ]  # fmt: skip
        headers = Headers([*fields, ("Subject", "x"), ("Content-Length", "5")])
        self.assertEqual(list(body_fields(headers).items()), fields)
