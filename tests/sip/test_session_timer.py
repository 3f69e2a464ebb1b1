"""Tests of `sipd.sip.session_timer`: what is agreed on, who refreshes, and what happens if nobody does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError, RequestRefusedError
from sipd.sip.headers import Headers
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Request, Response
from sipd.sip.session_timer import (
    RETRY_LIMIT,
    Effects,
    Event,
    Expire,
    Fields,
    Refresh,
    Refresher,
    SessionExpires,
    SessionTimer,
    SessionTimerPolicy,
    State,
)
from sipd.testing import builders

SUPPORTED = ("Supported", "timer")
OURS = (StopTimers(), StartTimer(Event.REFRESH, 900.0), StartTimer(Event.EXPIRY, 1768.0))
THEIRS = (StopTimers(), StartTimer(Event.EXPIRY, 1768.0))


def invite(*fields: tuple[str, str]) -> Request:
    """Make an INVITE with those fields."""
    return builders.invite(headers=fields)


def response(status: int, *fields: tuple[str, str]) -> Response:
    """Make a response with those fields."""
    return builders.invite().response(status, headers=fields)


def ok(session_expires: str) -> Response:
    """Make a 2xx with that Session-Expires."""
    return response(200, ("Session-Expires", session_expires))


def make(**options: object) -> SessionTimer:
    """Make the timer of a leg with that policy."""
    return SessionTimer(SessionTimerPolicy(**options))  # type: ignore[arg-type]


def refreshing() -> SessionTimer:
    """Make one whose refresh is under way."""
    timer = make()
    timer.answered(ok("1800;refresher=uac"))
    assert timer.feed(Event.REFRESH) == (Refresh(),)
    return timer


class FieldTests(SynchronousTestCase):
    """Session-Expires (RFC 4028 section 4)."""

    def test_takes_a_value_apart(self) -> None:
        """White space, case, and parameters nobody knows do not matter; a refresher that is none is none."""
        for text, interval, refresher in (
            ("1800", 1800, None),
            (" 90 ; Refresher = UAC;x=y", 90, Refresher.UAC),
            ("4294967295;refresher=uas", 2**32 - 1, Refresher.UAS),
            ("90;refresher=proxy", 90, None),
            ("90;refresher", 90, None),
        ):
            value = SessionExpires.parse(text)
            self.assertEqual((value.interval, value.refresher), (interval, refresher))
            self.assertEqual(SessionExpires.parse(str(value)), value)

    def test_refuses_what_is_none(self) -> None:
        """No number, no time at all, more than 32 bits, and parameters out of order."""
        for text in ("", "x", "-1", "0", "4294967296", "90;refresher=uac;refresher=uas", '90;x="'):
            with self.assertRaises(ParseError):
                SessionExpires.parse(text)

    def test_compact_form(self) -> None:
        """It may be written `x`."""
        timer = make()
        timer.check(invite(("x", "1800;refresher=uas"), ("k", "timer")))
        self.assertEqual(timer.answered(response(200, ("x", "1800"))), OURS)


class CallerTests(SynchronousTestCase):
    """The side that sends the request."""

    def test_first_request(self) -> None:
        """It names an interval, and a refresher or a minimum only if that is configured (lesson 34)."""
        for options, expected in (
            ({}, (("Session-Expires", "1800"),)),
            ({"interval": None}, ()),
            ({"interval": None, "minimum": 120}, (("Min-SE", "120"),)),
            ({"interval": 60}, (("Session-Expires", "90"),)),
            ({"minimum": 120}, (("Session-Expires", "1800"), ("Min-SE", "120"))),
            ({"refresher": Refresher.UAC}, (("Session-Expires", "1800;refresher=uac"),)),
        ):
            self.assertEqual(make(**options).request_fields(), expected)

    def test_2xx_decides(self) -> None:
        """Interval and refresher are those of the 2xx; where it names nobody it is the caller (section 7.2)."""
        for text, effects, state in (
            ("1800;refresher=uac", OURS, State.OURS),
            ("1800", OURS, State.OURS),
            ("1800;refresher=uas", THEIRS, State.THEIRS),
        ):
            timer = make(interval=3600)
            self.assertEqual(timer.answered(ok(text)), effects)
            self.assertEqual((timer.state, timer.interval), (state, 1800))

    def test_peer_without_timers(self) -> None:
        """A 2xx without Session-Expires, or with one that nobody can read, switches the timer off."""
        for answer in (response(200), ok("soon")):
            timer = make()
            timer.answered(ok("1800"))
            self.assertEqual(timer.answered(answer), (StopTimers(),))
            self.assertEqual((timer.state, timer.interval, timer.is_refresher), (State.OFF, None, False))
            self.assertEqual(timer.request_fields(), (("Session-Expires", "1800"),))

    def test_interval_that_is_too_short(self) -> None:
        """One below the minimum counts as the minimum: a peer cannot make this side refresh all the time."""
        timer = make()
        self.assertEqual(
            timer.answered(ok("1")), (StopTimers(), StartTimer(Event.REFRESH, 45.0), StartTimer(Event.EXPIRY, 60.0))
        )

    def test_later_requests_keep_the_roles(self) -> None:
        """They name the interval and the refresher there are (section 7.4)."""
        for text, expected in (("600;refresher=uac", "600;refresher=uac"), ("600;refresher=uas", "600;refresher=uas")):
            timer = make()
            timer.answered(ok(text))
            self.assertEqual(timer.request_fields(), (("Session-Expires", expected),))

    def test_422(self) -> None:
        """The request is sent again with what the peer wants at least, which stays (section 7.3)."""
        timer = make(interval=90)
        self.assertTrue(timer.may_retry(response(422, ("Min-SE", "200 ;x"))))
        self.assertEqual(timer.request_fields(), (("Session-Expires", "200"), ("Min-SE", "200")))
        self.assertTrue(timer.may_retry(response(422, ("Min-SE", "300"))))
        self.assertEqual(timer.request_fields(), (("Session-Expires", "300"), ("Min-SE", "300")))
        timer.answered(ok("300;refresher=uac"))
        self.assertEqual(timer.request_fields(), (("Session-Expires", "300;refresher=uac"), ("Min-SE", "300")))

    def test_422_is_bounded(self) -> None:
        """A peer that asks for more each time, for nothing new, or for nothing that can be read, is given up."""
        timer = make(interval=90)
        tries = [timer.may_retry(response(422, ("Min-SE", str(100 + number)))) for number in range(RETRY_LIMIT + 2)]
        self.assertEqual(tries, [True] * RETRY_LIMIT + [False] * 2)
        for fields in ((), (("Min-SE", "x"),), (("Min-SE", "1800"),)):
            self.assertFalse(make().may_retry(response(422, *fields)), fields)


class CalleeTests(SynchronousTestCase):
    """The side that receives the request."""

    def answer(self, timer: SessionTimer, *fields: tuple[str, str]) -> tuple[Fields, Effects]:
        """Let it answer a request with those fields."""
        request = invite(*fields)
        timer.check(request)
        return timer.answer(request)

    def test_table_2(self) -> None:
        """Who refreshes, by what the caller supports and says: every row of section 9, table 2."""
        require = (("Require", "timer"),)
        for supports, asked, refresher, more in (
            (False, "1800", "uas", ()),
            (False, "1800;refresher=uac", "uas", ()),
            (False, "1800;refresher=uas", "uas", ()),
            (True, "1800", "uas", require),
            (True, "1800;refresher=uac", "uac", require),
            (True, "1800;refresher=uas", "uas", require),
        ):
            timer = make()
            given = [("Session-Expires", asked), *([SUPPORTED] if supports else [])]
            fields, effects = self.answer(timer, *given)
            self.assertEqual(fields, (("Session-Expires", f"1800;refresher={refresher}"), *more))
            self.assertEqual(effects, OURS if refresher == "uas" else THEIRS)

    def test_require_means_support(self) -> None:
        """Who requires timers has them."""
        fields, _ = self.answer(make(), ("Require", "100rel, Timer"), ("Session-Expires", "1800;refresher=uac"))
        self.assertEqual(fields, (("Session-Expires", "1800;refresher=uac"), ("Require", "timer")))

    def test_interval(self) -> None:
        """Not longer than asked for, as short as this side likes, but not below either minimum."""
        for options, asked, minimum, expected in (
            ({"interval": 600}, "1800", None, 600),
            ({"interval": 600}, "300", None, 300),
            ({"interval": 600}, "1800", "900", 900),
            ({"interval": None}, "1800", None, 1800),
            ({"interval": 600}, None, None, 600),
            ({"interval": 600}, None, "700", 700),
            ({"interval": 100, "minimum": 120}, "1800", None, 120),
        ):
            given = [("Session-Expires", asked)] if asked is not None else []
            given += [("Min-SE", minimum)] if minimum is not None else []
            timer = make(**options)
            fields, _ = self.answer(timer, SUPPORTED, *given)
            self.assertEqual(fields[0], ("Session-Expires", f"{expected};refresher=uas"))
            self.assertEqual(timer.interval, expected)

    def test_nobody_asks(self) -> None:
        """Without a wish on either side there is no timer; a later request may switch one off."""
        timer = make(interval=None)
        self.assertEqual(self.answer(timer, SUPPORTED), ((), (StopTimers(),)))
        self.answer(timer, SUPPORTED, ("Session-Expires", "1800"))
        self.assertTrue(timer.is_refresher)
        self.assertEqual(self.answer(timer, SUPPORTED), ((), (StopTimers(),)))
        self.assertEqual((timer.state, timer.interval), (State.OFF, None))

    def test_peer_without_timers(self) -> None:
        """Nothing is asked of a peer that does not know session timers, and has not asked either."""
        timer = make(interval=600)
        self.assertEqual(self.answer(timer), ((), (StopTimers(),)))
        self.assertEqual((timer.state, timer.interval), (State.OFF, None))

    def test_too_short(self) -> None:
        """422 with Min-SE to whoever can choose again; for others it is made longer (erratum 1687)."""
        timer = make(minimum=120)
        with self.assertRaises(RequestRefusedError) as caught:
            timer.check(invite(SUPPORTED, ("Session-Expires", "119")))
        self.assertEqual((caught.exception.status, caught.exception.headers), (422, (("Min-SE", "120"),)))
        timer.check(invite(SUPPORTED, ("Session-Expires", "120")))
        fields, _ = self.answer(timer, ("Session-Expires", "60"))
        self.assertEqual(fields, (("Session-Expires", "120;refresher=uas"),))

    def test_malformed(self) -> None:
        """What nobody can read is refused with 400, and changes nothing."""
        for field in (("Session-Expires", "x"), ("Min-SE", "x")):
            with self.assertRaises(ParseError):
                make().check(invite(field))

    def test_roles_stay(self) -> None:
        """A later request that names nobody leaves the refresher who it is."""
        timer = make()
        self.answer(timer, SUPPORTED, ("Session-Expires", "1800;refresher=uac"))
        fields, effects = self.answer(timer, SUPPORTED, ("Session-Expires", "1800"))
        self.assertEqual((fields[0][1], effects), ("1800;refresher=uac", THEIRS))

    def test_min_se_of_the_peer_stays(self) -> None:
        """What it once said is the least this side asks for (section 7.4)."""
        timer = make(interval=600)
        self.answer(timer, SUPPORTED, ("Session-Expires", "1800"), ("Min-SE", "900"))
        self.assertEqual(timer.request_fields(), (("Session-Expires", "900;refresher=uac"), ("Min-SE", "900")))


class TimerTests(SynchronousTestCase):
    """Refresh and expiry."""

    def test_expires_in_time(self) -> None:
        """So much before the end: 32 s, or a third of a short interval (section 10)."""
        for interval, expiry in ((1800, 1768.0), (96, 64.0), (95, 95 - 95 / 3), (90, 60.0)):
            timer = make()
            self.assertEqual(timer.answered(ok(f"{interval};refresher=uas"))[1], StartTimer(Event.EXPIRY, expiry))
            self.assertEqual(timer.feed(Event.EXPIRY), (StopTimers(), Expire("The session timer expired")))
            self.assertIs(timer.state, State.EXPIRED)

    def test_refresh_that_succeeds(self) -> None:
        """Its 2xx starts everything anew."""
        timer = refreshing()
        self.assertEqual(timer.request_fields(), (("Session-Expires", "1800;refresher=uac"),))
        self.assertEqual(timer.answered(ok("1800;refresher=uac")), OURS)
        self.assertIs(timer.state, State.OURS)

    def test_peer_is_gone(self) -> None:
        """408, 481 and silence end the session (section 7.4)."""
        for status, reason in ((408, "408 Request Timeout"), (481, "481 Call/Transaction Does Not Exist")):
            timer = refreshing()
            expected = (StopTimers(), Expire(f"The session refresh failed: {reason}"))
            self.assertEqual(timer.refused(response(status), 1.0), expected)
            self.assertIs(timer.state, State.EXPIRED)
        timer = refreshing()
        expected = (StopTimers(), Expire("The session refresh failed: no answer"))
        self.assertEqual(timer.feed(Event.GONE, "no answer"), expected)

    def test_glare(self) -> None:
        """After 491 the refresh is tried again when the back-off is over, and 500 says itself when."""
        for answer, wait in ((response(491), 2.5), (response(500, ("Retry-After", "7")), 7.0)):
            timer = refreshing()
            self.assertEqual(timer.refused(answer, 2.5), (StartTimer(Event.RETRY, wait),))
            self.assertIs(timer.state, State.BACKING_OFF)
            self.assertEqual(timer.request_fields(), (("Session-Expires", "1800;refresher=uac"),))
            self.assertEqual(timer.feed(Event.RETRY), (Refresh(),))
            self.assertIs(timer.state, State.REFRESHING)

    def test_another_way(self) -> None:
        """A peer that does not take UPDATE after all gets another request at once, and so does one that says 422."""
        for answer in (response(405), response(501), response(422, ("Min-SE", "3600"))):
            self.assertEqual(refreshing().refused(answer, 1.0), (Refresh(),))

    def test_retries_are_bounded(self) -> None:
        """A refresh that never gets anywhere is left alone; a successful one begins to count anew."""
        timer = refreshing()
        for _ in range(2):
            for _ in range(RETRY_LIMIT):
                timer.refused(response(491), 1.0)
                self.assertEqual(timer.feed(Event.RETRY), (Refresh(),))
            timer.answered(ok("1800;refresher=uac"))
            timer.feed(Event.REFRESH)
        for _ in range(RETRY_LIMIT):
            self.assertEqual(timer.refused(response(405), 1.0), (Refresh(),))
        self.assertEqual(timer.refused(response(405), 1.0), ())
        self.assertIs(timer.state, State.OURS)
        self.assertEqual(timer.feed(Event.EXPIRY)[0], StopTimers())

    def test_other_refusals_leave_it(self) -> None:
        """The session goes on until it expires, or until something else refreshes it."""
        for answer in (response(488), response(503), response(422), response(401)):
            timer = refreshing()
            self.assertEqual(timer.refused(answer, 1.0), ())
            self.assertIs(timer.state, State.OURS)
            self.assertEqual(timer.feed(Event.EXPIRY)[0], StopTimers())
        timer = refreshing()
        timer.refused(response(488), 1.0)
        self.assertEqual(timer.answer(invite(SUPPORTED, ("Session-Expires", "1800")))[1], OURS)

    def test_request_of_the_peer_while_refreshing(self) -> None:
        """It refreshes the session, too: what becomes of the refresh under way does not matter any more."""
        timer = refreshing()
        _, effects = timer.answer(invite(SUPPORTED, ("Session-Expires", "1800;refresher=uac")))
        self.assertEqual(effects, THEIRS)
        self.assertEqual(timer.refused(response(491), 1.0), ())
        self.assertIs(timer.state, State.THEIRS)

    def test_change_that_is_refused_is_no_refresh(self) -> None:
        """The refusal of any other INVITE changes nothing here."""
        timer = make()
        timer.answered(ok("1800;refresher=uac"))
        self.assertEqual(timer.refused(response(491), 1.0), ())
        self.assertIs(timer.state, State.OURS)

    def test_nothing_after_the_end(self) -> None:
        """A session that is over starts no timer."""
        for state in (State.OFF, State.OURS, State.THEIRS, State.REFRESHING, State.BACKING_OFF):
            timer = make()
            timer.state = state
            self.assertEqual(timer.feed(Event.CLOSE), (StopTimers(),))
            self.assertEqual(timer.answered(ok("1800")), ())
            self.assertEqual(timer.answer(invite(SUPPORTED, ("Session-Expires", "1800")))[1], ())
            self.assertEqual([event for event in Event if not timer.absorbs(event)], [])

    def test_absorbs_all_else(self) -> None:
        """These events, and no others, do something in these states."""
        always = {"CLOSE", "NOT_AGREED", "OURS", "THEIRS"}
        expected = {
            State.OFF: set(),
            State.OURS: {"EXPIRY", "REFRESH"},
            State.THEIRS: {"EXPIRY"},
            State.REFRESHING: {"AGAIN", "EXPIRY", "GONE", "PENDING", "REFUSED"},
            State.BACKING_OFF: {"EXPIRY", "RETRY"},
        }
        for state, events in expected.items():
            timer = make()
            timer.state = state
            self.assertEqual({event.name for event in Event if not timer.absorbs(event)}, always | events)


class BothSidesTests(SynchronousTestCase):
    """A caller and a callee."""

    policies = st.builds(
        SessionTimerPolicy,
        interval=st.none() | st.integers(1, 4000),
        minimum=st.integers(90, 2000),
        refresher=st.none() | st.sampled_from(Refresher),
    )

    @settings(deadline=None, max_examples=300)
    @given(policies, policies, st.lists(st.booleans(), max_size=4))
    def test_both_agree(self, one: SessionTimerPolicy, other: SessionTimerPolicy, later: list[bool]) -> None:
        """Whatever they want, after a few requests of either side there is one interval, and one who refreshes."""
        timers = (SessionTimer(one), SessionTimer(other))
        for is_first in (True, *later):
            caller, callee = timers if is_first else timers[::-1]
            for _ in range(RETRY_LIMIT):
                request = invite(SUPPORTED, *caller.request_fields())
                try:
                    callee.check(request)
                except RequestRefusedError as error:
                    self.assertTrue(caller.may_retry(response(error.status, *error.headers)))
                    continue
                fields, _ = callee.answer(request)
                caller.answered(Response(200, "OK", Headers(fields)))
                break
            else:
                self.fail("no end of 422")
            self.assertEqual(caller.interval, callee.interval)
            if caller.interval is not None:
                self.assertGreaterEqual(caller.interval, max(one.minimum, other.minimum) if is_first else 90)
                self.assertNotEqual(caller.is_refresher, callee.is_refresher)
            else:
                self.assertEqual((caller.state, callee.state), (State.OFF, State.OFF))
