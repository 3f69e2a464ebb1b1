"""What tests of the media plane share: two phones, and a sipd that is configured for the test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, gatherResults

from tests.interop.baresip import Account, Phone
from tests.interop.capture import read_capture
from tests.interop.case import InteropTestCase
from tests.interop.ears import ADVERTISED, Ears
from tests.interop.server import USERS, Server

TONES_HZ = {"alice": 440.0, "bob": 1000.0}


class MediaCase(InteropTestCase):
    """Two baresip phones, Alice and Bob."""

    programs: ClassVar[tuple[str, ...]] = ("baresip",)
    #: The ports that media goes through, if they are not sipd's.
    relayed: range | None = None

    async def start_server(
        self, media: str = "", users: Mapping[str, str] = MappingProxyType({}), sections: str = ""
    ) -> Server:
        """Start sipd with more lines of `[media]` and of users, and ears in front of its media ports."""
        # The directory of the test may have too long a name for the sockets of media workers.
        state = Path(tempfile.mkdtemp(prefix="sipd-"))
        self.addCleanup(shutil.rmtree, state)
        self.server = Server(self, media_host=ADVERTISED, media_ports=40, media=media, users=users, state=state)
        self.server.configure(sections)
        self.ears = Ears(self, self.relayed or self.server.media_ports)
        await self.server.start()
        return self.server

    async def phone(self, user: str, **options: Any) -> Phone:
        """Start a phone and let it register; `options` are of its account, but for `media` and `settings`."""
        of_phone = {name: options.pop(name) for name in ("media", "settings") if name in options}
        account = Account(user=user, server=self.server.address, password=USERS[user], **options)
        phone = Phone(self, account, TONES_HZ[user], **of_phone)
        await phone.start()
        await phone.registered()
        return phone

    async def both_hear(self, one: Phone, other: Phone) -> None:
        """Check that two phones are sent each other's tone, and nothing else."""
        await all_of(self.ears.hear(one, other.tone_hz), self.ears.hear(other, one.tone_hz))

    async def descriptions(self, field: str, *phones: Phone) -> list[list[str]]:
        """Give a field of tshark's for each description that went to these phones and came from them, by its values."""
        which = " || ".join(f"udp.port == {phone.port}" for phone in phones)
        lines = await read_capture(self, self.server, "-Y", f"sdp && ({which})", "-T", "fields", "-e", f"sdp.{field}")
        self.assertTrue(lines, self.explain())
        return [values.split(",") for (values,) in lines]

    async def hang_up(self, one: Phone, other: Phone) -> None:
        """Let one phone hang up; the other must hear of it."""
        one.send("hangup")
        for phone in (one, other):
            await phone.event("CALL_CLOSED")

    async def finish(self, *phones: Phone) -> list[dict[str, Any]]:
        """End the phones, then sipd; give the records of its calls."""
        await all_of(*[phone.stop() for phone in phones])
        return await self.server.finish()


async def all_of(*waiting: Coroutine[Any, Any, Any]) -> list[Any]:
    """Wait for all at the same time."""
    return await gatherResults([Deferred.fromCoroutine(one) for one in waiting], consumeErrors=True)
