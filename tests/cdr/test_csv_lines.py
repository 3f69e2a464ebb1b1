"""Comma-separated values: lines as Asterisk and FreeSWITCH write them, and columns of choice."""

from __future__ import annotations

import csv
import io

from twisted.trial.unittest import SynchronousTestCase

from sipd.cdr.csv_lines import Times, columns_printer, disposition_of, print_asterisk, print_freeswitch
from sipd.cdr.record import FIELDS, Record, records_of
from tests.cdr.support import call, record


def read(line: bytes) -> list[str]:
    """Read one line as any reader of CSV does."""
    rows = list(csv.reader(io.StringIO(line.decode())))
    assert len(rows) == 1
    return rows[0]


class AsteriskTests(SynchronousTestCase):
    """`Master.csv`."""

    def test_answered(self) -> None:
        """The 18 fields, in the order and with the quotes of Asterisk: text in quotes, numbers bare."""
        self.assertEqual(
            print_asterisk(record("c1")).decode(),
            '"alice","alice","5551234","abroad","""Alice"" <alice>","SIP/alice-c1","SIP/two","Dial",'
            '"sip:5551234@two.example","2026-11-22 12:00:00","2026-11-22 12:00:03","2026-11-22 12:01:03",63,60,'
            '"ANSWERED","DOCUMENTATION","c1","c1@192.0.2.1"\n',
        )

    def test_not_answered(self) -> None:
        """A time that did not come is empty, without quotes, and there is nothing to bill."""
        one = record(status=486, answered_at=None, cause="sip:486", caller_name="", user=None, attempts=[])
        line = print_asterisk(one)
        self.assertIn(b'"2026-11-22 12:00:00",,"2026-11-22 12:01:03",63,0,"BUSY"', line)
        self.assertEqual(len(read(line)), 18)
        self.assertEqual(read(line)[4], "alice")

    def test_dispositions(self) -> None:
        """Statuses become the dispositions that Asterisk has."""
        self.assertEqual(
            {status: disposition_of(record(status=status, answered_at=None)) for status in (404, 408, 480, 486, 487)},
            {404: "FAILED", 408: "NO ANSWER", 480: "NO ANSWER", 486: "BUSY", 487: "NO ANSWER"},
        )
        congested = record(status=500, answered_at=None, reasons=("Q.850;cause=34",))
        self.assertEqual(disposition_of(congested), "CONGESTION")

    def test_attempts(self) -> None:
        """An attempt is a line of the same form, with an id of its own."""
        lines = [read(print_asterisk(one)) for one in records_of(call("c1"))]
        self.assertEqual([line[16] for line in lines], ["c1", "c1/b1", "c1/b2"])
        self.assertEqual([line[14] for line in lines], ["ANSWERED", "CONGESTION", "ANSWERED"])


class FreeswitchTests(SynchronousTestCase):
    """The template `example` of `cdr_csv`."""

    def test_answered(self) -> None:
        """The 15 fields of the template, all in quotes."""
        self.assertEqual(
            print_freeswitch(record("c1")).decode(),
            '"Alice","alice","5551234","abroad","2026-11-22 12:00:00","2026-11-22 12:00:03","2026-11-22 12:01:03",'
            '"63","60","NORMAL_CLEARING","c1","c1-b2@192.0.2.9","alice","PCMA","PCMA"\n',
        )

    def test_not_answered(self) -> None:
        """A call that the caller gave up has an empty answer stamp and the cause that FreeSWITCH has for it."""
        line = read(print_freeswitch(record(status=487, answered_at=None, cause="cancel", codecs=())))
        self.assertEqual((line[5], line[8], line[9], line[13]), ("", "0", "ORIGINATOR_CANCEL", ""))


class ColumnsTests(SynchronousTestCase):
    """Columns of choice."""

    def line(self, one: Record, *columns: str, times: Times = Times.SECONDS) -> bytes:
        """Print one record."""
        return columns_printer(columns, times)[0](one)

    def test_columns(self) -> None:
        """Columns come in the order in which they are asked for, below a header; lists of text have spaces between."""
        printer, header = columns_printer(
            ("id", "started_at", "answered_at", "status", "codecs", "user"), Times.SECONDS
        )
        one = record("c1", answered_at=None, user=None, codecs=("pcma/8000", "opus/48000/2"))
        self.assertEqual(header, b'"id","started_at","answered_at","status","codecs","user"\n')
        self.assertEqual(printer(one), b'"c1",1795348800.000,,200,"pcma/8000 opus/48000/2",\n')

    def test_iso(self) -> None:
        """Times are written as RFC 3339 has them, where that is wanted."""
        self.assertEqual(self.line(record(), "ended_at", times=Times.ISO), b"2026-11-22T12:01:03.250Z\n")

    def test_every_field_can_be_a_column(self) -> None:
        """Each field of each kind can be printed, and read again."""
        names = [field.name for field in FIELDS]
        for one in records_of(call()):
            self.assertEqual(len(read(self.line(one, *names))), len(names))

    def test_hostile_text(self) -> None:
        """Quotes, commas, line ends and octets that are no text stay inside of their column."""
        one = record(caller_name='a","b\r\n\0=1+1', caller="sip:\udcfe@x")
        line = self.line(one, "caller_name", "caller", "id")
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(read(line), ['a","b   =1+1', "sip:\\xfe@x", "c1"])
