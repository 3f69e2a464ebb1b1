"""Presence as a document: PIDF (RFC 3863 section 4), as much of it as says who is there, and how to reach whom."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from sipd.errors import ParseError
from sipd.sip.xml_documents import is_xml_text, print_document, read_document, text_of

PRESENCE = "presence"
PIDF = "application/pidf+xml"

#: Tuples and notes of one document that are read; more are refused.
MAX_TUPLES = 64
_NAMESPACE = "urn:ietf:params:xml:ns:pidf"
_BASIC = {"open": True, "closed": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceTuple:
    """One way to reach somebody (RFC 3863 section 4.1.2).

    Args:
        id: tells the tuples of a document apart; a name that begins with a letter.
        is_open: whether that way is open; ``None`` where the document does not say.
        contact: the URI of that way; empty where there is none.
        priority: of the contact, 0.0 to 1.0; ``None`` where there is none.
        notes: for people.
        timestamp: when that was so, as RFC 3339 writes it; empty where it is not said.
    """

    id: str
    is_open: bool | None = None
    contact: str = ""
    priority: float | None = None
    notes: tuple[str, ...] = ()
    timestamp: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A presence document.

    Args:
        entity: whose presence it is: a URI.
        tuples: the ways to reach it; may be none.
        notes: about all of them.
    """

    entity: str
    tuples: tuple[PresenceTuple, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of_status(cls, entity: str, *, is_open: bool, contact: str = "", note: str = "") -> Presence:
        """Make the document of somebody who is reached in one way, or not.

        Args:
            entity: whose presence it is: a URI.
            is_open: whether it is reached.
            contact: where; may be empty.
            note: for people; may be empty.
        """
        notes = (note,) if note else ()
        return cls(entity=entity, tuples=(PresenceTuple(id="t1", is_open=is_open, contact=contact, notes=notes),))

    @classmethod
    def parse(cls, body: bytes) -> Presence:
        """Read a document; elements of other namespaces are left out (RFC 3863 section 4.2.5).

        Raises:
            ParseError: it cannot be read (`sipd.sip.xml_documents.read_document`), lacks its entity, or has more than
                `MAX_TUPLES` tuples or notes.
        """
        root = read_document(body, _name("presence"))
        entity = (root.get("entity") or "").strip()
        if not entity:
            raise ParseError("A presence document that does not say whose presence it is")
        tuples = root.findall(_name("tuple"))
        if len(tuples) > MAX_TUPLES:
            raise ParseError("A presence document with too many tuples")
        return cls(entity=entity, tuples=tuple([_read_tuple(one) for one in tuples]), notes=_read_notes(root))

    @property
    def is_open(self) -> bool:
        """Whether any way is open."""
        return any(one.is_open for one in self.tuples)

    def to_bytes(self) -> bytes:
        """Print the document.

        Raises:
            ParseError: there is something in it that may not stand in XML, such as a control character.
        """
        root = Element("presence", {"xmlns": _NAMESPACE, "entity": _checked(self.entity)})
        for one in self.tuples:
            _print_tuple(root, one)
        _print_notes(root, self.notes)
        return print_document(root)


def _read_tuple(element: Element) -> PresenceTuple:
    contact = element.find(_name("contact"))
    return PresenceTuple(
        id=element.get("id") or "",
        is_open=_BASIC.get(text_of(element.find(f"{_name('status')}/{_name('basic')}"))),
        contact=text_of(contact),
        priority=None if contact is None else _priority(contact.get("priority")),
        notes=_read_notes(element),
        timestamp=text_of(element.find(_name("timestamp"))),
    )


def _read_notes(element: Element) -> tuple[str, ...]:
    notes = element.findall(_name("note"))
    if len(notes) > MAX_TUPLES:
        raise ParseError("A presence document with too many notes")
    return tuple([text_of(note) for note in notes])


def _priority(text: str | None) -> float | None:
    """Read ``0``, ``0.5``, ``1.0``; what cannot be read counts as not said."""
    whole, _, fraction = (text or "").strip().partition(".")
    if whole not in ("0", "1") or not (fraction or "0").isascii() or not (fraction or "0").isdigit():
        return None
    priority = float(f"{whole}.{fraction[:3] or '0'}")
    return priority if priority <= 1.0 else None


def _print_tuple(root: Element, one: PresenceTuple) -> None:
    element = SubElement(root, "tuple", {"id": _checked(one.id)})
    status = SubElement(element, "status")
    if one.is_open is not None:
        SubElement(status, "basic").text = "open" if one.is_open else "closed"
    if one.contact:
        attributes = {} if one.priority is None else {"priority": f"{one.priority:.3f}".rstrip("0").rstrip(".")}
        SubElement(element, "contact", attributes).text = _checked(one.contact)
    _print_notes(element, one.notes)
    if one.timestamp:
        SubElement(element, "timestamp").text = _checked(one.timestamp)


def _print_notes(element: Element, notes: tuple[str, ...]) -> None:
    for note in notes:
        SubElement(element, "note").text = _checked(note)


def _checked(text: str) -> str:
    if not is_xml_text(text):
        raise ParseError("A text that may not stand in XML")
    return text


def _name(name: str) -> str:
    return f"{{{_NAMESPACE}}}{name}"
