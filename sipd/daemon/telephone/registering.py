"""``sipd phone register``: registers, and stays so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from twisted.internet.defer import TimeoutError

from sipd.daemon.telephone.desk import NO_ANSWER, Desk, exit_status
from sipd.daemon.telephone.settings import LineWanted, places_of
from sipd.errors import RemoteError
from sipd.phone.phone import Phone
from sipd.ua.registering import Expired, Failed, Registered, RegistrationEvent


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
    was_good = True

    def told(event: RegistrationEvent) -> None:
        nonlocal was_good
        is_registered = phone.registration is not None and phone.registration.is_registered
        match event:
            case Failed(status=status, text=text):
                was_good = False
                state = "still registered" if is_registered else "not registered"
                screen.fail(f"{state}: {_refusal(status, text)}", status=status or None, registered=is_registered)
            case Expired():
                was_good = False
                screen.fail("not registered: it has expired", status=None, registered=False)
            case Registered(expires=expires) if not was_good:
                was_good = True
                screen.show("registered", "registered again", expires=round(expires))
            case _:
                pass

    screen = desk.screen
    phone.on_registration = told
    try:
        yield
    finally:
        phone.on_registration = None


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
