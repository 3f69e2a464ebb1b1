"""XML that a peer sent, read without harm: PIDF, dialog information and their like.

No document type is read, so there are no entities to be expanded and nothing to be fetched; size and depth are bounded.
An error in a handler does not end what expat does with the octets that it has, so a document type is looked for before
it gets them. That nothing but UTF-8 is read, whatever a document says of itself, makes sure that it is found.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, TreeBuilder, XMLParser, tostring
from xml.etree.ElementTree import ParseError as XmlError

from sipd.errors import ParseError

#: The bounds of a document: octets, elements, and elements within elements.
MAX_DOCUMENT_OCTETS = 65536
MAX_ELEMENTS = 4096
MAX_DEPTH = 32
_ENCODING = "utf-8"
#: How a document type begins: there is no other way to write it.
_DOCUMENT_TYPE = b"<!DOCTYPE"


class _BoundedBuilder(TreeBuilder):
    """Builds a tree, and refuses what has too much in it."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0
        self._elements = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        """Take the start of an element."""
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise ParseError("A document with too many elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        """Take the end of an element."""
        self._depth -= 1
        return super().end(tag)


def read_document(body: bytes, root: str) -> Element:
    """Read a document.

    Args:
        body: octets, UTF-8; more than `MAX_DOCUMENT_OCTETS` are refused unread.
        root: what its outermost element must be, as ``{namespace}name``.

    Raises:
        ParseError: it is too large, too deep, not well-formed, no UTF-8, has a document type (or the beginning of one
            in a comment or the like), or is another document.
    """
    if len(body) > MAX_DOCUMENT_OCTETS:
        raise ParseError("A document that is too large")
    if _DOCUMENT_TYPE in body:
        raise ParseError("A document with a document type")
    parser = XMLParser(target=_BoundedBuilder(), encoding=_ENCODING)
    try:
        # Expat reads UTF-16 where it sees it, also when it is told not to; a document type in that has zeros.
        if "\0" in body.decode(_ENCODING):
            raise ParseError("A document with a character that may not stand in XML")
        parser.feed(body)
        element: Element = parser.close()
    except (XmlError, ValueError, LookupError) as error:
        raise ParseError("A document that is no well-formed XML") from error
    if element.tag != root:
        raise ParseError("A document of another kind")
    return element


def print_document(root: Element) -> bytes:
    """Print a document, with its declaration, in UTF-8."""
    printed: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return printed


def text_of(element: Element | None) -> str:
    """Give the text of an element without the white space around it; empty where there is no such element."""
    return "" if element is None else (element.text or "").strip()


def is_xml_text(text: str) -> bool:
    """Say whether a text may stand in a document: there are no control characters and no lone surrogates in it."""
    return all(
        code in (0x9, 0xA, 0xD) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code > 0xFFFF
        for code in map(ord, text)
    )
