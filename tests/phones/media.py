"""Offer and answer as a phone works them out (RFC 3264), in a few lines, and nothing of `sipd.sdp` in them.

What sipd would get wrong, this must not get wrong in the same way: so it reads and writes its own SDP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Codecs that these phones know, by kind: name to payload type and clock rate.
CODECS = {
    "audio": {"PCMU": (0, 8000), "PCMA": (8, 8000), "G722": (9, 8000), "telephone-event": (101, 8000)},
    "video": {"VP8": (96, 90000), "H264": (97, 90000)},
}
#: What the payload types are that need no `a=rtpmap` (RFC 3551 section 6).
_STATIC = {"0": "PCMU", "8": "PCMA", "9": "G722"}
_DIRECTIONS = {
    "sendrecv": (True, True),
    "sendonly": (True, False),
    "recvonly": (False, True),
    "inactive": (False, False),
}


class MediaError(Exception):
    """What the other side sent breaks RFC 3264. The text says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One media line.

    Args:
        kind: `audio` or `video`.
        host: where its media are taken.
        port: the same; 0 for a stream that is refused or has ended.
        codecs: by name, the preferred one first.
        sends: whether its side would send.
        receives: whether its side would receive.
    """

    kind: str
    host: str
    port: int
    codecs: tuple[str, ...]
    sends: bool = True
    receives: bool = True

    @property
    def is_live(self) -> bool:
        """Whether it is not refused."""
        return self.port != 0

    @property
    def direction(self) -> str:
        """How SDP says it."""
        return next(name for name, flags in _DIRECTIONS.items() if flags == (self.sends, self.receives))

    def lines(self) -> list[str]:
        """Write it."""
        known = CODECS[self.kind]
        types = " ".join(str(known[name][0]) for name in self.codecs)
        maps = [f"a=rtpmap:{known[name][0]} {name}/{known[name][1]}" for name in self.codecs]
        # Who holds by the address knows of no directions.
        directions = [] if self.host == "0.0.0.0" else [f"a={self.direction}"]
        return [f"m={self.kind} {self.port} RTP/AVP {types}", *maps, *directions]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What one side says of the session.

    Args:
        origin: the session's name for its maker, in `o=`.
        version: the same.
        streams: in order.
    """

    origin: str
    version: int
    streams: tuple[Stream, ...]

    @classmethod
    def parse(cls, body: bytes) -> Description:
        """Read one.

        Raises:
            MediaError: something that these phones need is not there.
        """
        try:
            head, *sections = body.decode().replace("\r\n", "\n").split("\nm=")
            host = _value(head, "c=", "").removeprefix("IN IP4 ")
            origin = _value(head, "o=").split(" ")
            streams = tuple(_read_stream(section, head, host) for section in sections)
            return cls(origin=origin[1], version=int(origin[2]), streams=streams)
        except (IndexError, KeyError, ValueError) as error:
            raise MediaError(f"a description that cannot be read ({error}): {body!r}") from error

    def to_bytes(self) -> bytes:
        """Write it."""
        host = self.streams[0].host
        lines = ["v=0", f"o=- {self.origin} {self.version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
        for stream in self.streams:
            lines += stream.lines()
        return ("\r\n".join(lines) + "\r\n").encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the owner of a phone wants.

    Args:
        host, port: where the first stream is taken; each further one takes the next even port.
        is_holding: whether the other side is on hold.
        codecs: of the audio stream, the preferred one first.
        has_video: whether there should be a picture, too.
        takes_video: whether one is taken that the other side wants.
        holds_by_address: whether it holds in the old way, with `c=0.0.0.0`.
    """

    host: str
    port: int = 40000
    is_holding: bool = False
    codecs: tuple[str, ...] = ("PCMU", "PCMA", "telephone-event")
    has_video: bool = False
    takes_video: bool = True
    holds_by_address: bool = False

    def stream(self, kind: str, index: int) -> Stream:
        """Give the stream that is wished for at a place; one that is not wished for has the port 0."""
        is_wanted = kind == "audio" or self.has_video
        return Stream(
            kind=kind,
            host="0.0.0.0" if self.is_holding and self.holds_by_address else self.host,
            port=self.port + 2 * index if is_wanted else 0,
            codecs=self.codecs if kind == "audio" else ("VP8",),
            receives=not self.is_holding,
        )


class Understanding:
    """What one side of one dialog believes was agreed on.

    Attributes:
        local, remote: what is in force: what this side said, and what the other side said.
        offered: what this side offered and got no answer to yet.
        asked: what the other side offered and got no answer to yet.
    """

    def __init__(self, origin: str) -> None:
        self.local: Description | None = None
        self.remote: Description | None = None
        self.offered: Description | None = None
        self.asked: Description | None = None
        self._origin = origin
        self._last: Description | None = None
        self._heard: Description | None = None

    @property
    def is_stable(self) -> bool:
        """Whether no offer waits for its answer."""
        return self.offered is None and self.asked is None

    def offer(self, wish: Wish) -> bytes:
        """Offer something; streams once there stay, if only as refused ones (RFC 3264 section 8)."""
        before = self.local.streams if self.local is not None else ()
        kinds = [stream.kind for stream in before] or ["audio"]
        if wish.has_video and "video" not in kinds:
            kinds.append("video")
        if any(stream.kind == "video" and stream.is_live for stream in before):
            wish = replace(wish, has_video=wish.has_video or wish.takes_video)
        self.offered = self._said(tuple(wish.stream(kind, index) for index, kind in enumerate(kinds)))
        return self.offered.to_bytes()

    def take_answer(self, body: bytes) -> None:
        """Take the answer: from now on it is in force.

        Raises:
            MediaError: it is none to what was offered.
        """
        offered, self.offered = self.offered, None
        if offered is None:
            raise MediaError("an answer to nothing")
        answer = self._hear(body)
        _check(offered, answer)
        self.local, self.remote = offered, answer

    def glance(self, body: bytes) -> None:
        """Hear what the answer will probably be.

        Raises:
            MediaError: it cannot be read, or has a wrong version.
        """
        self._hear(body)

    def take_offer(self, body: bytes) -> None:
        """Take an offer, which is to be answered.

        Raises:
            MediaError: it has lost a stream, or cannot be read.
        """
        asked = self._hear(body)
        if self.remote is not None and [one.kind for one in self.remote.streams] != [
            one.kind for one in asked.streams[: len(self.remote.streams)]
        ]:
            raise MediaError("the streams of an offer are not those that were there before")
        self.asked = asked

    def answer(self, wish: Wish) -> bytes:
        """Answer the offer that waits: from now on it is in force."""
        asked, self.asked = self.asked, None
        if asked is None:
            raise MediaError("nothing to answer")
        self.local = self._said(tuple(_answer(one, wish, index) for index, one in enumerate(asked.streams)))
        self.remote = asked
        return self.local.to_bytes()

    def would_take(self, wish: Wish) -> bool:
        """Say whether anything of the offer that waits is of use."""
        asked = self.asked.streams if self.asked is not None else ()
        return any(_answer(one, wish, index).is_live for index, one in enumerate(asked))

    def preview(self, wish: Wish) -> bytes:
        """Say what the answer will be, without it being one (RFC 6337 section 2.1)."""
        assert self.asked is not None
        return self._said(tuple(_answer(one, wish, index) for index, one in enumerate(self.asked.streams))).to_bytes()

    def drop(self) -> None:
        """Forget the offer that waits: it was refused."""
        self.offered = self.asked = None

    def _said(self, streams: tuple[Stream, ...]) -> Description:
        """Number what this side says: a new version if it says something new (RFC 3264 section 8)."""
        last = self._last
        if last is None:
            self._last = Description(origin=self._origin, version=1, streams=streams)
        elif last.streams != streams:
            self._last = replace(last, version=last.version + 1, streams=streams)
        assert self._last is not None
        return self._last

    def _hear(self, body: bytes) -> Description:
        """Read a description, and check its number against the one before."""
        heard, before = Description.parse(body), self._heard
        self._heard = heard
        if before is not None:
            if heard.origin != before.origin:
                raise MediaError(f"the origin was {before.origin}, and is {heard.origin}")
            is_same = heard.streams == before.streams
            if heard.version < before.version or (heard.version == before.version and not is_same):
                raise MediaError(f"version {heard.version} after {before.version}, and something else in it")
        return heard


def _answer(asked: Stream, wish: Wish, index: int) -> Stream:
    wanted = replace(wish, has_video=wish.has_video or wish.takes_video).stream(asked.kind, index)
    codecs = tuple(name for name in asked.codecs if name in wanted.codecs)
    is_taken = asked.is_live and wanted.is_live and bool(codecs)
    return replace(
        wanted,
        port=wanted.port if is_taken else 0,
        codecs=codecs if is_taken else asked.codecs,
        sends=wanted.sends and asked.receives,
        receives=wanted.receives and asked.sends,
    )


def _check(offered: Description, answer: Description) -> None:
    """See whether an answer fits its offer (RFC 3264 section 6)."""
    if [one.kind for one in offered.streams] != [one.kind for one in answer.streams]:
        raise MediaError("the streams of an answer are not those of the offer")
    for mine, theirs in zip(offered.streams, answer.streams, strict=True):
        if theirs.is_live and not mine.is_live:
            raise MediaError("an answer takes a stream that was not offered")
        if theirs.is_live and ((theirs.sends and not mine.receives) or (theirs.receives and not mine.sends)):
            raise MediaError(f"{theirs.direction} in answer to {mine.direction}")
        if theirs.is_live and not set(theirs.codecs) & set(mine.codecs):
            raise MediaError(f"{theirs.codecs} in answer to {mine.codecs}")


def _read_stream(section: str, head: str, session_host: str) -> Stream:
    kind, port, _, *types = section.split("\n", 1)[0].split(" ")
    names = dict(_STATIC)  # a stream that is refused need not say what its numbers mean
    for value in _values(section, "a=rtpmap:"):
        number, _, name = value.partition(" ")
        names[number] = name.partition("/")[0]
    host = _value(section, "c=", session_host).removeprefix("IN IP4 ")
    if not host:
        raise ValueError("no c=")
    lines = [*section.split("\n"), *head.split("\n")]
    direction = next((line[2:] for line in lines if line[2:] in _DIRECTIONS and line[:2] == "a="), "sendrecv")
    sends, receives = _DIRECTIONS[direction]
    return Stream(
        kind=kind,
        host=host,
        port=int(port),
        # A stream that is refused need not say what its numbers mean.
        codecs=tuple(names[number] for number in types if number in names or port != "0")
        or (next(iter(CODECS[kind])),),
        sends=sends,
        receives=receives and host != "0.0.0.0",
    )


def _values(text: str, start: str) -> list[str]:
    return [line[len(start) :] for line in text.split("\n") if line.startswith(start)]


def _value(text: str, start: str, default: str | None = None) -> str:
    values = _values(text, start)
    if values or default is None:
        return values[0]
    return default
