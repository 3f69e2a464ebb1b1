"""One readable line for each registration."""

from __future__ import annotations

from twisted.logger import Logger
from zope.interface import implementer

from sipd.interfaces import Binding, IRegistrationObserver
from sipd.sip.grammar import printable
from sipd.sip.locate import Target


@implementer(IRegistrationObserver)
class RegistrationLog:
    """Writes to the log: ``alice registered sip:alice@10.0.0.7 from 10.0.0.7:5060 over UDP for 300 s``.

    A refresh is what a phone does all day: it is written at debug level.
    """

    _log = Logger()

    def binding_made(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        self._log.info(
            "{user} registered {contact}{source} for {expires} s",
            user=_user(binding.aor),
            contact=printable(str(binding.uri)),
            source=_came_from(binding),
            expires=expires,
        )

    def binding_refreshed(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        self._log.debug(
            "{user} refreshed {contact}{source} for {expires} s",
            user=_user(binding.aor),
            contact=printable(str(binding.uri)),
            source=_came_from(binding),
            expires=expires,
        )

    def binding_removed(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self._log.info("{user} unregistered {contact}", user=_user(binding.aor), contact=printable(str(binding.uri)))

    def binding_expired(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self._log.info("{user} did not refresh {contact}", user=_user(binding.aor), contact=printable(str(binding.uri)))

    def registration_refused(self, aor: str, source: Target, status: int, reason: str) -> None:
        """See `IRegistrationObserver`."""
        self._log.info(
            "{source} was refused as {user}: {status} {reason}",
            source=_address(source),
            user=_user(aor),
            status=status,
            reason=printable(reason),
        )


def _user(aor: str) -> str:
    return printable(aor.removeprefix("sip:").partition("@")[0])


def _came_from(binding: Binding) -> str:
    source = binding.source
    return "" if source is None else f" from {_address(source)} over {source.transport.value}"


def _address(target: Target) -> str:
    return f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
