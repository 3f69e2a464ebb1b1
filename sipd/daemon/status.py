"""What a running sipd says of itself to the commands ``sipd status`` and ``sipd trunks``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from sipd.daemon.commands.base import sipd_version
from sipd.daemon.differences import Difference
from sipd.daemon.greeting import name_point
from sipd.daemon.service import SipService
from sipd.errors import InvalidStateError, LocalError
from sipd.trunks.settings import OperatorState
from sipd.trunks.status import TrunkStatus


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


def answer_on_trunks(service: SipService, question: Mapping[str, Any]) -> dict[str, Any]:
    """Say how the trunks are, or do first what an operator wants of one of them.

    Args:
        service: what runs.
        question: ``trunk`` is the name of one, or not there for all; ``state`` is what is wanted of it, if anything is.

    Raises:
        LocalError: there is no such trunk, or no such state.
    """
    if service.stack is None:
        raise InvalidStateError("sipd does not serve")
    trunks = service.stack.trunks
    name, state = question.get("trunk"), question.get("state")
    if state is not None:
        wanted = next((one for one in OperatorState if one.value == state), None)
        if wanted is None:
            raise LocalError(f"{', '.join(one.value for one in OperatorState)} expected as the state of a trunk")
        if name not in trunks:
            raise LocalError(f"there is no trunk {name}")
        # Who asks does not wait until it is unregistered.
        trunks.set_state(str(name), wanted)
    found = [_plain(one) for one in trunks.describe() if name is None or one.name == name]
    if name is not None and not found:
        raise LocalError(f"there is no trunk {name}")
    return {"ok": True, "trunks": found}


def _plain(trunk: TrunkStatus) -> dict[str, Any]:
    registration = trunk.registration
    return {
        "name": trunk.name,
        "state": trunk.state.value,
        "obstacle": trunk.obstacle,
        "servers": [
            {
                "uri": str(server.uri),
                "weight": server.weight,
                "up": server.is_up,
                "reason": server.reason,
                "rests": round(server.rests, 1),
                "calls": server.calls,
            }
            for server in trunk.servers
        ],
        "registration": None
        if registration is None
        else {
            "aor": str(registration.aor),
            "state": registration.state.value,
            "registrar": None if registration.registrar is None else str(registration.registrar),
            "expires": round(registration.expires),
            "failure": registration.failure,
        },
    }
