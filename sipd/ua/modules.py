"""Modules above and below the transaction layer, that may take what comes before others see it.

Modules are asked in the order of their priorities, the lowest number first, as those of PJSIP are; what none of them
takes goes where it would have gone without them. They are added and removed at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2s
from typing import Generic, Protocol, TypeVar

from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import InvalidStateError, RemoteError, RequestRefusedError, TransportError
from sipd.interfaces import (
    Entropy,
    IFlow,
    IMessageReceiver,
    IServerTransaction,
    ITransactionCore,
    ITransportLayer,
)
from sipd.sip.message import Request, Response
from sipd.ua.interfaces import IMessageModule, IModule

#: Priorities for orientation, in the steps that PJSIP has; any number will do.
PROXY, DIALOGS, APPLICATION = 32, 48, 64


@implementer(IModule)
class Module:
    """Passes everything on: a base class for modules that are interested in some of it.

    Args:
        priority: its place.
    """

    def __init__(self, priority: int = APPLICATION) -> None:
        self.priority: int = priority

    def request_received(self, transaction: IServerTransaction) -> bool:
        """See `IModule`."""
        return False

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> bool:
        """See `IModule`."""
        return False

    def ack_received(self, ack: Request, flow: IFlow) -> bool:
        """See `IModule`."""
        return False

    def response_received(self, response: Response, flow: IFlow) -> bool:
        """See `IModule`."""
        return False


class _HasPriority(Protocol):
    priority: int


M = TypeVar("M", bound=_HasPriority)


class _Ordered(Generic[M]):
    """Modules in the order in which they are asked."""

    def __init__(self) -> None:
        # A new one at each change: whoever goes through the old one is not disturbed.
        self._modules: tuple[M, ...] = ()

    def __iter__(self) -> Iterator[M]:
        """Give them, the first to be asked first."""
        return iter(self._modules)

    def __len__(self) -> int:
        """Count them."""
        return len(self._modules)

    def add(self, module: M) -> None:
        """Let a module take part from now on: behind those of its priority that are there.

        Raises:
            InvalidStateError: it is there already.
        """
        if any(known is module for known in self._modules):
            raise InvalidStateError(f"{module!r} is there already")
        self._modules = tuple(sorted((*self._modules, module), key=lambda one: one.priority))

    def remove(self, module: M) -> None:
        """Let a module take part no more. Does nothing if it is not there.

        What it has taken is still its own: transactions tell their users, not modules.
        """
        self._modules = tuple(known for known in self._modules if known is not module)


@implementer(ITransactionCore)
class Modules(_Ordered[IModule]):
    """Modules above the transactions: set this as the `core` of the transaction layer.

    A module that fails is logged. A request is answered with 500 then; a CANCEL, an ACK or a response goes on to the
    next module, which may be the one that waits for it.

    Args:
        core: who gets what no module takes: the user agent.
    """

    _log = Logger()

    def __init__(self, core: ITransactionCore) -> None:
        super().__init__()
        self.core = core

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        for module in self._modules:
            try:
                if module.request_received(transaction):
                    return
            except RemoteError:
                raise  # the layer answers with its status
            except Exception:
                self._log.failure("{module} failed on {request}", module=module, request=transaction.request)
                raise RequestRefusedError("Server Internal Error", status=500) from None
        self.core.request_received(transaction)

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        for module in self._modules:
            try:
                if module.cancel_received(cancel, transaction):
                    return
            except Exception:
                self._log.failure("{module} failed on {request}", module=module, request=cancel)
        self.core.cancel_received(cancel, transaction)

    def ack_received(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionCore`."""
        for module in self._modules:
            try:
                if module.ack_received(ack, flow):
                    return
            except Exception:
                self._log.failure("{module} failed on {request}", module=module, request=ack)
        self.core.ack_received(ack, flow)

    def response_received(self, response: Response, flow: IFlow) -> None:
        """See `ITransactionCore`."""
        for module in self._modules:
            try:
                if module.response_received(response, flow):
                    return
            except Exception:
                self._log.failure("{module} failed on {response}", module=module, response=response)
        self.core.response_received(response, flow)


@implementer(IMessageReceiver)
class MessageModules(_Ordered[IMessageModule]):
    """Modules below the transactions: set this as the `receiver` of the transport layer.

    A module that fails is logged. A request is answered with 500 then, without a transaction; a response goes on to
    the next module. A `RemoteError` for a request is what it is answered with, and not logged.

    Args:
        receiver: who gets what no module takes: the transaction layer.
        transport: sends those answers.
        entropy: makes the key of their To tags, which are the same for each copy of a request.
    """

    _log = Logger()

    def __init__(self, receiver: IMessageReceiver, *, transport: ITransportLayer, entropy: Entropy) -> None:
        super().__init__()
        self.receiver = receiver
        self._transport = transport
        self._tag_key = entropy(16)

    def message_received(self, message: Request | Response, flow: IFlow) -> None:
        """See `IMessageReceiver`."""
        for module in self._modules:
            try:
                if module.message_received(message, flow):
                    return
            except Exception as error:
                is_remote = isinstance(error, RemoteError)
                if not is_remote:
                    self._log.failure("{module} failed on {message}", module=module, message=message)
                if isinstance(message, Request):
                    self._refuse(message, error if is_remote else None, flow)
                    return
        self.receiver.message_received(message, flow)

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """See `IMessageReceiver`."""
        for module in self._modules:
            try:
                module.flow_failed(flow, error)
            except Exception:
                self._log.failure("{module} failed on the failure of {flow}", module=module, flow=str(flow))
        self.receiver.flow_failed(flow, error)

    def tag(self, request: Request) -> str:
        """Give a To tag for answers without a transaction (RFC 3261 section 8.2.7)."""
        name = f"{request.call_id} {request.via.branch}".encode("utf-8", "surrogateescape")
        return blake2s(name, key=self._tag_key, digest_size=8).hexdigest()

    def _refuse(self, request: Request, error: Exception | None, flow: IFlow) -> None:
        if request.method == "ACK":
            return
        status, reason = (error.status, error.reason) if isinstance(error, RemoteError) else (500, None)
        headers = error.headers if isinstance(error, RequestRefusedError) else ()
        response = request.response(status, reason, to_tag=self.tag(request), headers=headers)
        self._transport.send_response(response, flow)
