"""One readable line for each registration."""

from __future__ import annotations

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.interfaces import IRegistrationObserver
from sipd.registrar.log import RegistrationLog
from sipd.sip.locate import Target, Transport
from tests.registrar.fakes import SOURCE, LogLines, binding


class LogTests(SynchronousTestCase):
    """What the operator reads."""

    def setUp(self) -> None:
        """Listen to the log."""
        self.written = LogLines(self)
        self.log = RegistrationLog()

    def test_lines(self) -> None:
        """Each event is one line that says who, where and for how long."""
        verifyObject(IRegistrationObserver, self.log)
        one = binding()
        six = Target(transport=Transport.TLS, host="2001:db8::7", port=5061)
        self.log.binding_made(one, 300)
        self.log.binding_made(binding(source=six), 60)
        self.log.binding_made(binding(source=None), 60)
        self.log.binding_refreshed(one, 300)
        self.log.binding_removed(one)
        self.log.binding_expired(one)
        self.log.registration_refused("sip:bob@example.com", SOURCE, 403, "Not yours")
        self.assertEqual(
            self.written.lines,
            [
                "alice registered sip:alice@127.0.0.1:5062 from 127.0.0.1:5062 over UDP for 300 s",
                "alice registered sip:alice@127.0.0.1:5062 from [2001:db8::7]:5061 over TLS for 60 s",
                "alice registered sip:alice@127.0.0.1:5062 for 60 s",
                "alice refreshed sip:alice@127.0.0.1:5062 from 127.0.0.1:5062 over UDP for 300 s",
                "alice unregistered sip:alice@127.0.0.1:5062",
                "alice did not refresh sip:alice@127.0.0.1:5062",
                "127.0.0.1:5062 was refused as bob: 403 Not yours",
            ],
        )
        self.assertEqual(
            [event["log_level"] for event in self.written.events[2:5]], [LogLevel.info, LogLevel.debug, LogLevel.info]
        )

    def test_harmless(self) -> None:
        """What a peer chose cannot break a line, nor make it long."""
        self.log.registration_refused("sip:a\udcff\u2028b@x", SOURCE, 400, "x\r\n" + "y" * 1000)
        (line,) = self.written.lines
        self.assertTrue(line.startswith("127.0.0.1:5062 was refused as a??b: 400 x??yy"), line)
        self.assertLess(len(line), 300)
        line.encode("utf-8")
