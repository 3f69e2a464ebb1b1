"""Many calls leave nothing behind."""

from __future__ import annotations

import gc
from collections import Counter

from tests.phone.support import ALICE, BOB, PhoneCase, answering


def objects() -> Counter[str]:
    """Count what there is of sipd, by type."""
    gc.collect()
    types = [type(one) for one in gc.get_objects()]
    names = [f"{one.__module__}.{one.__qualname__}" for one in types]
    return Counter(name for name in names if name.startswith("sipd.") and not name.startswith("sipd.testing."))


class LeakTests(PhoneCase):
    """Calls that are made, answered and ended."""

    def test_calls(self) -> None:
        """After three hundred calls there are as many objects as after thirty."""
        alice, bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")

        async def call() -> None:
            talking = await alice.dial(f"bob@{BOB}")
            await self.sleep(0.1)
            await talking.hang_up()

        def calls(number: int) -> None:
            for _ in range(number):
                taken = answering(bob)
                self.run_coroutine(call(), 1.0)
                taken.clear()
            # Transactions linger for 32 seconds.
            self.clock.advance(40.0)
            self.network.log.clear()

        calls(30)
        before = objects()
        calls(300)
        self.assertEqual(objects() - before, Counter())
