"""What a leg asks for while there is nobody who could be asked: it may try again, but is not left without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.ua.events import Referred, Reinvited, Requested, Updated

if TYPE_CHECKING:
    from sipd.b2bua.leg import Leg


def put_off(leg: Leg, event: object) -> None:
    """Refuse for now what a leg asks for, if ``event`` is that.

    A change gets 491 (RFC 3261 section 14.2), a REFER 500 with Retry-After, anything else 480.
    """
    match event:
        case Reinvited(answering):
            answering.reject(491)
        case Updated(updating):
            updating.reject(491)
        case Referred(referring):
            error = leg.session.too_early("Another transfer is under way")
            referring.answer(error.status, error.reason, error.headers)
        case Requested(requesting):
            requesting.answer(480)
