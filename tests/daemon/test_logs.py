"""Tests of `sipd.daemon.logs`: lines for people and for machines, which nobody can forge."""

from __future__ import annotations

import io
import json
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.logs import LogWriter, format_json, format_text
from sipd.daemon.sections import Logging


def event(text: str, **fields: Any) -> dict[str, Any]:
    """Give an event as a logger makes it."""
    return {
        "log_format": text,
        "log_time": 1_790_000_000.5,
        "log_level": LogLevel.info,
        "log_namespace": "sipd.x",
        **fields,
    }


class TextTests(SynchronousTestCase):
    """Lines for people."""

    def test_one_line(self) -> None:
        """Time with milliseconds, level, text."""
        line = format_text(event("{user} registered", user="alice"))
        self.assertRegex(line, r"^2026-09-2\d \d\d:\d\d:\d\d\.500 info  alice registered\n$")

    def test_cannot_be_forged(self) -> None:
        """A line break in what others sent does not begin a line of the log, and no control character gets through."""
        text = format_text(event("from {peer}", peer="x\n2026-01-01 00:00:00.000 info  forged\r\x1b[2J\x9b"))
        lines = text.splitlines()
        self.assertTrue(lines[1].startswith("    2026-01-01"))
        self.assertEqual(len(lines), 2)
        self.assertIn("\\x0d\\x1b[2J\\x9b", lines[1])

    def test_octets_that_are_no_text(self) -> None:
        """Octets of a message that are not UTF-8 are shown, and do not break the log."""
        line = format_text(event("from {peer}", peer=b"\xff".decode("utf-8", "surrogateescape")))
        self.assertIn("\\udcff", line)
        line.encode("utf-8")

    def test_traceback(self) -> None:
        """A failure is followed by its traceback, indented."""
        try:
            raise ValueError("broken")
        except ValueError:
            failure = Failure()
        lines = format_text(event("it failed", log_failure=failure)).splitlines()
        self.assertIn("it failed", lines[0])
        self.assertTrue(all(line.startswith("    ") for line in lines[1:]))
        self.assertIn("ValueError: broken", lines[-1])

    def test_formats_of_twisted(self) -> None:
        """A format may call what it names; one that cannot be filled in is a line that says so."""
        self.assertIn(" info  came from here\n", format_text(event("came from {where()}", where=lambda: "here")))
        self.assertIn("Unable to format event", format_text(event("came from {nowhere}")))
        self.assertIn(" info  octets\n", format_text({**event(""), "log_format": b"octets"}))

    def test_time_goes_on(self) -> None:
        """Each line has its own time, also the next of the same second and the first of the next one."""
        times = [format_text(event("x", log_time=1_790_000_000 + later))[17:23] for later in (0.5, 0.9996, 1.0, 0.123)]
        self.assertEqual(times, ["20.500", "20.999", "21.000", "20.123"])

    def test_nothing_to_say(self) -> None:
        """An event without text is no line."""
        self.assertEqual(format_text({"log_time": 0.0}), "")


class JsonTests(SynchronousTestCase):
    """Lines for machines."""

    def test_flat(self) -> None:
        """Time, level, logger, message and plain fields; objects are left out, and no field hides another."""
        line = format_json(event("{user} called", user="alice", status=200, flow=object(), message="other", after=None))
        self.assertTrue(line.endswith("}\n"))
        self.assertEqual(
            json.loads(line),
            {
                "time": "2026-09-21T14:13:20.500+00:00",
                "level": "info",
                "logger": "sipd.x",
                "message": "alice called",
                "user": "alice",
                "status": 200,
                "after": None,
            },
        )

    def test_one_line_whatever_it_holds(self) -> None:
        """Line breaks and octets that are no text stay inside of one line of ASCII."""
        line = format_json(event("{peer}", peer="a\nb\udcff"))
        self.assertEqual(line.count("\n"), 1)
        line.encode("ascii")

    def test_traceback(self) -> None:
        """A failure's traceback is a field of its own."""
        try:
            raise ValueError("broken")
        except ValueError:
            record = json.loads(format_json(event("it failed", log_failure=Failure())))
        self.assertEqual(record["message"], "it failed")
        self.assertIn("ValueError: broken", record["traceback"])


class ObserverTests(SynchronousTestCase):
    """What is written at all."""

    def written(self, settings: Logging) -> list[str]:
        """Give what comes of one event at each level, from sipd and from Twisted."""
        stream = io.StringIO()
        publisher = LogPublisher(LogWriter(stream, settings))
        for namespace in ("sipd.ua", "twisted.internet.udp", "log_legacy"):
            log = Logger(namespace=namespace, observer=publisher)
            for level in LogLevel.iterconstants():
                log.emit(level, "{who} {what}", who=namespace, what=level.name)
        return stream.getvalue().splitlines()

    def texts(self, settings: Logging) -> list[str]:
        """Give the same without time and level."""
        return [line.split(None, 3)[3] for line in self.written(settings)]

    def test_default(self) -> None:
        """At info, Twisted is heard from warnings on only: it tells of every socket that it opens."""
        self.assertEqual(
            self.texts(Logging()),
            ["sipd.ua info", "sipd.ua warn", "sipd.ua error", "sipd.ua critical"]
            + [
                f"{name} {level}"
                for name in ("twisted.internet.udp", "log_legacy")
                for level in ("warn", "error", "critical")
            ],
        )

    def test_asked_again(self) -> None:
        """What was wanted or not is so the next time; without a level or a namespace nothing is."""
        stream = io.StringIO()
        observer = LogWriter(stream, Logging())
        for _ in range(2):
            for level in (LogLevel.debug, LogLevel.info):
                observer(event(level.name, log_level=level))
            observer({"log_format": "no level", "log_namespace": "sipd.x"})
            observer({"log_format": "no namespace", "log_level": LogLevel.critical})
        self.assertEqual([line.split(None, 3)[3] for line in stream.getvalue().splitlines()], ["info", "info"])

    def test_debug(self) -> None:
        """At debug everything is heard."""
        self.assertEqual(len(self.texts(Logging(level="debug"))), 15)

    def test_error(self) -> None:
        """At error nothing below is, of anybody."""
        self.assertEqual({text.split()[1] for text in self.texts(Logging(level="error"))}, {"error", "critical"})

    def test_json(self) -> None:
        """The format is what the settings say."""
        self.assertTrue(all(json.loads(line)["level"] for line in self.written(Logging(format="json"))))
