"""Both proxies among octets that are almost messages: nothing breaks, nothing is logged, nothing is left."""

from __future__ import annotations

import random

from sipd.sip.message import Request
from sipd.testing import builders
from tests.proxy import test_stateless
from tests.proxy.support import ALICE, BOB, DOMAIN, PROXY, Wire, WireCase

_ROUNDS = 600
_METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "MESSAGE", "REGISTER")
_URIS = (f"sip:bob@{DOMAIN}", f"sip:{PROXY};lr;dlg=2", "tel:1", f"sip:bob@{BOB};maddr={PROXY}", f"sips:bob@{DOMAIN}")
_FIELDS = (
    ("Route", f"<sip:{PROXY};lr;dlg=1;flow=udp-00-1>, <sip:x;lr>"),
    ("Record-Route", "<sip:x;lr>"),
    ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKq"),
    ("Proxy-Require", "a"),
    ("Max-Breadth", "3"),
)
_STATUSES = (100, 180, 200, 302, 401, 486, 503, 600)
_NOISE = (b'"', b"<", b">", b",", b";", b"%", b"\r\n ", b"\xff", b"=", b":", b"")


def damaged(random: random.Random, data: bytes) -> bytes:
    """Give octets with up to three of them replaced by something that means something."""
    octets = bytearray(data)
    for _ in range(random.randrange(4)):
        index = random.randrange(len(octets))
        octets[index : index + random.randrange(3)] = random.choice(_NOISE)
    return bytes(octets)


def a_request(random: random.Random, number: int) -> bytes:
    """Give a request of Alice's, damaged."""
    request = builders.request(
        random.choice(_METHODS),
        random.choice(_URIS),
        via=f"{ALICE}:5060",
        branch=f"z9hG4bK-{number}",
        call_id=f"{number}",
        to_tag=random.choice((None, "x")),
        headers=random.sample(_FIELDS, random.randrange(len(_FIELDS))),
    )
    return damaged(random, request.to_bytes())


def an_answer(random: random.Random, request: Request) -> bytes:
    """Give an answer of Bob's, damaged."""
    return damaged(random, builders.response(request, random.choice(_STATUSES)).to_bytes())


class StatefulTests(WireCase):
    """A stateful proxy."""

    def test_noise(self) -> None:
        """It forwards what can be read, and comes to rest."""
        chance = random.Random(1)
        answered = talk(self, self.alice, self.bob, chance)
        self.assertGreater(answered, _ROUNDS // 20)
        self.settle(900)
        self.assertEqual(self.flushLoggedErrors(), [])


class StatelessTests(test_stateless.WireCase):
    """A stateless one."""

    def test_noise(self) -> None:
        """It does the same, and has nothing to come to rest."""
        answered = talk(self, self.alice, self.bob, random.Random(2))
        self.assertGreater(answered, _ROUNDS // 20)
        self.assertEqual(self.flushLoggedErrors(), [])


def talk(case: WireCase | test_stateless.WireCase, alice: Wire, bob: Wire, chance: random.Random) -> int:
    """Let Alice ask and Bob answer; give how often he could."""
    answered = 0
    for number in range(_ROUNDS):
        alice.send_octets(a_request(chance, number))
        case.pass_time(0.02)
        for message in bob.take():
            if isinstance(message, Request) and message.method != "ACK":
                bob.send_octets(an_answer(chance, message))
                answered += 1
        case.pass_time(0.02)
    return answered
