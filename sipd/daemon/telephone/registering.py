"""``sipd phone register``: registers, and stays so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from twisted.internet.defer import TimeoutError
from twisted.internet.task import LoopingCall

from sipd.daemon.telephone.desk import NO_ANSWER, Desk, exit_status
from sipd.daemon.telephone.settings import LineWanted, places_of
from sipd.errors import RemoteError
from sipd.phone.phone import Phone
from sipd.sip.registrant import Failure

#: Seconds between two looks at how a registration is.
_LOOK = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterWanted:
    """A registration that is wanted.

    Args:
        line: that registers; it has an account.
        is_once: whether it ends when it is known how that goes.
        removes_all: whether every binding of the account is removed instead.
    """

    line: LineWanted
    is_once: bool = False
    removes_all: bool = False


async def stay_registered(desk: Desk, wanted: RegisterWanted) -> int:
    """Register until ``q`` is typed, or just once, or remove every binding; give the exit status.

    Raises:
        LocalError: the line cannot be opened.
    """
    line = wanted.line
    async with desk.phone(line, places_of(line.account)) as phone:
        if wanted.removes_all:
            return await _remove_all(desk, phone, line.timeout)
        status = await register(desk, phone, line.timeout)
        if status == 0 and not wanted.is_once:
            with watched(desk, phone):
                await desk.keys.when_quit()
        return status


async def register(desk: Desk, phone: Phone, timeout: float) -> int:
    """Register, and say how that went; give the exit status."""
    screen = desk.screen
    try:
        registration = await phone.register().addTimeout(timeout, desk.reactor)
    except RemoteError as error:
        failure = None if phone.registration is None else phone.registration.failure
        status = error.status if failure is None else failure.status
        screen.fail(_refusal(status, str(error)), status=status)
        return 1
    except TimeoutError:
        failure = None if phone.registration is None else phone.registration.failure
        reason = "nobody has answered" if failure is None else failure.text
        screen.fail(f"not registered within {timeout:g} s: {reason}", status=None)
        return NO_ANSWER
    contacts = [str(binding) for binding in registration.bindings]
    screen.show(
        "registered",
        f"registered {registration.settings.aor} for {registration.expires:.0f} s, {len(contacts)} contacts",
        aor=str(registration.settings.aor),
        expires=round(registration.expires),
        registrar=str(registration.registrar),
        contacts=contacts,
        service_route=list(registration.service_route),
    )
    return 0


@contextmanager
def watched(desk: Desk, phone: Phone) -> Iterator[None]:
    """Say when a registration is refused or lost, and when it is there again, for as long as this lasts."""
    registration = phone.registration
    was_registered = True
    last: Failure | None = None

    def look() -> None:
        nonlocal was_registered, last
        if registration is None:
            return
        failure, is_registered = registration.failure, registration.is_registered
        if (failure is not None and failure is not last) or (was_registered and not is_registered):
            status, text = (0, "it has expired") if failure is None else (failure.status, failure.text)
            state = "still registered" if is_registered else "not registered"
            desk.screen.fail(f"{state}: {_refusal(status, text)}", status=status or None, registered=is_registered)
        if is_registered and (not was_registered or (last is not None and failure is None)):
            desk.screen.show("registered", "registered again", expires=round(registration.expires))
        was_registered, last = is_registered, failure

    looking = LoopingCall(look)
    looking.clock = desk.reactor
    looking.start(_LOOK)
    try:
        yield
    finally:
        looking.stop()


async def _remove_all(desk: Desk, phone: Phone, timeout: float) -> int:
    try:
        response = await phone.unregister_all().addTimeout(timeout, desk.reactor)
    except RemoteError as error:
        desk.screen.fail(str(error), status=error.status)
        return exit_status(error)
    except TimeoutError:
        desk.screen.fail(f"nobody has answered in {timeout:g} s", status=None)
        return NO_ANSWER
    text = f"{response.status} {response.reason}"
    if not response.is_success:
        desk.screen.fail(text, status=response.status)
        return 1
    desk.screen.show("unregistered", f"every contact is removed: {text}", status=response.status)
    return 0


def _refusal(status: int, text: str) -> str:
    return text if not status or text.startswith(str(status)) else f"{status} {text}"
