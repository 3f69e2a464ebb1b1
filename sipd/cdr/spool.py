"""A spool of records on the disk: what was put in is there after a crash, until it was taken out.

It is a directory of segments, text files of one record a line, and not a database: what a crash can do to a file that
only grows is to cut it, and that is easy to see and to mend; an operator can read it, count it and copy it; and nothing
but the standard library has to be right for it. Each line has a checksum in front, so that a line that was cut, or that
the disk has spoiled, is known, and costs itself alone (and the next one, if it is the line end that is spoiled).

    0000000000000001.records     1c291ca3 {"version":1,"kind":"call",...}
    0000000000000002.records     ...
    taken                        where the next unread record begins: segment, offset, checksum
    refused.records              records that the place will never take, for a person to look at
    lock                         held while the spool is open

What is put in is forced to the disk before `put` returns. ``taken`` is not: if it is lost, or is an older one, records
come again, none is left out. Everything here blocks, and runs in a thread but for the beginning and the end.
"""

from __future__ import annotations

import fcntl
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sipd.errors import ConfigurationError, LocalError

_SEGMENT = re.compile(r"([0-9]{16})\.records\Z")
_TAKEN = re.compile(rb"([0-9]{1,16}) ([0-9]{1,16}) ([0-9a-f]{8})\n\Z")
_CHECKSUM_OCTETS = 9
_MODE = 0o640
_DIRECTORY_MODE = 0o750
#: Of the records that a place will never take, no more than that is kept.
MAX_REFUSED_OCTETS = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place between two records.

    Args:
        segment: its number.
        offset: octets from its beginning.
    """

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records, oldest first.

    Args:
        records: as they were put in.
        end: what to give `take` when they are done with.
        spoiled: lines in between that are none any more.
    """

    records: tuple[bytes, ...]
    end: Position
    spoiled: int = 0


class SpoolFullError(LocalError):
    """The spool is at its bound. Nothing was put in."""


