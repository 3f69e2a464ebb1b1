"""Metrics of calls, media and registrations, as Prometheus reads them."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.interfaces import CallRecord, ICallObserver, IRegistrationObserver, StreamStatistics
from sipd.observe.lag import INTERVAL, ReactorLag
from sipd.observe.metrics import CallMetrics, RegistrationMetrics
from sipd.observe.tallies import MAX_SERIES, Histogram, Tally
from sipd.records import AttemptRecord
from sipd.sip.locate import Target
from tests.observe.exposed import Samples, expose, value
from tests.observe.support import decision, record
from tests.registrar.fakes import SOURCE, binding

VERDICTS = ("ok", "one-way", "no-media")


class CallTests(SynchronousTestCase):
    """From the first event of a call to its last."""

    def setUp(self) -> None:
        self.metrics = CallMetrics(VERDICTS)

    def value(self, name: str, **labels: str) -> float | None:
        """Give one sample as it is now."""
        return value(expose(self.metrics), name, **labels)

    def end(self, call: str = "1", **changes: Any) -> Samples:
        """Let a call begin and end with that record; give all samples."""
        ended = record(ended_at=1010.0, **changes)
        self.metrics.call_started(call, ended)
        self.metrics.call_ended(call, ended)
        return expose(self.metrics)

    def test_nothing_yet(self) -> None:
        """Before the first call, what can be counted is there at 0, so that the first event is an increase."""
        verifyObject(ICallObserver, self.metrics)
        for name in ("sipd_calls_started_total", "sipd_calls_answered_total", "sipd_call_duration_seconds_count"):
            self.assertEqual(self.value(name), 0)
        self.assertEqual([self.value("sipd_calls", state=s) for s in ("setup", "ringing", "answered")], [0, 0, 0])
        self.assertEqual([self.value("sipd_media_verdicts_total", cause=cause) for cause in VERDICTS], [0, 0, 0])

    def test_an_answered_call(self) -> None:
        """A call is counted in each state that it is in, and by what it came to at each step, once."""
        call = record()
        states = []
        self.metrics.call_started("1", call)
        for changes in ({}, {"ringing_at": 1000.4}, {"answered_at": 1007.0, "status": 200}):
            for name, new in changes.items():
                setattr(call, name, new)
            for _ in range(2):
                self.metrics.call_decided("1", decision("something"))
            states.append([self.value("sipd_calls", state=s) for s in ("setup", "ringing", "answered")])
        self.assertEqual(states, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
        self.assertEqual(self.value("sipd_calls_answered_total"), 1)
        self.assertEqual(self.value("sipd_calls_ended_total", by="callee", cause="bye"), None)
        call.ended_at, call.ended_by, call.cause = 1107.0, "callee", "bye"
        self.metrics.call_ended("1", call)
        samples = expose(self.metrics)
        self.assertEqual(value(samples, "sipd_calls", state="answered"), 0)
        self.assertEqual(value(samples, "sipd_calls_started_total"), 1)
        self.assertEqual(value(samples, "sipd_calls_answered_total"), 1)
        self.assertEqual(value(samples, "sipd_calls_ended_total", by="callee", cause="bye"), 1)
        self.assertAlmostEqual(value(samples, "sipd_call_ringing_delay_seconds_sum") or 0, 0.4)
        self.assertEqual(value(samples, "sipd_call_ringing_delay_seconds_bucket", le="0.25"), 0)
        self.assertEqual(value(samples, "sipd_call_ringing_delay_seconds_bucket", le="0.5"), 1)
        self.assertEqual(value(samples, "sipd_call_answer_delay_seconds_sum"), 7)
        self.assertEqual(value(samples, "sipd_call_duration_seconds_sum"), 100)

    def test_without_an_answer(self) -> None:
        """A call that is refused or given up is counted by the class of its status, and by its cause."""
        self.end("1", status=486, cause="sip:486")
        self.end("2", status=487, cause="cancel", ended_by="caller")
        samples = self.end("3", status=503, cause="exhausted")
        for kind, cause in (("4xx", "sip:486"), ("4xx", "cancel"), ("5xx", "exhausted")):
            self.assertEqual(value(samples, "sipd_calls_refused_total", class_=kind, cause=cause), 1)
        self.assertEqual(value(samples, "sipd_calls_answered_total"), 0)
        self.assertEqual(value(samples, "sipd_call_duration_seconds_count"), 0)

    def test_invented_statuses(self) -> None:
        """A callee who answers with every number there is makes a bounded number of series."""
        samples: Samples = {}
        for status in range(300, 700):
            samples = self.end(str(status), status=status, cause=f"sip:{status}")
        causes = {labels for name, labels in samples if name == "sipd_calls_refused_total"}
        self.assertLess(len(causes), 80)
        self.assertGreater(value(samples, "sipd_calls_refused_total", class_="4xx", cause="sip:other") or 0, 10)
        self.assertEqual(value(samples, "sipd_calls_refused_total", class_="4xx", cause="sip:404"), 1)

    def test_attempts(self) -> None:
        """Each leg that was tried is counted by its trunk and by what became of it; one that joined later is not."""
        samples = self.end(
            status=200,
            answered_at=1006.0,
            attempts=[
                AttemptRecord(leg="b1", trunk="one", started_at=1000.0, status=503, cause="sip:503", reason="No"),
                AttemptRecord(leg="b2", trunk="one", started_at=1001.0, status=408, cause="timeout", reason="No"),
                AttemptRecord(
                    leg="b3",
                    trunk="two",
                    started_at=1002.0,
                    ringing_at=1002.5,
                    answered_at=1006.0,
                    ended_at=1010.0,
                    status=200,
                    reason="OK",
                ),
                AttemptRecord(leg="b4", started_at=1002.0, ended_at=1006.0, reason="answered elsewhere"),
                AttemptRecord(
                    leg="b5", label="transfer of x", uri="sip:x@192.0.2.1", started_at=1007.0, ended_at=1010.0
                ),
            ],
        )
        counted = {
            dict(labels)["result"]: n for (name, labels), n in samples.items() if name == "sipd_call_attempts_total"
        }
        self.assertEqual(counted, {"5xx": 1, "timeout": 1, "answered": 1, "cancelled": 1})
        self.assertEqual(value(samples, "sipd_call_attempts_total", trunk="one", result="5xx"), 1)
        self.assertEqual(value(samples, "sipd_call_attempts_total", trunk="", result="cancelled"), 1)
        self.assertEqual(value(samples, "sipd_call_attempt_ringing_delay_seconds_sum", trunk="two"), 0.5)
        self.assertEqual(value(samples, "sipd_call_attempt_duration_seconds_sum", trunk="two"), 4)

    def test_a_clock_that_is_set_back(self) -> None:
        """Times that run backwards count as none."""
        samples = self.end(answered_at=1020.0, ringing_at=999.0)
        self.assertEqual(value(samples, "sipd_call_duration_seconds_sum"), 0)
        self.assertEqual(value(samples, "sipd_call_ringing_delay_seconds_sum"), 0)

    def test_nothing_of_the_callers_is_a_label(self) -> None:
        """No label has who called whom, from where, by which Call-ID, or under which made-up kind of media."""
        strange = StreamStatistics(leg="a", stream=0, media="zz-made-up", source="192.0.2.66:4000", packets=3)
        samples = self.end(media=[strange], media_verdict="invented", attempts=[AttemptRecord(leg="b1", reason="x")])
        texts = {text for _, labels in samples for _, text in labels}
        for part in ("alice", "bob", "192.0.2", "a1", "zz-made-up", "invented"):
            self.assertFalse([text for text in texts if part in text], part)
        self.assertEqual(value(samples, "sipd_media_verdicts_total", cause="other"), 1)
        self.assertEqual(value(samples, "sipd_media_packets_total", side="caller", media="other", engine="none"), 3)


class MediaTests(SynchronousTestCase):
    """What is told of streams at the end of a call."""

    def samples(self, *streams: StreamStatistics, verdict: str = "") -> Samples:
        """Give what is told when a call has ended with these streams."""
        metrics = CallMetrics(VERDICTS)
        ended: CallRecord = record(media=list(streams), media_verdict=verdict)
        metrics.call_started("1", ended)
        metrics.call_ended("1", ended)
        return expose(metrics)

    def test_both_sides(self) -> None:
        """The caller's stream and the callee's are told apart, whatever the callee's leg is called."""
        caller = StreamStatistics(
            leg="a",
            stream=0,
            media="audio",
            packets=990,
            lost=10,
            dropped=3,
            jitter=0.004,
            round_trip=0.08,
            reported_lost=0.25,
            mos=4.1,
            engine="kernel",
        )
        callee = StreamStatistics(leg="b7", stream=0, media="audio", packets=500, mos=4.4, engine="worker")
        samples = self.samples(caller, callee, verdict="one-way")
        side = {"side": "caller", "media": "audio"}
        self.assertEqual(value(samples, "sipd_media_packets_total", engine="kernel", **side), 990)
        self.assertEqual(value(samples, "sipd_media_dropped_packets_total", engine="kernel", **side), 3)
        self.assertEqual(value(samples, "sipd_media_lost_packets_total", engine="kernel", **side), 10)
        self.assertEqual(value(samples, "sipd_media_loss_ratio_sum", **side), 0.01)
        self.assertEqual(value(samples, "sipd_media_reported_loss_ratio_sum", **side), 0.25)
        self.assertEqual(value(samples, "sipd_media_jitter_seconds_bucket", le="0.005", **side), 1)
        self.assertEqual(value(samples, "sipd_media_jitter_seconds_bucket", le="0.002", **side), 0)
        self.assertEqual(value(samples, "sipd_media_round_trip_seconds_sum", **side), 0.08)
        self.assertEqual(value(samples, "sipd_media_mos_sum", **side), 4.1)
        side["side"] = "callee"
        self.assertEqual(value(samples, "sipd_media_packets_total", engine="worker", **side), 500)
        self.assertEqual(value(samples, "sipd_media_loss_ratio_bucket", le="0.0", **side), 1)
        self.assertEqual(value(samples, "sipd_media_verdicts_total", cause="one-way"), 1)
        self.assertEqual(value(samples, "sipd_media_verdicts_total", cause="ok"), 0)

    def test_an_engine_that_knows_little(self) -> None:
        """What an engine does not know is left out: an unknown loss is not a good one. Its address is no label."""
        stream = StreamStatistics(leg="a", stream=0, media="audio", packets=100, engine="rtpengine 192.0.2.9:2223")
        samples = self.samples(stream)
        self.assertEqual(
            value(samples, "sipd_media_packets_total", side="caller", media="audio", engine="rtpengine"), 100
        )
        known = {name for name, _ in samples if name.startswith("sipd_media") and name.endswith("_count")}
        self.assertEqual(known, set())

    def test_nobody_looked(self) -> None:
        """A call without a verdict has none."""
        samples = self.samples()
        self.assertEqual([n for (name, _), n in samples.items() if name == "sipd_media_verdicts_total"], [0, 0, 0])


