"""`sipd phone` and baresip in two networks between which no UDP goes: media find their way by a TURN server, coturn."""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SkipTest

from tests.interop.baresip import Account, Phone
from tests.interop.coturn import PASSWORD, USER, Coturn
from tests.interop.test_phone_command import CommandCase
from tests.interop.tones import best_share
from tests.namespaces import Crossing, explain_unavailable

_START = 20.0
_LIMIT = 25.0
#: Baresip 1.0 sends nothing before each of its checks is answered or given up, the last ones after five seconds.
_TALK = 9
_OURS_HZ, _THEIRS_HZ = 440.0, 1000.0
#: Of the network in which they reach each other by TCP alone.
_LEFT, _RIGHT = "10.9.2.1", "10.9.2.2"


class RelayedTests(CommandCase):
    """The phone is on the left, baresip on the right, coturn in the middle."""

    programs: ClassVar[tuple[str, ...]] = ("baresip", "turnserver")

    def setUp(self) -> None:
        """Make the networks."""
        super().setUp()
        if (reason := explain_unavailable()) is not None:
            raise SkipTest(reason)
        self.networks = Crossing()
        self.addCleanup(self.networks.close)
        left, right = self.networks.left, self.networks.right
        left.configure(f"link add across type veth peer name across netns {right.path}")
        for namespace, address in ((left, _LEFT), (right, _RIGHT)):
            namespace.configure(
                f"addr add {address}/24 dev across",
                "link set across up",
                # What comes as UDP is dropped, before the table of local addresses is looked into.
                "rule add pref 1 iif across ipproto udp blackhole",
                "rule add pref 2 lookup local",
                "rule del pref 0",
            )
        # Coturn 4.5 ends an allocation that has somewhere no route to; these packets end on the left.
        self.networks.middle.configure("route add 10.9.2.0/24 via 10.9.0.2")

    async def turn(self) -> Coturn:
        """Start coturn: it listens on the left, and relays from the right."""
        turn = Coturn(self, host="10.9.0.1", relay_host="10.9.1.1", namespace=self.networks.middle)
        await turn.start()
        return turn

    async def baresip(self, parameters: str, *media: str) -> Phone:
        """Start baresip on the right."""
        bob = Phone(
            self,
            Account(user="bob", host=_RIGHT, parameters=parameters),
            _THEIRS_HZ,
            media=media,
            settings=("rtcp_mux yes",),
            host=_RIGHT,
            namespace=self.networks.right,
        )
        await bob.start()
        return bob

    async def call(self, turn: Coturn, bob: Phone, *words: str) -> None:
        """Call baresip; both are heard, by the server."""
        (self.directory / "password").write_text(PASSWORD)
        (self.directory / "heard.wav").unlink(missing_ok=True)
        dialling = self.run_phone(
            *("dial", f"sip:bob@{_RIGHT}:{bob.port};transport=tcp", "--ice", *words),
            *("--ice-server", f"turn:{turn.address[0]}:{turn.address[1]}"),
            *("--turn-user", USER, "--turn-password-file", "password"),
            *("--play", "tone:440", "--record", "heard.wav", "--hangup-after", str(_TALK), "--json"),
            namespace=self.networks.left,
        )
        await bob.event("CALL_INCOMING", _START)
        bob.send("accept")
        await bob.event("CALL_ESTABLISHED")
        await bob.event("CALL_CLOSED", _LIMIT)
        end = (await self.objects(dialling))[-1]
        self.hears("heard.wav", _THEIRS_HZ)
        self.assertGreater(best_share(bob.take_recording()[-8000:], _OURS_HZ), 0.9, self.explain())
        self.assertGreater(end["media"]["packets_received"], 100)
        self.assertEqual(end["media"]["is_secure"], "--dtls" in words)
        assert turn.program is not None
        await turn.program.says(rf"user <{USER}>: incoming packet CREATE_PERMISSION processed, success")
        await turn.program.says(rf"user <{USER}>: incoming packet CHANNEL_BIND processed, success")

    async def test_ice(self) -> None:
        """In the clear."""
        turn = await self.turn()
        bob = await self.baresip(";medianat=ice", "ice")
        await self.call(turn, bob)
        await bob.stop()
        await turn.stop()

    async def test_dtls(self) -> None:
        """Encrypted, with keys by DTLS."""
        turn = await self.turn()
        bob = await self.baresip(";mediaenc=dtls_srtp;medianat=ice", "ice", "dtls_srtp", "srtp")
        await self.call(turn, bob, "--dtls")
        await bob.stop()
        await turn.stop()
