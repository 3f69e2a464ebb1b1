"""Two negotiations under random histories: whatever they do, both believe the same when nothing is under way."""

from __future__ import annotations

from collections import deque
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import RequestRefusedError
from sipd.sdp.description import SessionDescription, parse_description
from sipd.sdp.exchange import State
from sipd.sdp.negotiation import Carrier, Meaning, Negotiation
from sipd.sdp.offer_answer import LocalOrigin, reverse

#: What may follow the media line of an offer, and what its answerer wants.
CHOICES = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive", "c=IN IP4 0.0.0.0")

Message = tuple[str, SessionDescription | None]


class Party:
    """A user agent that does everything at once, and nothing right away.

    Attributes:
        outbox: what it has sent and the peer has not received: messages keep their order.
        duties: the requests of the peer that wait for an answer.
    """

    def __init__(self, number: int) -> None:
        self.negotiation = Negotiation(LocalOrigin(session_id=number, host=f"192.0.2.{number}"), lambda count: b"\4")
        self.outbox: deque[Message] = deque()
        self.duties: list[str] = []
        self.port = 1000 * number
        #: Whether a reliable response is not acknowledged, and whether it said anything (RFC 3262 section 3).
        self.unacknowledged: bool | None = None

    def describe(self, choice: str, count: int = 1) -> SessionDescription:
        """Make a description that was never there before."""
        self.port += 2
        media = [f"m=audio {self.port} RTP/AVP 0\r\n{choice}" for _ in range(count)]
        return parse_description("\r\n".join(("v=0", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", *media)))

    def offer(self, choice: str, more: int = 0) -> SessionDescription:
        """Make an offer with as many lines as there are, and some more."""
        local = self.negotiation.local
        return self.describe(choice, (1 if local is None else len(local.media)) + more)

    def answer(self, choice: str) -> SessionDescription:
        """Make an answer to the offer that waits."""
        assert self.negotiation.offer is not None
        return self.describe(choice, len(self.negotiation.offer.media))

    def send(self, name: str, carrier: Carrier, description: SessionDescription | None) -> None:
        """Send a message."""
        self.outbox.append((name, self.negotiation.send(carrier, description)))

    def receive(self, name: str, description: SessionDescription | None, choice: str) -> None:
        """Take a message, and do what has to be done at once."""
        negotiation = self.negotiation
        match name:
            case "INVITE" | "PRACK" | "UPDATE":
                self.take_request(name, description)
            case "provisional":
                assert negotiation.receive(Carrier.PROVISIONAL, description) is not Meaning.OFFER
            case "reliable":
                self.acknowledge_reliable(negotiation.receive(Carrier.RELIABLE, description), choice)
            case "INVITE success":
                meaning = negotiation.receive(Carrier.SUCCESS, description)
                self.send("ACK", Carrier.ACK, self.answer(choice) if meaning is Meaning.OFFER else None)
            case "ACK":
                negotiation.receive(Carrier.ACK, description)
            case "PRACK success":
                negotiation.receive(Carrier.PRACK_SUCCESS, description)
            case "UPDATE success":
                negotiation.receive(Carrier.UPDATE_SUCCESS, description)
            case _:
                negotiation.refused(Carrier[name.split()[0]])

    def take_request(self, name: str, description: SessionDescription | None) -> None:
        """Take a request; a PRACK that offers nothing is answered at once."""
        if name == "PRACK":
            self.unacknowledged = None
        try:
            meaning = self.negotiation.receive(Carrier[name], description)
        except RequestRefusedError as error:
            assert error.status in (491, 500)
            self.outbox.append((f"{name} refused", None))
            return
        if name == "PRACK" and meaning is not Meaning.OFFER:
            self.send("PRACK success", Carrier.PRACK_SUCCESS, None)
        else:
            self.duties.append(name)

    def acknowledge_reliable(self, meaning: Meaning, choice: str) -> None:
        """Send PRACK: with the answer, or with an offer where the user wants to change something."""
        said = None
        if meaning is Meaning.OFFER:
            said = self.answer(choice)
        elif meaning is Meaning.ANSWER and choice != "a=sendrecv":
            said = self.offer(choice)
        self.send("PRACK", Carrier.PRACK, said)

    def refuse(self, name: str, *, is_lossy: bool) -> None:
        """Refuse a request that was taken: what its answer would have been is lost."""
        if name == "INVITE":
            # What is not acknowledged is not repeated any more: it is lost, or its PRACK may still come.
            self.unacknowledged = None
            if is_lossy:
                self.outbox = deque(message for message in self.outbox if message[0] != "reliable")
        self.duties.remove(name)
        self.negotiation.refuse(Carrier[name])
        self.outbox.append((f"{name} refused", None))

    def accept(self, name: str, choice: str) -> None:
        """Answer a request with a 2xx."""
        self.duties.remove(name)
        negotiation = self.negotiation
        carrier = Carrier.SUCCESS if name == "INVITE" else Carrier[f"{name}_SUCCESS"]
        said = self.answer(choice) if negotiation.state is State.REMOTE_OFFER else self.offer(choice)
        self.send(f"{name} success", carrier, said)

    def may_accept(self, name: str) -> bool:
        """Whether a 2xx may be given; one to INVITE waits for the PRACK of something that was said."""
        return name != "INVITE" or (not self.unacknowledged and self.duties == ["INVITE"])

    def provide(self, choice: str) -> None:
        """Answer an INVITE with a reliable 1xx."""
        negotiation = self.negotiation
        said = self.answer(choice) if negotiation.state is State.REMOTE_OFFER else self.offer(choice)
        self.send("reliable", Carrier.RELIABLE, said)
        self.unacknowledged = self.outbox[-1][1] is not None


class History:
    """What two parties do, from an established session on."""

    def __init__(self, choice: str) -> None:
        self.parties = (Party(1), Party(2))
        caller, callee = self.parties
        caller.send("INVITE", Carrier.INVITE, caller.offer(choice))
        self.deliver(0, choice)
        callee.accept("INVITE", choice)
        self.settle()

    def act(self, pick: int, choice: str) -> None:
        """Do one of the things that can be done now."""
        actions = [(who, action) for who, party in enumerate(self.parties) for action in self.actions(party)]
        who, action = actions[pick % len(actions)]
        party = self.parties[who]
        match action.split():
            case ["deliver"]:
                self.deliver(who, choice)
            case ["invite"]:
                party.send("INVITE", Carrier.INVITE, party.offer(choice, pick % 2))
            case ["invite", "late"]:
                party.send("INVITE", Carrier.INVITE, None)
            case ["update"]:
                party.send("UPDATE", Carrier.UPDATE, party.offer(choice, pick % 2))
            case ["preview"]:
                party.send("provisional", Carrier.PROVISIONAL, party.answer(choice))
            case ["provide"]:
                party.provide(choice)
            case ["accept", name]:
                party.accept(name, choice)
            case ["refuse", name]:
                party.refuse(name, is_lossy=pick % 2 == 0)

    def actions(self, party: Party) -> list[str]:
        """Give what a party could do now."""
        negotiation, duties = party.negotiation, party.duties
        found = ["deliver"] if party.outbox else []
        if negotiation.can_send(Carrier.INVITE):
            found += ["invite", "invite late"]
        if negotiation.can_send(Carrier.UPDATE):
            found.append("update")
        if duties == ["INVITE"]:
            if negotiation.state is State.REMOTE_OFFER:
                found.append("preview")
            if party.unacknowledged is None:
                found.append("provide")
        found += [f"accept {name}" for name in duties if party.may_accept(name)]
        return found + [f"refuse {name}" for name in duties]

    def deliver(self, who: int, choice: str) -> None:
        """Let the oldest message of a party arrive."""
        sender, receiver = self.parties[who], self.parties[1 - who]
        name, description = sender.outbox.popleft()
        receiver.receive(name, description, choice)

    def settle(self) -> None:
        """Let everything that is under way come to its end; then both believe the same."""
        for turn in range(40):
            for who, party in enumerate(self.parties):
                while party.outbox:
                    self.deliver(who, "a=sendrecv")
                for name in ("UPDATE", "PRACK", "INVITE"):
                    if name in party.duties and party.may_accept(name):
                        party.accept(name, "a=sendrecv")
                # The back-off of RFC 3261 section 14.1 sees to it that the two do not try at the same time for ever.
                if turn % 4 == 2 * who and party.negotiation.is_doubtful and party.negotiation.can_send(Carrier.UPDATE):
                    party.send("UPDATE", Carrier.UPDATE, party.negotiation.refresh())
        one, other = (party.negotiation for party in self.parties)
        assert not any(party.outbox or party.duties or party.negotiation.is_doubtful for party in self.parties)
        assert one.state is other.state is State.STABLE
        assert one.can_send(Carrier.INVITE) and other.can_send(Carrier.INVITE)
        assert one.local == other.remote and one.remote == other.local
        self._compare_streams(one, other)

    def _compare_streams(self, one: Negotiation, other: Negotiation) -> None:
        for mine, theirs in zip(one.streams, other.streams, strict=True):
            assert theirs.direction is reverse(mine.direction)
            assert (mine.is_held, mine.holds) == (theirs.holds, theirs.is_held)


class NegotiationHistoryTests(SynchronousTestCase):
    """Two negotiations that talk to each other."""

    @settings(deadline=None, max_examples=300)
    @given(st.randoms(use_true_random=True), st.integers(0, 60))
    def test_both_agree_whenever_nothing_is_under_way(self, random: Random, count: int) -> None:
        """Offers of both sides, in all messages, crossing and refused, leave no two opinions, and no dead end."""
        history = History(random.choice(CHOICES))
        for _ in range(count):
            history.act(random.randrange(1000), random.choice(CHOICES))
        history.settle()
