"""Tests of `sipd.daemon.greeting`: what is said at the start is true and enough."""

from __future__ import annotations

from sipd.daemon.greeting import greet
from sipd.daemon.layers import listening_point
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase


class GreetingTests(ConfigCase):
    """The lines of a start."""

    def greet(self, text: str) -> list[str]:
        """Give the lines for a configuration whose ports are bound as they are written."""
        config = self.load(text)
        return greet(config, [listening_point(listen) for listen in config.listen])

    def test_what_a_phone_needs(self) -> None:
        """User, domain and server are there; the password is not."""
        users = "".join(f'[[users]]\nname = "{name}"\npassword = "{HIDDEN}"\n' for name in ("alice", "bob"))
        lines = self.greet(f"{MINIMAL}port = 5060\nadvertised_port = 5080\n{users}")
        self.assertEqual(lines[0], "listening on UDP 192.0.2.1:5060, which others are told is 192.0.2.1:5080")
        self.assertEqual(lines[1], "users: alice, bob; domains: example.com")
        self.assertIn("user alice, domain example.com, server 192.0.2.1:5080 over UDP;", lines[2])
        self.assertEqual(lines[3:], ["then call sip:bob@example.com"])
        self.assertNotIn(HIDDEN, "".join(lines))

    def test_nobody(self) -> None:
        """Without users it says so."""
        self.assertEqual(self.greet(MINIMAL)[-1], "no users are configured: nobody can register")

    def test_many(self) -> None:
        """Of many users ten are named."""
        users = "".join(f'[[users]]\nname = "u{number}"\npassword = "x"\n' for number in range(12))
        line = self.greet(MINIMAL + users)[1]
        self.assertEqual(
            line, f"users: {', '.join(f'u{number}' for number in range(10))} and 2 more; domains: example.com"
        )

    def test_loopback(self) -> None:
        """A server that only this machine can reach says so, in IPv6 as well."""
        user = '[[users]]\nname = "a"\npassword = "x"\n'
        text = MINIMAL.replace("192.0.2.1", "::1").replace('"example.com"', '"::1"')
        lines = self.greet(text + "advertised_port = 5060\n" + user)
        self.assertIn("listening on UDP [::1]:5060", lines)
        self.assertIn("server [::1]:5060 over UDP", lines[2])
        self.assertRegex(lines[-1], "^only phones on this machine")
