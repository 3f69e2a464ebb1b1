"""The spool: whatever a crash does to its files, what was put in is there, once or more, and in order."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sipd.cdr.spool import Position, Spool, SpoolFullError
from sipd.errors import ConfigurationError

RECORDS = st.lists(st.binary(min_size=1, max_size=60).filter(lambda data: b"\n" not in data), max_size=12)


class SpoolCase(SynchronousTestCase):
    """Spools in a directory of the test's."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()

    def open(self, directory: Path | None = None, max_octets: int = 100_000, segment_octets: int = 100) -> Spool:
        """Open a spool with small segments; close it at the end of the test."""
        spool = Spool(directory or self.directory, max_octets=max_octets, segment_octets=segment_octets)
        self.addCleanup(spool.close)
        return spool

    def segments(self, directory: Path | None = None) -> list[Path]:
        """Give the files that hold records, in order."""
        return sorted(path for path in (directory or self.directory).glob("*.records") if path.name[0].isdigit())


class SpoolTests(SpoolCase):
    """In good order."""

    def test_first_in_first_out(self) -> None:
        """Records come out in the order in which they went in, as often as they are read, until they are taken."""
        spool = self.open()
        self.assertTrue(spool.is_empty)
        spool.put([b"a", b"b"])
        spool.put([b"c"])
        self.assertEqual(spool.read(2).records, (b"a", b"b"))
        batch = spool.read(2)
        self.assertEqual(batch.records, (b"a", b"b"))
        spool.take(batch.end)
        self.assertEqual((spool.read(2).records, spool.is_empty), ((b"c",), False))
        spool.take(spool.read(2).end)
        self.assertEqual((spool.read(2).records, spool.is_empty), ((), True))

    def test_survives_a_restart(self) -> None:
        """What was not taken is there for the next one who opens it, and what was taken is not."""
        spool = self.open()
        for number in range(40):
            spool.put([b"%03d" % number])
        spool.take(spool.read(25).end)
        spool.close()
        again = self.open()
        self.assertEqual(again.read(100).records, tuple(b"%03d" % number for number in range(25, 40)))
        again.put([b"new"])
        self.assertEqual(again.read(100).records[-1], b"new")

    def test_segments_go_when_they_are_taken(self) -> None:
        """A file whose records were all taken is removed; an idle spool does not grow."""
        spool = self.open()
        for number in range(200):
            spool.put([b"%03d" % number])
            spool.take(spool.read(10).end)
            self.assertLessEqual(len(self.segments()), 2)
        self.assertLessEqual(spool.size_octets, 250)
        spool.close()
        self.open()
        self.assertEqual(self.segments(), [])

    def test_bound(self) -> None:
        """At the bound nothing goes in, and nothing that is in is harmed; the oldest may be given up for it."""
        spool = self.open(max_octets=400)
        put = 0
        with contextlib.suppress(SpoolFullError):
            while put < 1000:
                spool.put([b"%03d" % put])
                put += 1
        self.assertLess(put, 40)
        self.assertLessEqual(spool.size_octets, 400)
        lost = spool.drop_oldest()
        spool.put([b"new"])
        left = spool.read(100).records
        self.assertGreater(lost, 0)
        self.assertEqual(left, (*[b"%03d" % number for number in range(lost, put)], b"new"))

    def test_giving_up_counts_what_was_not_taken(self) -> None:
        """Records that were taken already are not lost with their file; an empty spool has nothing to give up."""
        spool = self.open()
        self.assertEqual(spool.drop_oldest(), 0)
        spool.put([b"a", b"b", b"c"])
        spool.take(spool.read(2).end)
        self.assertEqual((spool.drop_oldest(), spool.is_empty, spool.read(9).records), (1, True, ()))
        spool.put([b"d"])
        self.assertEqual(spool.read(9).records, (b"d",))

    def test_one_at_a_time(self) -> None:
        """Nobody else can open it meanwhile; who tries is told so."""
        self.open()
        error = self.assertRaises(ConfigurationError, self.open)
        self.assertIn("another sipd", error.problems[0])

    def test_unusable_directory(self) -> None:
        """A directory that cannot be made is a mistake in the configuration, and named."""
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self.directory.write_text("a file")
        error = self.assertRaises(ConfigurationError, self.open)
        self.assertIn(str(self.directory), error.problems[0])

    def test_full_disk(self) -> None:
        """What a full disk does not take is not in, and what comes later is."""
        if not os.path.exists("/dev/full"):
            raise SkipTest("needs /dev/full (Linux)")
        spool = self.open(segment_octets=1_000_000)
        spool.put([b"a"])
        assert spool._file is not None
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, spool._file)
        os.close(full)
        self.assertRaises(OSError, spool.put, [b"b"])
        spool.put([b"c"])
        self.assertEqual(spool.read(9).records, (b"a", b"c"))

    def test_no_room_for_the_note(self) -> None:
        """Where what was taken cannot be noted, it is taken all the same, and its files make room."""
        spool = self.open()
        for number in range(100):
            spool.put([b"%03d" % number])
        end = spool.read(60).end
        (self.directory / "taken.new").mkdir()
        before = len(self.segments())
        self.assertRaises(OSError, spool.take, end)
        self.assertLess(len(self.segments()), before)
        self.assertEqual(spool.read(1).records, (b"060",))
        spool.close()
        (self.directory / "taken.new").rmdir()
        # A restart without the note gives some of them again, and leaves out none.
        again = self.open().read(100).records
        self.assertEqual(again, tuple(b"%03d" % number for number in range(100 - len(again), 100)))
        self.assertGreaterEqual(len(again), 40)

    def test_refused(self) -> None:
        """What a place never takes is kept beside the others, readable, and is not in the way."""
        spool = self.open()
        spool.put([b"a"])
        spool.refuse([b"x", b"y"])
        spool.refuse([b"z"])
        self.assertEqual((self.directory / "refused.records").read_bytes(), b"x\ny\nz\n")
        self.assertEqual(spool.read(9).records, (b"a",))


