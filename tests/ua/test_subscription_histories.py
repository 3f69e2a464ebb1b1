"""Subscriptions of our own with a notifier that does anything at any time: nothing breaks, and nothing is left."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sipd.sip.message import Request
from sipd.sip.registrant import State
from sipd.ua.notices import Ended
from sipd.ua.subscribing import Subscription
from tests.ua.subscribing import SubscribingCase
from tests.ua.support import THEM

_STATES = (
    "active", "active;expires=600", "active;expires=0", "active;expires=1", "pending;expires=60", "terminated",
    "terminated;reason=deactivated", "terminated;reason=probation;retry-after=9", "terminated;reason=timeout",
    "terminated;reason=rejected", "terminated;reason=giveup", "odd", "active;expires=x", "",
)  # fmt: skip
_STATUSES = (200, 202, 200, 200, 302, 401, 403, 404, 423, 481, 489, 491, 500, 503, 603)
_EXPIRES = ("600", "60", "1", "0", "x", None)

_STEP = st.one_of(
    st.tuples(st.just("notify"), st.sampled_from(_STATES), st.sampled_from(("b1", "b2"))),
    st.tuples(st.just("answer"), st.sampled_from(_STATUSES), st.sampled_from(_EXPIRES)),
    st.tuples(st.just("wait"), st.sampled_from((0.1, 1.0, 20.0, 33.0, 400.0)), st.none()),
    st.tuples(st.sampled_from(("refresh", "stop", "close")), st.none(), st.none()),
)


class HistoryTests(SubscribingCase):
    """Any history."""

    @given(st.lists(_STEP, max_size=25))
    @settings(max_examples=150, deadline=None)
    def test_histories(self, steps: list[tuple[Any, Any, Any]]) -> None:
        """One SUBSCRIBE is under way at a time, the end is told once, and then no timer and no dialog is left."""
        self.events.clear()
        self.them.take()
        subscription = Subscription(self.agent, self.settings(), self.events.append)
        stopping = [subscription.when_active().addErrback(lambda _: None)]
        subscription.start()
        self.clock.advance(0.1)
        seen: list[Request] = []
        for what, value, more in steps:
            seen += [one for one in self.them.messages if isinstance(one, Request)]
            self.them.messages = list(seen[-1:])
            match what:
                case "notify":
                    self.notify(value, b"<x/>", tag=more)
                case "answer":
                    headers = [] if more is None else [("Expires", more)]
                    contact = f"<sip:bob@{THEM}>" if value % 2 else None
                    self.respond(value, *headers, contact=contact)
                case "wait":
                    self.clock.advance(value)
                case "refresh":
                    subscription.refresh()
                case "stop":
                    stopping.append(subscription.stop())
                case "close":
                    subscription.close()
            self.assertTrue(subscription.is_active or subscription.expires == 0.0)
            if subscription.state is State.STOPPED:
                self.assertEqual(len(subscription._timers), 0)
        stopping.append(subscription.stop())
        self.clock.advance(4.0)
        self.assertIs(subscription.state, State.STOPPED)
        self.assertTrue(all(one.called for one in stopping))
        ends = [event for event in self.events if isinstance(event, Ended)]
        self.assertTrue(len(ends) <= 1 and (not ends or self.events[-1] is ends[0]))
        self.settle()
