"""Modules above and below the transaction layer: who is asked first, who takes what, and what a mistake costs."""

from __future__ import annotations

from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError, RequestRefusedError, TransportError
from sipd.interfaces import IFlow, IMessageReceiver, IServerTransaction, ITransactionCore
from sipd.sip.message import Request, Response
from sipd.ua.interfaces import IMessageModule, IModule
from sipd.ua.modules import APPLICATION, DIALOGS, PROXY, MessageModules, Module, Modules
from tests.transaction.fakes import Entropy, LayerTestCase, make_request


class Above(Module):
    """Notes what it is asked, and takes what it is told to.

    Args:
        name: for the notes.
        notes: shared by all.
        priority: its place.
        takes: whether it takes what comes.
        error: what it raises instead.
    """

    def __init__(
        self,
        name: str,
        notes: list[str],
        priority: int = APPLICATION,
        *,
        takes: bool = False,
        error: Exception | None = None,
    ) -> None:
        super().__init__(priority)
        self.name = name
        self.notes = notes
        self.takes = takes
        self.error = error

    def request_received(self, transaction: IServerTransaction) -> bool:
        """See `IModule`. Answers what it takes."""
        if self._note(transaction.request.method):
            transaction.respond(transaction.request.response(202, to_tag="m"))
        return self.takes

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> bool:
        """See `IModule`."""
        return self._note(cancel.method)

    def ack_received(self, ack: Request, flow: IFlow) -> bool:
        """See `IModule`."""
        return self._note(ack.method)

    def response_received(self, response: Response, flow: IFlow) -> bool:
        """See `IModule`."""
        return self._note(str(response.status))

    def _note(self, what: str) -> bool:
        self.notes.append(f"{self.name} {what}")
        if self.error is not None:
            raise self.error
        return self.takes


@implementer(IMessageModule)
class Below:
    """The same below the transactions."""

    def __init__(
        self, name: str, notes: list[str], priority: int = 0, *, takes: bool = False, error: Exception | None = None
    ) -> None:
        self.name = name
        self.notes = notes
        self.priority: int = priority
        self.takes = takes
        self.error = error

    def message_received(self, message: Request | Response, flow: IFlow) -> bool:
        """See `IMessageModule`."""
        self.notes.append(f"{self.name} {message.method if isinstance(message, Request) else message.status}")
        if self.error is not None:
            raise self.error
        return self.takes

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """See `IMessageModule`."""
        self.notes.append(f"{self.name} {error}")
        if self.error is not None:
            raise self.error