class Spool:
    """One directory, used by one place that records go to.

    Args:
        directory: made if it is not there, with mode 0750.
        max_octets: of all segments together.
        segment_octets: a segment that is larger is followed by another one; it goes when all in it was taken.

    Raises:
        ConfigurationError: the directory cannot be used, or somebody else uses it.
    """

    def __init__(self, directory: Path, *, max_octets: int, segment_octets: int = 1024 * 1024) -> None:
        self.directory = directory
        self._max_octets = max_octets
        # A bound that is as small as one segment could only be kept by giving all of it up.
        self._segment_octets = max(1, min(segment_octets, max_octets // 4))
        self._file: int | None = None
        self._sizes: dict[int, int] = {}
        try:
            directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise _unusable(directory, error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sizes = {number: self._path(number).stat().st_size for number in self._numbers()}
            self._mend()
            self._taken = self._read_taken()
            self._drop_taken()
        except BlockingIOError:
            os.close(self._lock)
            raise ConfigurationError([f"{directory}: call records: another sipd uses this spool"]) from None
        except OSError as error:
            os.close(self._lock)
            raise _unusable(directory, error) from None

    @property
    def size_octets(self) -> int:
        """What the segments take up. May be asked in any thread."""
        return sum(list(self._sizes.values()))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that was not taken."""
        taken = self._taken
        return not any(
            size > (taken.offset if number == taken.segment else 0)
            for number, size in self._sizes.items()
            if number >= taken.segment
        )

    def put(self, records: Sequence[bytes]) -> None:
        """Add records, and force them to the disk.

        Args:
            records: each without a line end.

        Raises:
            SpoolFullError: that would be more than the bound.
            OSError: the disk is full, or fails. Nothing was put in, though it may come back after a crash.
        """
        data = b"".join(b"%08x %b\n" % (zlib.crc32(record), record) for record in records)
        if self.size_octets + len(data) > self._max_octets:
            raise SpoolFullError
        if self._file is None or self._sizes[max(self._sizes)] >= self._segment_octets:
            self._begin_segment()
        number = max(self._sizes)
        assert self._file is not None
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError:
            # What was written of it goes; if that fails too, its checksums or its double ids say what it is.
            self._cut(number)
            raise
        self._sizes[number] += len(data)

    def read(self, number: int) -> Batch:
        """Give the oldest records that were not taken, so many at most; none if there are none."""
        records: list[bytes] = []
        spoiled = 0
        end = self._taken
        for line, position in self._lines():
            record = _record_of(line)
            end = position
            if record is None:
                spoiled += 1
            else:
                records.append(record)
            if len(records) >= number:
                break
        return Batch(tuple(records), end, spoiled)

    def take(self, end: Position) -> None:
        """Take out what `read` gave, up to that end.

        Raises:
            OSError: that cannot be noted on the disk; it is taken all the same, until a crash.
        """
        self._taken = max(self._taken, end)
        text = b"%d %d" % (self._taken.segment, self._taken.offset)
        temporary = self.directory / "taken.new"
        try:
            temporary.write_bytes(b"%b %08x\n" % (text, zlib.crc32(text)))
            temporary.replace(self.directory / "taken")
        finally:
            # Without a note they are not missed, and on a full disk this is what makes room.
            self._drop_taken()

    def refuse(self, records: Sequence[bytes]) -> int:
        """Keep records that the place will never take, beside the others; give how many: no more when there are many.

        Raises:
            OSError: there is no room for them.
        """
        kept = 0
        path = self.directory / "refused.records"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            for record in records:
                if os.fstat(descriptor).st_size < MAX_REFUSED_OCTETS:
                    rest = memoryview(record + b"\n")
                    while rest:
                        rest = rest[os.write(descriptor, rest) :]
                    kept += 1
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return kept

    def drop_oldest(self) -> int:
        """Give up the oldest segment, to make room; give the number of records in it that were not taken.

        Raises:
            OSError: it cannot be removed.
        """
        if not self._sizes:
            return 0
        oldest = min(self._sizes)
        lost = sum(_record_of(line) is not None for line, position in self._lines() if position.segment == oldest)
        if oldest == max(self._sizes):
            self._close_file()
        self._path(oldest).unlink()
        del self._sizes[oldest]
        self._taken = max(self._taken, Position(oldest + 1, 0))
        return lost

    def close(self) -> None:
        """Let somebody else use it. Idempotent."""
        self._close_file()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # --- segments ---------------------------------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:016d}.records"

    def _numbers(self) -> list[int]:
        matches = (_SEGMENT.match(name) for name in os.listdir(self.directory))
        return sorted(int(match[1]) for match in matches if match is not None)

    def _lines(self) -> Iterator[tuple[bytes, Position]]:
        """Give the lines that were not taken, with their ends."""
        for number in sorted(self._sizes):
            if number < self._taken.segment:
                continue
            offset = self._taken.offset if number == self._taken.segment else 0
            with self._path(number).open("rb") as file:
                file.seek(offset)
                while offset < self._sizes[number] and (line := file.readline()):
                    offset += len(line)
                    yield line, Position(number, offset)

    def _begin_segment(self) -> None:
        """Open a segment of its own for what comes now: what an earlier run has left is not written to again."""
        number = max(self._taken.segment, *self._sizes, 0) + 1
        descriptor = os.open(self._path(number), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            _force_directory(self.directory)
        except OSError:
            os.close(descriptor)
            raise
        self._close_file()
        self._file = descriptor
        self._sizes[number] = 0

    def _mend(self) -> None:
        """End a last line that a crash has cut short: it was not put in, or its checksum would be right."""
        for number, size in self._sizes.items():
            with self._path(number).open("r+b") as file:
                if not size:
                    continue
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    file.write(b"\n")
                    self._sizes[number] = size + 1

    def _cut(self, number: int) -> None:
        """Take away what was written beyond the records that are in."""
        if self._file is not None:
            try:
                os.ftruncate(self._file, self._sizes[number])
            except OSError:
                # The next records go elsewhere, away from what is here.
                self._sizes[number] = self._path(number).stat().st_size
                self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    # --- what was taken ---------------------------------------------------------------------------------------

    def _read_taken(self) -> Position:
        """Give where the first record begins that was not taken; the beginning if nobody can say."""
        first = Position(min(self._sizes, default=0), 0)
        try:
            match = _TAKEN.match((self.directory / "taken").read_bytes())
        except FileNotFoundError:
            return first
        if match is None or int(match[3], 16) != zlib.crc32(match[1] + b" " + match[2]):
            return first
        taken = Position(int(match[1]), int(match[2]))
        size = self._sizes.get(taken.segment)
        if size is not None and taken.offset > size:
            return Position(taken.segment, 0)
        return max(taken, first)

    def _drop_taken(self) -> None:
        """Remove the segments of which all was taken, but not the one that is being written."""
        for number in sorted(self._sizes):
            is_open = self._file is not None and number == max(self._sizes)
            if is_open or self._taken < Position(number, self._sizes[number]):
                return
            self._path(number).unlink(missing_ok=True)
            del self._sizes[number]


def _record_of(line: bytes) -> bytes | None:
    """Give the record in a line; ``None`` if it is spoiled."""
    record = line[_CHECKSUM_OCTETS:].removesuffix(b"\n")
    return record if record and line.startswith(b"%08x " % zlib.crc32(record)) and line.endswith(b"\n") else None


def _force_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(directory: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError([f"{directory}: call records cannot be spooled there: {error.strerror}"])