class RegistrationTests(SynchronousTestCase):
    """What happens to bindings."""

    def test_events(self) -> None:
        """Each event is counted, refusals by status."""
        metrics = RegistrationMetrics()
        verifyObject(IRegistrationObserver, metrics)
        self.assertEqual(value(expose(metrics), "sipd_bindings_changed_total", event="expired"), 0)
        metrics.binding_made(binding(), 300)
        for _ in range(3):
            metrics.binding_refreshed(binding(), 300)
        metrics.binding_removed(binding())
        metrics.binding_expired(binding())
        source: Target = SOURCE
        metrics.registration_refused("sip:mallory@example.com", source, 403, "No")
        samples = expose(metrics)
        counts = [
            value(samples, "sipd_bindings_changed_total", event=e) for e in ("made", "refreshed", "removed", "expired")
        ]
        self.assertEqual(counts, [1, 3, 1, 1])
        self.assertEqual(value(samples, "sipd_registrations_refused_total", status="403"), 1)


class TallyTests(SynchronousTestCase):
    """Counting."""

    def family(self, one: Tally | Histogram) -> Samples:
        """Give what is told of one metric."""

        class Collector:
            def collect(self) -> list[object]:
                return [one.family()]

        return expose(Collector())  # type: ignore[arg-type]

    def test_a_bounded_number_of_series(self) -> None:
        """Beyond the bound, what is new is counted together; what is known goes on."""
        tally, histogram = Tally("x_total", "X.", ("a", "b")), Histogram("y_seconds", "Y.", (1.0,), ("a",))
        for number in range(MAX_SERIES + 50):
            tally.add(str(number), "z")
            histogram.add(0.5, str(number))
        tally.add("7", "z")
        samples = self.family(tally)
        self.assertEqual(len(samples), MAX_SERIES + 1)
        self.assertEqual(value(samples, "x_total", a="other", b="other"), 50)
        self.assertEqual(value(samples, "x_total", a="7", b="z"), 2)
        self.assertEqual(value(self.family(histogram), "y_seconds_count", a="other"), 50)

    def test_bounds_are_included(self) -> None:
        """A value that is a bound is below it; what is above all of them is in the last bucket."""
        histogram = Histogram("y_seconds", "Y.", (1.0, 2.0))
        for number in (1.0, 2.0, 3.0):
            histogram.add(number)
        samples = self.family(histogram)
        counts = [value(samples, "y_seconds_bucket", le=le) for le in ("1.0", "2.0", "+Inf")]
        self.assertEqual(
            (counts, value(samples, "y_seconds_sum"), value(samples, "y_seconds_count")), ([1, 2, 3], 6, 3)
        )


class LagTests(SynchronousTestCase):
    """How late the reactor is."""

    def test_lag(self) -> None:
        """A look that comes in time counts as none, a late one by how late it is; stopped, it leaves no timer."""
        clock = Clock()
        lag = ReactorLag(clock)
        lag.start()
        clock.advance(INTERVAL)
        clock.advance(INTERVAL + 0.3)
        samples = expose(lag)
        self.assertEqual(value(samples, "sipd_reactor_lag_seconds_count"), 2)
        self.assertEqual(value(samples, "sipd_reactor_lag_seconds_bucket", le="0.001"), 1)
        self.assertEqual(value(samples, "sipd_reactor_lag_seconds_bucket", le="0.25"), 1)
        self.assertEqual(value(samples, "sipd_reactor_lag_seconds_bucket", le="0.5"), 2)
        lag.stop()
        lag.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
