"""Codecs: which ones two descriptions share, and which ones a leg may use (RFC 3264 sections 5.1, 6.1 and 8.3.2).

A codec is known by its encoding (``opus/48000/2``), not by its payload type: that may differ between the two sides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sipd.errors import SdpError
from sipd.sdp.description import MediaDescription, SessionDescription
from sipd.sdp.offer_answer import reject_stream

#: Gives a stream with the codecs that may stay, or the same stream; see `allow_codecs`.
CodecFilter = Callable[[MediaDescription], MediaDescription]

#: Encodings of the payload types that need no ``a=rtpmap`` (RFC 3551 section 6, tables 4 and 5).
_STATIC = {
    "0": "pcmu/8000",
    "3": "gsm/8000",
    "4": "g723/8000",
    "5": "dvi4/8000",
    "6": "dvi4/16000",
    "7": "lpc/8000",
    "8": "pcma/8000",
    "9": "g722/8000",
    "10": "l16/44100/2",
    "11": "l16/44100",
    "12": "qcelp/8000",
    "13": "cn/8000",
    "14": "mpa/90000",
    "15": "g728/8000",
    "16": "dvi4/11025",
    "17": "dvi4/22050",
    "18": "g729/8000",
    "25": "celb/90000",
    "26": "jpeg/90000",
    "28": "nv/90000",
    "31": "h261/90000",
    "32": "mpv/90000",
    "33": "mp2t/90000",
    "34": "h263/90000",
}
#: What accompanies a codec and is none: a stream of these alone is of no use.
_AUXILIARY = frozenset(("telephone-event", "cn", "red", "rtx", "ulpfec", "flexfec-03"))
#: Attributes whose value begins with a payload type (RFC 8866 section 6, RFC 4585 section 4.2).
_PER_FORMAT = ("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A codec that both sides named.

    Args:
        encoding: name, clock rate and channels in lower case, one channel left off: ``pcmu/8000``. For a stream that is
            not RTP, and for a payload type that nobody explains, the format itself.
        local: its format in this side's description: what the peer marks its packets with.
        remote: its format in the peer's.
    """

    encoding: str
    local: str
    remote: str

    @property
    def name(self) -> str:
        """The encoding without its clock rate: ``pcmu``."""
        return self.encoding.partition("/")[0]


def encodings(media: MediaDescription) -> dict[str, str]:
    """Give format to encoding, in the order of preference. See `Codec` for how an encoding is written."""
    if not media.is_rtp:
        return {format_: format_.lower() for format_ in media.formats}
    maps = media.rtpmaps
    return {
        format_: _canonical(maps[format_]) if format_ in maps else _STATIC.get(format_, format_)
        for format_ in media.formats
    }


def agreed_codecs(local: MediaDescription, remote: MediaDescription) -> tuple[Codec, ...]:
    """Give the codecs that both descriptions of a stream name, in the order of the local one."""
    theirs = encodings(remote)
    found = []
    for format_, encoding in encodings(local).items():
        # The same payload type first: a codec may be there several times, with different parameters.
        other = format_ if theirs.get(format_) == encoding else _key_of(theirs, encoding)
        if other is not None:
            del theirs[other]
            found.append(Codec(encoding=encoding, local=format_, remote=other))
    return tuple(found)


def agreed_encodings(local: SessionDescription, remote: SessionDescription) -> tuple[str, ...]:
    """Give the codecs of all streams that two descriptions share, in order, each once, without what accompanies them.

    The encodings are written as in `Codec`; of a stream that is refused there are none.
    """
    found: dict[str, None] = {}
    for mine, theirs in zip(local.media, remote.media, strict=False):
        if not mine.is_disabled and not theirs.is_disabled:
            named = encodings(theirs).values()
            for encoding in encodings(mine).values():
                if encoding in named and encoding.partition("/")[0] not in _AUXILIARY:
                    found[encoding] = None
    return tuple(found)


def allow_codecs(names: Collection[str]) -> CodecFilter:
    """Make a filter that lets only these codecs through, and what accompanies them, such as ``telephone-event``.

    Args:
        names: in lower case, with or without clock rate: ``pcmu``, ``l16/44100/2``.
    """
    allowed = frozenset(names)
    return lambda media: _keep(media, lambda encoding, name: name in allowed or encoding in allowed or _helps(name))


def deny_codecs(names: Collection[str]) -> CodecFilter:
    """Make a filter that takes these codecs out, ``telephone-event`` too if named. Arguments as `allow_codecs`."""
    denied = frozenset(names)
    return lambda media: _keep(media, lambda encoding, name: name not in denied and encoding not in denied)


def filter_codecs(description: SessionDescription, codec_filter: CodecFilter) -> SessionDescription:
    """Give a description whose streams have passed a filter.

    Raises:
        SdpError: there was something to talk about, and nothing is left of it.
    """
    media = tuple([stream if stream.is_disabled else codec_filter(stream) for stream in description.media])
    if media == description.media:
        return description
    if all(stream.is_disabled for stream in media):
        raise SdpError("no codec is left that may be used")
    return SessionDescription(lines=description.lines, media=media)


def _keep(media: MediaDescription, is_kept: Callable[[str, str], bool]) -> MediaDescription:
    """Give a stream with those formats whose encoding and name pass; disabled if no codec is left.

    Streams that are not RTP have no codecs, and stay as they are.
    """
    if not media.is_rtp:
        return media
    known = encodings(media)
    kept = {format_: name for format_, encoding in known.items() if is_kept(encoding, name := encoding.split("/")[0])}
    kept = _without_orphans(media, kept)
    if len(kept) == len(known):
        return media
    if all(_helps(name) for name in kept.values()):
        return reject_stream(media)
    dropped = known.keys() - kept.keys()
    lines = [line for line in media.lines if not (line.startswith(_PER_FORMAT) and _format_of(line) in dropped)]
    return MediaDescription(lines=tuple(lines)).with_formats(kept)


def _without_orphans(media: MediaDescription, kept: dict[str, str]) -> dict[str, str]:
    """Leave out retransmissions of what is not kept (``apt``, RFC 4588 section 8.1)."""
    orphans = set()
    for name, value in media.attributes:
        if name == "fmtp" and value is not None:
            format_, _, parameters = value.partition(" ")
            key, _, apt = parameters.strip().partition("=")
            if key == "apt" and apt.partition(";")[0] not in kept:
                orphans.add(format_)
    return {format_: name for format_, name in kept.items() if format_ not in orphans}


def _helps(name: str) -> bool:
    return name in _AUXILIARY


def _format_of(line: str) -> str:
    return line.partition(":")[2].split(None, 1)[0] if line[-1] != ":" else ""


def _canonical(encoding: str) -> str:
    name, _, rest = encoding.strip().lower().partition("/")
    rate, _, channels = rest.partition("/")
    return f"{name}/{rate}" if channels in ("", "1") else f"{name}/{rate}/{channels}"


def _key_of(formats: dict[str, str], encoding: str) -> str | None:
    return next((format_ for format_, other in formats.items() if other == encoding), None)
