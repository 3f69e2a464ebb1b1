"""What a running sipd says of itself to the command `sipd status`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from sipd.daemon.commands.base import sipd_version
from sipd.daemon.differences import Difference
from sipd.daemon.greeting import name_point
from sipd.daemon.service import SipService


def status_of(service: SipService, pending: Sequence[Difference]) -> dict[str, Any]:
    """Give it as plain values.

    Args:
        service: what runs.
        pending: what of the configuration needs a restart.
    """
    status: dict[str, Any] = {
        "state": service.state,
        "version": sipd_version(),
        "pid": os.getpid(),
        "needs_restart": [str(one) for one in pending],
    }
    stack = service.stack
    if stack is not None:
        status |= {
            "listening": [name_point(point) for point in stack.transport.points],
            "calls": len(stack.b2bua),
            "registered": len(stack.location),
            "subscriptions": len(stack.watching.subscriptions),
            "connections": stack.transport.connection_count,
            "transactions": len(stack.transactions),
            "records_waiting": stack.records.waiting,
        }
    return status
