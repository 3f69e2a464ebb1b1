"""What one leg may say and hear of a session: kinds of media, codecs, packet times, attributes, bandwidth.

RFC 8866 sections 5 and 6, RFC 3264 sections 5 and 6. The same is done to offers and answers, in both directions, and
doing it twice changes nothing. So what was filtered out of an offer is not in its answer either, no media line is ever
added, moved or taken away, and an answer stays one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from sipd.errors import SdpError
from sipd.sdp.codecs import allow_codecs, deny_codecs, encodings
from sipd.sdp.description import Direction, MediaDescription, Section, SessionDescription
from sipd.sdp.offer_answer import is_held, reject_stream

#: Attributes that no filter takes away: without them nobody could tell what the rest means, or where media goes.
_NEEDED = frozenset(
    (
        "rtpmap", "fmtp", "sendrecv", "sendonly", "recvonly", "inactive", "rtcp", "rtcp-mux", "crypto", "fingerprint",
        "setup", "mid", "group",
    )
)  # fmt: skip
#: Lines about people and their programs: information, URI, e-mail, phone; keys in the clear (obsolete).
_TELLING = ("i=", "u=", "e=", "p=", "k=")
_MAX_NAME = 128


class HoldForm(Enum):
    """How a leg is told that the other side puts it on hold (RFC 3264 section 8.4)."""

    PASS = "pass"
    SENDONLY = "sendonly"
    INACTIVE = "inactive"
    #: Not at all: it is to go on as before. What it sends is not heard, or recorded.
    HIDE = "hide"

    __hash__ = object.__hash__


_DIRECTIONS = {
    HoldForm.SENDONLY: Direction.SENDONLY,
    HoldForm.INACTIVE: Direction.INACTIVE,
    HoldForm.HIDE: Direction.SENDRECV,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecRule:
    """Which codecs streams of one kind may use, and in which order. Names as in `sipd.sdp.codecs.allow_codecs`.

    Args:
        kind: ``audio``, ``video``, ...; ``*`` for any.
        allow: those that stay, and what accompanies them, such as ``telephone-event``; all if empty.
        deny: those that do not, ``telephone-event`` too if it is named.
        order: those that come first, in this order; the others follow as they come.
    """

    kind: str = "audio"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    def apply(self, media: MediaDescription) -> MediaDescription:
        """Give a stream with these codecs; disabled if none is left."""
        if self.kind not in ("*", media.media.lower()):
            return media
        if self.allow:
            media = allow_codecs(self.allow)(media)
        if self.deny and not media.is_disabled:
            media = deny_codecs(self.deny)(media)
        if self.order and not media.is_disabled and media.is_rtp:
            media = self._sort(media)
        return media

    def _sort(self, media: MediaDescription) -> MediaDescription:
        last = len(self.order)
        places = {name: place for place, name in reversed(list(enumerate(self.order)))}
        ranked = [
            (min(places.get(encoding, last), places.get(encoding.partition("/")[0], last)), number, format_)
            for number, (format_, encoding) in enumerate(encodings(media).items())
        ]
        ordered = tuple([format_ for _, _, format_ in sorted(ranked)])
        return media if ordered == media.formats else media.with_formats(ordered)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionPolicy:
    """What one leg says and hears of a session. Globs are expressions for whole names in lower case, ready made.

    Args:
        kinds: media that may be used, in lower case; any if empty.
        denied_kinds: media that may not.
        codecs: rules for codecs, one after the other.
        ptime: milliseconds of sound in a packet, of each RTP stream with audio (RFC 8866 section 6.4); ``None`` to
            leave that as it is.
        maxptime: the same for the most that there may be.
        attributes: those that stay; ``None`` for all. What nobody can do without stays in any case.
        denied_attributes: those that do not.
        bandwidth: the most that ``b=AS``, ``CT`` and ``TIAS`` say, in kilobit a second; ``None`` to leave that as it
            is, 0 to leave all ``b=`` lines out.
        is_bare: whether what tells of people and programs is left out: ``s=`` says nothing, and ``i=``, ``u=``, ``e=``,
            ``p=``, ``k=`` and ``a=tool`` are not there.
        hold: how it is told that the other side puts it on hold; `tell_hold` does that, `apply` does not.
    """

    kinds: frozenset[str] = frozenset()
    denied_kinds: frozenset[str] = frozenset()
    codecs: tuple[CodecRule, ...] = ()
    ptime: int | None = None
    maxptime: int | None = None
    attributes: re.Pattern[str] | None = None
    denied_attributes: re.Pattern[str] | None = None
    bandwidth: int | None = None
    is_bare: bool = False
    hold: HoldForm = HoldForm.PASS

    @property
    def _looks_at_lines(self) -> bool:
        """Whether lines have to be looked at one by one."""
        return (
            self.is_bare
            or self.bandwidth is not None
            or self.attributes is not None
            or self.denied_attributes is not None
        )

    def apply(self, description: SessionDescription) -> SessionDescription:
        """Give a description as that leg may say or hear it.

        Raises:
            SdpError: there was something to talk about, and nothing is left of it.
        """
        media = tuple([self._stream(stream) for stream in description.media])
        text = description.text
        if self._looks_at_lines:
            text = "\r\n".join(self._lines(description)) + "\r\n"
        if media == description.media and text == description.text:
            return description
        if all(stream.is_disabled for stream in media) and not all(stream.is_disabled for stream in description.media):
            raise SdpError("no media is left that may be used")
        return SessionDescription(text, media)

    def _stream(self, media: MediaDescription) -> MediaDescription:
        if not media.is_disabled:
            kind = media.media.lower()
            if kind in self.denied_kinds or (self.kinds and kind not in self.kinds):
                return reject_stream(media)
            for rule in self.codecs:
                if not media.is_disabled:
                    media = rule.apply(media)
            if kind == "audio" and media.is_rtp and not media.is_disabled:
                media = self._timed(media)
        if self._looks_at_lines:
            lines = self._lines(media)
            if len(lines) != len(media.lines) or tuple(lines) != media.lines:
                media = MediaDescription(lines=lines)
        return media

    def _timed(self, media: MediaDescription) -> MediaDescription:
        if self.ptime is not None:
            media = media.with_attribute("ptime", str(self.ptime))
            longest = media.attribute("maxptime")
            if self.maxptime is None and longest is not None and not _at_least(longest, self.ptime):
                media = media.with_attribute("maxptime", str(self.ptime))
        if self.maxptime is not None:
            media = media.with_attribute("maxptime", str(self.maxptime))
        return media

    def _lines(self, section: Section) -> list[str]:
        kept = []
        for line in section.lines:
            if line.startswith("a="):
                if self._keeps_attribute(line[2:].partition(":")[0].lower()):
                    kept.append(line)
            elif line.startswith("b="):
                limited = self._limited(line)
                if limited:
                    kept.append(limited)
            elif self.is_bare and line.startswith("s="):
                kept.append("s=-")
            elif not (self.is_bare and line.startswith(_TELLING)):
                kept.append(line)
        return kept

    def _keeps_attribute(self, name: str) -> bool:
        if name in _NEEDED or (name == "ptime" and self.ptime is not None):
            return True
        if name == "maxptime" and self.maxptime is not None:
            return True
        if (self.is_bare and name == "tool") or len(name) > _MAX_NAME:
            return False
        if self.denied_attributes is not None and self.denied_attributes.fullmatch(name):
            return False
        return self.attributes is None or self.attributes.fullmatch(name) is not None

    def _limited(self, line: str) -> str:
        """Give a ``b=`` line that says no more than it may; empty if it is left out."""
        limit = self.bandwidth
        if limit is None:
            return line
        kind, _, value = line[2:].partition(":")
        factor = {"AS": 1, "CT": 1, "TIAS": 1000}.get(kind.upper())
        if not limit:
            return ""
        if factor is None or not (value.isascii() and value.isdigit()) or len(value) > 15:
            return line
        return f"b={kind}:{min(int(value), limit * factor)}"


def _at_least(text: str, least: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and int(text) >= least


def tell_hold(description: SessionDescription, form: HoldForm) -> SessionDescription:
    """Give an offer in which streams that are put on hold say so in that form. 0.0.0.0 stays where it is.

    Raises:
        SdpError: an address is malformed.
    """
    if form is HoldForm.PASS:
        return description
    direction = _DIRECTIONS[form]
    media = tuple(
        [
            stream if stream.is_disabled or not is_held(description, stream) else stream.with_direction(direction)
            for stream in description.media
        ]
    )
    return description if media == description.media else SessionDescription(description.text, media)
