"""Random and mutated messages: nothing is raised, nothing is left, and the server goes on serving."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sipd.sip.message import Request
from sipd.testing import builders
from tests.hostile.mutations import Sent, mutated, recorded_call
from tests.hostile.support import ALICE, BOB, SERVER, STRANGER, Arena, HostileCase

METHODS = ("INVITE", "REGISTER", "OPTIONS", "BYE", "ACK", "CANCEL", "PRACK", "MESSAGE", "X")
SOURCES = ((ALICE, 5060), (BOB, 5060), (STRANGER, 5060), (STRANGER, 1), (SERVER, 5060))


def good_messages() -> list[bytes]:
    """Give a request of each kind, in and out of a dialog, and responses to some."""
    requests = [builders.request(method, body=builders.sdp() if method == "INVITE" else b"") for method in METHODS]
    requests += [builders.request(method, to_tag="x", branch="z9hG4bK-2") for method in METHODS]
    ours = [builders.request(method, via=f"{SERVER}:5060") for method in ("INVITE", "OPTIONS", "BYE")]
    responses = [builders.response(request, status) for request in ours for status in (100, 180, 200, 302, 407, 603)]
    return [message.to_bytes() for message in (*requests, *responses)]


def final_statuses(arena: Arena) -> dict[tuple[str, str], set[int]]:
    """Give the final status codes that each transaction was answered with."""
    found = defaultdict(set)
    for answer in arena.answers():
        via = answer.headers.get("Via") or ""
        cseq = answer.headers.get("CSeq") or ""
        found[via, cseq].add(answer.status)
    return found


class MutationTests(HostileCase):
    """One server for each example."""

    @settings(deadline=None, max_examples=200)
    @given(st.one_of(st.sampled_from(good_messages()).flatmap(mutated), st.binary(max_size=300)))
    @example(b"")
    @example(b"SIP/2.0 200")
    def test_a_datagram(self, data: bytes) -> None:
        """Any datagram, sent twice, has one final status at most, and harms nobody."""
        arena = Arena()
        arena.mark()
        arena.send(data)
        arena.send(data)
        arena.clock.advance(40.0)
        for statuses in final_statuses(arena).values():
            self.assertEqual(len(statuses), 1)
        # 100 and the final response, each twice at most, and what timer G repeats of a refused INVITE.
        self.assertLessEqual(len(arena.datagrams_sent()), 16)
        self.assert_unharmed(arena)

    @settings(deadline=None, max_examples=80)
    @given(st.lists(st.one_of(st.sampled_from(good_messages()).flatmap(mutated), st.binary(max_size=50)), max_size=4))
    def test_a_stream(self, pieces: list[bytes]) -> None:
        """Any stream ends when its peer ends it, or before, and harms nobody."""
        arena = Arena()
        stream = arena.connect()
        for piece in pieces:
            stream.wire.write(piece)
            arena.clock.advance(0.1)
        stream.statuses()
        stream.wire.loseConnection()
        self.assert_unharmed(arena)

    @settings(deadline=None, max_examples=200)
    @given(st.data())
    def test_a_call(self, data: st.DataObject) -> None:
        """A call in which a message or two were mutated, lost, repeated or sent by somebody else leaves nothing."""
        arena = Arena()
        sent = list(recorded_call())
        for _ in range(data.draw(st.integers(1, 2))):
            place = data.draw(st.integers(0, len(sent) - 1))
            sent[place : place + 1] = data.draw(tampered(sent[place]))
        self.play(arena, sent)
        if not arena.server.transport.incidents.counts["refused"]:
            for key, statuses in final_statuses(arena).items():
                self.assertEqual(len(statuses), 1, key)
        arena.server.b2bua.stop_calls("whose BYE never came")
        self.assert_unharmed(arena)

    def test_the_call_itself(self) -> None:
        """Played again as it was recorded, the call goes the same way: so a mutation gets as far as it can."""
        arena = Arena()
        self.play(arena, recorded_call())
        self.assertEqual([record.status for record in arena.server.records.records], [200, 480])
        self.assertEqual(arena.server.records.records[0].ended_by, "callee")
        methods = {message.method for message in arena.sent() if isinstance(message, Request)}
        self.assertEqual(methods, {"INVITE", "ACK", "BYE"})
        self.assert_unharmed(arena)

    def play(self, arena: Arena, sent: list[Sent] | tuple[Sent, ...]) -> None:
        """Send these datagrams at their times."""
        began = arena.clock.seconds()
        arena.mark()
        for one in sent:
            arena.clock.advance(max(0.0, began + one.at - 0.01 - arena.clock.seconds()))
            arena.network.send_datagram(arena.stranger, one.source, (SERVER, 5060), one.data)
        arena.clock.advance(1.0)


@st.composite
def tampered(draw: st.DrawFn, one: Sent) -> list[Sent]:
    """Give what comes instead of one datagram."""
    source = draw(st.one_of(st.just(one.source), st.sampled_from(SOURCES)))
    changed = Sent(at=one.at, source=source, data=draw(st.one_of(mutated(one.data), st.just(one.data))))
    return draw(st.sampled_from(([changed], [one, changed], [changed, one], [])))
