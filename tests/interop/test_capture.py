"""What sipd captures is read by tshark as what it was."""

from collections.abc import Sequence

from tests.interop.capture import find_faults, read_capture
from tests.interop.case import InteropTestCase
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp

_INVITE_TO_BYE = ("INVITE", "180", "200", "ACK", "BYE", "200")


class CaptureTests(InteropTestCase):
    """The capture of a registration and a call."""

    programs = ("sipp", "tshark")

    def fields(self, *names: str) -> Sequence[str]:
        """Give the arguments that make tshark print fields."""
        return ["-T", "fields", *(argument for name in names for argument in ("-e", name))]

    async def test_registration_and_call(self) -> None:
        """Each message is there once, in order, whole, on the leg that it belongs to, and none is malformed."""
        server = Server(self)
        callee = self.ports.take()
        server.add_route("sipp", "callee", callee)
        await server.start()
        registering = Sipp(
            self,
            "register",
            port=self.ports.take(),
            target=server.address,
            service="bob",
            credentials=("bob", USERS["bob"]),
            digest_uri=server.host,
        )
        await registering.succeeds()
        called = Sipp(self, "uas_answers", port=callee)
        await called.listens()
        caller = self.ports.take()
        await Sipp(self, "uac_answered", port=caller, target=server.address).succeeds()
        await called.succeeds()
        await server.finish()

        self.assertEqual(await find_faults(self, server), [])
        seen = await read_capture(self, server, *self.fields("sip.Call-ID", "sip.Method", "sip.Status-Code"))
        legs: dict[str, list[str]] = {}
        for call_id, method, status in seen:
            legs.setdefault(call_id, []).append(method or status)
        registration, *calls = legs.values()
        self.assertEqual(registration, ["REGISTER", "401", "REGISTER", "200"])
        for leg in calls:
            self.assertEqual([name for name in leg if name != "100"], list(_INVITE_TO_BYE))
        self.assertEqual(len(calls), 2)