class CrashTests(SpoolCase):
    """What is left of the files after a crash."""

    def cut(self, source: Path, path: str, length: int) -> Path:
        """Copy a spool and cut one of its files."""
        copy = self.directory.parent / f"cut-{self.directory.name}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)
        with (copy / path).open("r+b") as file:
            file.truncate(length)
        return copy

    @settings(deadline=None, max_examples=6)
    @given(records=RECORDS)
    def test_cut_at_every_octet(self, records: list[bytes]) -> None:
        """Wherever the last file was cut, every record whose line is whole is there, no other, and it goes on."""
        shutil.rmtree(self.directory, ignore_errors=True)
        spool = self.open(segment_octets=1_000_000)
        spool.put(records)
        spool.close()
        if not records:
            return
        segment = self.segments()[-1]
        ends = [len(record) + 10 for record in records]
        ends = [sum(ends[: number + 1]) for number in range(len(ends))]
        self.assertEqual(segment.stat().st_size, ends[-1])
        for length in range(ends[-1] + 1):
            whole = [record for record, end in zip(records, ends, strict=True) if end <= length]
            # A line that lacks its end alone is whole, too.
            if length + 1 in ends:
                whole = records[: ends.index(length + 1) + 1]
            left = Spool(self.cut(self.directory, segment.name, length), max_octets=100_000)
            left.put([b"new"])
            self.assertEqual(left.read(100).records, (*whole, b"new"))
            left.close()

    def test_note_of_what_was_taken_cut_at_every_octet(self) -> None:
        """Wherever the note was cut, nothing that was not taken is left out."""
        spool = self.open()
        names = [b"%03d" % number for number in range(30)]
        spool.put(names[:12])
        spool.put(names[12:])
        spool.take(spool.read(20).end)
        spool.close()
        size = (self.directory / "taken").stat().st_size
        for length in range(size + 1):
            left = self.open(self.cut(self.directory, "taken", length))
            records = left.read(100).records
            self.assertEqual(records, tuple(names[20:] if length == size else names[-len(records) :]))
            self.assertGreaterEqual(len(records), 10)
            left.close()

    @settings(deadline=None, max_examples=30)
    @given(records=RECORDS.filter(bool), place=st.integers(0, 10_000), octet=st.integers(1, 255))
    def test_spoiled_octet(self, records: list[bytes], place: int, octet: int) -> None:
        """An octet that the disk has changed costs the record that it is in, and at most the next one."""
        shutil.rmtree(self.directory, ignore_errors=True)
        spool = self.open(segment_octets=1_000_000)
        spool.put(records)
        spool.close()
        segment = self.segments()[-1]
        data = bytearray(segment.read_bytes())
        data[place % len(data)] ^= octet
        segment.write_bytes(data)
        batch = self.open().read(100)
        self.assertGreaterEqual(len(batch.records), len(records) - 2)
        self.assertTrue(set(batch.records) <= set(records))
        self.assertGreaterEqual(batch.spoiled, 1)

    def test_older_note(self) -> None:
        """With the note of an earlier moment records come again, and none is left out."""
        spool = self.open()
        spool.put([b"a", b"b", b"c"])
        spool.take(spool.read(1).end)
        note = (self.directory / "taken").read_bytes()
        spool.take(spool.read(1).end)
        spool.close()
        (self.directory / "taken").write_bytes(note)
        self.assertEqual(self.open().read(9).records, (b"b", b"c"))

    def test_note_beyond_the_end(self) -> None:
        """A note that points behind the end of a file, which a crash has cut, leaves out nothing of that file."""
        spool = self.open(segment_octets=10_000)
        spool.put([b"a", b"b"])
        spool.take(spool.read(2).end)
        spool.close()
        # It was all taken: the file is there only since it was open.
        segment = self.segments()[-1]
        with segment.open("r+b") as file:
            file.truncate(11)
        self.assertEqual(self.open().read(9).records, (b"a",))

    @settings(deadline=None, max_examples=40)
    @given(
        steps=st.lists(
            st.one_of(
                st.tuples(st.just("put"), st.integers(1, 5)),
                st.tuples(st.just("take"), st.integers(1, 7)),
                st.tuples(st.just("reopen"), st.just(0)),
            ),
            max_size=30,
        )
    )
    def test_against_a_list(self, steps: list[tuple[str, int]]) -> None:
        """Whatever is done in whatever order, it holds what a list would hold."""
        shutil.rmtree(self.directory, ignore_errors=True)
        spool = self.open()
        model: list[bytes] = []
        made = 0
        for step, number in steps:
            if step == "put":
                new = [b"%06d" % (made + index) for index in range(number)]
                made += number
                spool.put(new)
                model += new
            elif step == "take":
                batch = spool.read(number)
                self.assertEqual(batch.records, tuple(model[:number]))
                spool.take(batch.end)
                del model[: len(batch.records)]
            else:
                spool.close()
                spool = self.open()
            self.assertEqual(spool.is_empty, not model)
        self.assertEqual(spool.read(1000).records, tuple(model))
        self.assertIsInstance(spool.read(1).end, Position)
        spool.close()
