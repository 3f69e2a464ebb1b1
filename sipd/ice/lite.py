"""A lite agent: RFC 8445 sections 2.5, 6.1.1 and 7.3.2. For a host that everybody can reach.

It sends no checks, and so none of consent (RFC 7675 section 5.1 asks for them only of full agents): it answers the
other side's, and uses what the other side nominates. It never fails by itself: who calls has other means to notice that
nobody comes, and that no media come any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from sipd.ice.candidates import pair_priority
from sipd.ice.checklist import CheckList, Pair, PairState
from sipd.ice.checks import RoleClaim, write_keepalive
from sipd.ice.effects import Role, Send, State
from sipd.ice.party import SLACK, Arrival, Party
from sipd.rtp.stun import TRANSACTION_SIZE, StunMessage
from sipd.sdp.candidates import Address, Candidate


class LiteAgent(Party):
    """See the module and `Party`.

    With a full agent it is always controlled. Two lite agents use the best pair of each component without a check.
    """

    IS_LITE = True

    @override
    def _forget(self) -> None:
        super()._forget()
        self._keepalive_at: float | None = None

    @override
    def _begin(self, now: float) -> None:
        if self.remote is None or not self.remote.is_lite:
            return
        pairs = CheckList(self.role)
        pairs.fill(self._local, self._candidates.values())
        for pair in pairs.pairs:
            if pair.component not in self._chosen:
                self._use(pair, now)

    @override
    def _added(self, candidates: Sequence[Candidate], now: float) -> None:
        """They mean nothing: the other side checks them."""

    @override
    def _replaced(self, known: Candidate, candidate: Candidate) -> None:
        """They are not used for anything but their address."""

    @override
    def _checked(self, arrival: Arrival, now: float) -> None:
        """Section 7.3.2."""
        if not arrival.request.nominates:
            return
        remote = self._remote_candidate(arrival)
        if remote is None:
            return
        local = self._local_of(arrival.base)
        priority = pair_priority(remote.priority, local.candidate.priority)
        self._use(Pair(local=local, remote=remote, priority=priority, state=PairState.SUCCEEDED), now)

    def _use(self, pair: Pair, now: float) -> None:
        self._select(pair, now)
        if self._keepalive_at is None:
            self._keepalive_at = now + self._timing.keepalive

    @override
    def _answered(self, message: StunMessage, source: Address, base: Address, now: float) -> None:
        """Nothing was asked."""

    @override
    def _loses(self, claim: RoleClaim) -> bool:
        """Refuse who wants to be controlled, so that it takes the role that it must have."""
        return claim.role is Role.CONTROLLED

    @override
    def _due(self, now: float) -> None:
        if self._keepalive_at is None or self._keepalive_at > now + SLACK:
            return
        self._keepalive_at = now + self._timing.keepalive
        for pair in self.selected.values():
            self._effects.append(Send(*pair.path, write_keepalive(self._entropy(TRANSACTION_SIZE))))

    @override
    def _next_due(self) -> float | None:
        return self._keepalive_at if self.state is not State.NEW else None

    @override
    def _stop(self) -> None:
        self._keepalive_at = None