class AboveTests(LayerTestCase):
    """Modules between the transactions and the core."""

    def setUp(self) -> None:
        """Put modules under the core."""
        super().setUp()
        self.modules = Modules(self.core)
        self.layer.core = self.modules
        self.notes: list[str] = []

    def module(self, name: str, priority: int = APPLICATION, **options: object) -> Above:
        """Add a module."""
        module = Above(name, self.notes, priority, **options)  # type: ignore[arg-type]
        self.modules.add(module)
        return module

    def receive(self, method: str = "OPTIONS", branch: str = "z9hG4bK1", **options: object) -> None:
        """Let a request come in."""
        self.layer.message_received(make_request(method, branch=branch, **options), self.flow)  # type: ignore[arg-type]

    def finish(self) -> None:
        """Let the core answer what it was given."""
        for transaction in self.core.transactions:
            transaction.respond(transaction.request.response(486, to_tag="c"))

    def test_interfaces(self) -> None:
        """Modules are cores and receivers; the fakes of these tests are modules."""
        verifyObject(ITransactionCore, self.modules)
        verifyObject(IModule, Above("a", []))
        verifyObject(IModule, Module())
        verifyObject(IMessageModule, Below("a", []))
        below = MessageModules(self.layer, transport=self.transport, entropy=Entropy())
        verifyObject(IMessageReceiver, below)

    def test_order(self) -> None:
        """The lowest priority is asked first, equal ones in the order in which they were added; then the core."""
        for name, priority in (("last", APPLICATION), ("proxy", PROXY), ("one", DIALOGS), ("two", DIALOGS)):
            self.module(name, priority)
        self.receive()
        self.assertEqual(self.notes, ["proxy OPTIONS", "one OPTIONS", "two OPTIONS", "last OPTIONS"])
        self.assertEqual(len(self.core.transactions), 1)
        self.assertEqual(len(self.modules), 4)
        self.finish()

    def test_passes_everything(self) -> None:
        """A plain module passes on all that comes."""
        self.modules.add(Module())
        self.receive("INVITE")
        self.receive("CANCEL")
        self.receive("ACK", "z9hG4bKother")
        self.layer.message_received(make_request("BYE", branch="z9hG4bKours").response(200), self.flow)
        self.assertEqual([len(seen) for seen in (self.core.transactions, self.core.cancels)], [1, 1])
        self.assertEqual([len(seen) for seen in (self.core.acks, self.core.responses)], [1, 1])
        self.finish()
        self.receive("ACK")

    def test_takes(self) -> None:
        """What a module takes reaches neither the next one nor the core; its answer goes out."""
        self.module("taker", PROXY, takes=True)
        self.module("next")
        self.receive("INVITE")
        self.receive("ACK", "z9hG4bKother")
        self.layer.message_received(make_request("BYE", branch="z9hG4bKours").response(200), self.flow)
        self.assertEqual(self.notes, ["taker INVITE", "taker ACK", "taker 200"])
        self.assertEqual(self.last_response().status, 202)
        self.assertEqual((self.core.transactions, self.core.acks, self.core.responses), ([], [], []))

    def test_takes_a_cancel(self) -> None:
        """A CANCEL may be taken, too; it has its 200 already."""
        taker = self.module("taker")
        self.receive("INVITE")
        taker.takes = True
        self.receive("CANCEL")
        self.assertEqual((self.core.cancels, self.last_response().status), ([], 200))
        self.finish()
        self.receive("ACK")

    def test_refuses(self) -> None:
        """A refusal that a module raises is the answer, with its header fields; nothing is logged."""
        self.module("door", error=RequestRefusedError("Not now", status=480, headers=(("Retry-After", "5"),)))
        self.receive()
        response = self.last_response()
        self.assertEqual((response.status, response.reason), (480, "Not now"))
        self.assertEqual(response.headers.get("Retry-After"), "5")
        self.assertEqual(self.core.transactions, [])

    def test_fails_on_a_request(self) -> None:
        """A mistake in a module is logged, and the request answered with 500."""
        self.module("broken", error=ZeroDivisionError())
        self.module("next")
        self.receive()
        self.assertEqual((self.notes, self.last_response().status), (["broken OPTIONS"], 500))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_fails_on_others(self) -> None:
        """A mistake with a CANCEL, an ACK or a response is logged, and the next one has its turn."""
        broken = self.module("broken", PROXY)
        self.module("next")
        self.receive("INVITE")
        broken.error = ZeroDivisionError()
        self.receive("CANCEL")
        self.receive("ACK", "z9hG4bKother")
        self.layer.message_received(make_request("BYE", branch="z9hG4bKours").response(200), self.flow)
        self.assertEqual(
            self.notes[-6:], ["broken CANCEL", "next CANCEL", "broken ACK", "next ACK", "broken 200", "next 200"]
        )
        self.assertEqual([len(seen) for seen in (self.core.cancels, self.core.acks, self.core.responses)], [1, 1, 1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.finish()
        self.receive("ACK")

    def test_added_and_removed(self) -> None:
        """A module that is removed hears nothing more, also when it is removed meanwhile; none is added twice."""
        module = self.module("one")
        self.assertRaises(InvalidStateError, self.modules.add, module)

        class Remover(Above):
            def request_received(inner, transaction: IServerTransaction) -> bool:  # noqa: N805 - two selves
                self.modules.remove(inner)
                self.module("new")
                return super().request_received(transaction)

        self.modules.add(Remover("remover", self.notes, PROXY))
        self.receive()
        self.assertEqual(self.notes, ["remover OPTIONS", "one OPTIONS"])
        self.modules.remove(module)
        self.modules.remove(module)
        self.receive(branch="z9hG4bK2", cseq=2)
        self.assertEqual(self.notes[2:], ["new OPTIONS"])
        self.assertEqual([one.priority for one in self.modules], [APPLICATION])
        self.finish()


class BelowTests(LayerTestCase):
    """Modules between the transport and the transactions."""

    def setUp(self) -> None:
        """Put modules under the transactions."""
        super().setUp()
        self.modules = MessageModules(self.layer, transport=self.transport, entropy=Entropy())
        self.notes: list[str] = []

    def module(self, name: str, priority: int = 0, **options: object) -> Below:
        """Add a module."""
        module = Below(name, self.notes, priority, **options)  # type: ignore[arg-type]
        self.modules.add(module)
        return module

    def receive(self, method: str = "OPTIONS", branch: str = "z9hG4bK1") -> None:
        """Let a request come in."""
        self.modules.message_received(make_request(method, branch=branch), self.flow)

    def test_sees_repetitions(self) -> None:
        """They see each message in order of priority, those included that the transactions absorb."""
        self.module("second", 2)
        self.module("first", 1)
        self.receive()
        self.receive()
        self.assertEqual(self.notes, ["first OPTIONS", "second OPTIONS"] * 2)
        self.assertEqual((len(self.core.transactions), self.layer.repetitions), (1, 1))
        self.core.transactions[0].respond(self.core.transactions[0].request.response(200, to_tag="c"))

    def test_takes(self) -> None:
        """What one takes has no transaction."""
        self.module("taker", takes=True)
        self.receive()
        self.modules.message_received(make_request("BYE", branch="z9hG4bKours").response(200), self.flow)
        self.assertEqual((len(self.layer), self.core.transactions, self.core.responses), (0, [], []))
        self.assertEqual(self.sent(), [])

    def test_fails_on_a_request(self) -> None:
        """A mistake is logged; the request is answered with 500 and the same tag each time, but an ACK with nothing."""
        self.module("broken", error=ZeroDivisionError())
        self.receive()
        self.receive()
        self.receive("ACK")
        self.assertEqual([what for _, what in self.sent()], ["500", "500"])
        tags = {message.to.tag for _, message in self.flow.sent}
        self.assertEqual((len(tags), None in tags), (1, False))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.assertEqual(len(self.layer), 0)

    def test_refuses(self) -> None:
        """A refusal that one raises is the answer."""
        self.module("door", error=RequestRefusedError("Not now", status=480, headers=(("Retry-After", "5"),)))
        self.receive()
        self.assertEqual((self.last_response().status, self.last_response().headers.get("Retry-After")), (480, "5"))

    def test_fails_on_others(self) -> None:
        """A mistake with a response, or with the end of a flow, is logged and hinders nobody."""
        self.module("broken", 1, error=ZeroDivisionError())
        self.module("next", 2)
        self.modules.message_received(make_request("BYE", branch="z9hG4bKours").response(200), self.flow)
        self.modules.flow_failed(self.flow, TransportError("gone"))
        self.assertEqual(self.notes, ["broken 200", "next 200", "broken gone", "next gone"])
        self.assertEqual(len(self.core.responses), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
