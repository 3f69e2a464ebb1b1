"""Tests of `sipd.sip.glare`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.glare import other_delay, owner_delay, retry_after, retry_after_of
from sipd.testing import builders


class DelayTests(SynchronousTestCase):
    """Who waits how long."""

    def test_all_values(self) -> None:
        """Each step of 10 ms in the bands of section 14.1 comes, and nothing else."""

        def numbers(count: int) -> list[bytes]:
            return [number.to_bytes(4, "big") for number in range(count)]

        self.assertEqual(
            sorted(owner_delay(lambda count, octets=octets: octets) for octets in numbers(191)),  # type: ignore[misc]
            [step / 100 for step in range(210, 401)],
        )
        self.assertEqual(
            sorted(other_delay(lambda count, octets=octets: octets) for octets in numbers(201)),  # type: ignore[misc]
            [step / 100 for step in range(201)],
        )
        self.assertEqual(
            sorted(retry_after(lambda count, octets=octets: octets) for octets in numbers(11)),  # type: ignore[misc]
            list(range(11)),
        )

    def test_bands_do_not_meet(self) -> None:
        """Whatever chance says, the owner of the Call-ID waits longer."""
        for octets in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\xbe", b"\0\0\0\xbf", b"\0\0\0\xc8", b"\0\0\0\xc9"):
            for others in (b"\0\0\0\xc8", b"\xff\xff\xff\xff"):
                owner = owner_delay(lambda count, octets=octets: octets)  # type: ignore[misc]
                other = other_delay(lambda count, octets=others: octets)  # type: ignore[misc]
                self.assertTrue(2.1 <= owner <= 4.0)
                self.assertTrue(0 <= other <= 2.0)

    def test_retry_after(self) -> None:
        """Seconds, with a comment or parameters behind them (section 20.33); what is none counts for nothing."""
        for text, expected in (
            ("5", 5.0),
            ("18000;duration=3600", 18000.0),
            ("120 (I'm in a meeting)", 120.0),
            ("0", 0.0),
            ("", None),
            ("soon", None),
            ("-1", None),
            ("5 6", None),
            ("99999999999", None),
        ):
            response = builders.invite().response(500, headers=[("Retry-After", text)])
            self.assertEqual(retry_after_of(response), expected, text)
        self.assertIsNone(retry_after_of(builders.invite().response(500)))
