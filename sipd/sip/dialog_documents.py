"""Who is in a call, as a document: dialog information (RFC 4235 section 4), as much of it as a lamp needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from sipd.errors import ParseError
from sipd.sip.grammar import parse_number
from sipd.sip.xml_documents import print_document, read_document, text_of

DIALOG = "dialog"
DIALOG_INFO = "application/dialog-info+xml"

#: Dialogs of one document that are read; more are refused.
MAX_DIALOGS = 256
_NAMESPACE = "urn:ietf:params:xml:ns:dialog-info"
_STATES = frozenset(("trying", "proceeding", "early", "confirmed", "terminated"))


@dataclass(frozen=True, slots=True)
class Lamp:
    """One end of one call, as a watcher of its user sees it.

    Args:
        id: names it, as long as it lives.
        direction: ``initiator`` or ``recipient``; empty where that is not said.
        state: ``trying``, ``proceeding``, ``early``, ``confirmed`` or ``terminated``.
    """

    id: str
    direction: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogInfo:
    """What a document says.

    Args:
        entity: whose calls they are: a URI.
        version: one more than that of the document before, in each subscription.
        is_full: whether all calls are in it; else only those that have changed since.
        lamps: the ends of calls.
    """

    entity: str
    version: int
    is_full: bool
    lamps: tuple[Lamp, ...] = ()

    @classmethod
    def parse(cls, body: bytes) -> DialogInfo:
        """Read a document; what it says of the other side, and of Call-IDs and tags, is left out.

        Raises:
            ParseError: it cannot be read (`sipd.sip.xml_documents.read_document`), lacks its version, entity or the
                state of a dialog, or has more than `MAX_DIALOGS` of them.
        """
        root = read_document(body, _name("dialog-info"))
        entity, state = (root.get("entity") or "").strip(), root.get("state")
        if not entity or state not in ("full", "partial"):
            raise ParseError("A dialog information that does not say of whom, or how much")
        dialogs = root.findall(_name("dialog"))
        if len(dialogs) > MAX_DIALOGS:
            raise ParseError("A dialog information with too many dialogs")
        return cls(
            entity=entity,
            version=parse_number(root.get("version") or "", "version"),
            is_full=state == "full",
            lamps=tuple([_read(dialog) for dialog in dialogs]),
        )

    @property
    def is_busy(self) -> bool:
        """Whether any of the calls that it names goes on."""
        return any(lamp.state != "terminated" for lamp in self.lamps)


def dialog_info(entity: str, version: int, lamps: Iterable[Lamp]) -> bytes:
    """Print a dialog information document with the full state (RFC 4235 section 4.1)."""
    root = Element("dialog-info", {"xmlns": _NAMESPACE, "version": str(version), "state": "full", "entity": entity})
    for lamp in lamps:
        dialog = SubElement(root, "dialog", {"id": lamp.id, "direction": lamp.direction})
        SubElement(dialog, "state").text = lamp.state
    return print_document(root)


def _read(dialog: Element) -> Lamp:
    state = text_of(dialog.find(_name("state")))
    if state not in _STATES:
        raise ParseError("A dialog in a state that is not known")
    return Lamp(dialog.get("id") or "", dialog.get("direction") or "", state)


def _name(name: str) -> str:
    return f"{{{_NAMESPACE}}}{name}"
