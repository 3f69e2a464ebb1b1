"""A full agent: RFC 8445 sections 6 to 8, for one data stream, with consent (RFC 7675) and patience (RFC 8863).

The controlling side nominates regularly (section 8.1.1): the best pair of a component that works, once no better one is
to be checked, or after a while. A component is nominated for once; if that fails, all fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from typing_extensions import override

from sipd.ice.candidates import LocalCandidate, canonical, peer_reflexive_priority
from sipd.ice.checklist import CheckList, Pair, PairState
from sipd.ice.checks import ROLE_CONFLICT, Check, RoleClaim, write_check
from sipd.ice.consent import Consent
from sipd.ice.effects import Effects, Failed, IceCredentials, IceTiming, Learned, Role, Send, Side, State
from sipd.ice.party import SLACK, TOLD, Arrival, Party
from sipd.rtp.stun import TRANSACTION_SIZE, Kind, StunMessage
from sipd.sdp.candidates import CANDIDATE_LIMIT, Address, Candidate


class IceAgent(Party):
    """See the module and `Party`.

    Args:
        role: as in `Party`, and what follows, too.
    """

    def __init__(
        self,
        *,
        role: Role,
        local: Sequence[LocalCandidate],
        entropy: Callable[[int], bytes],
        credentials: IceCredentials | None = None,
        timing: IceTiming | None = None,
    ) -> None:
        #: They last longer than a session: until a restart has selected other pairs.
        self._consents: dict[int, Consent] = {}
        super().__init__(role=role, local=local, entropy=entropy, credentials=credentials, timing=timing)

    @override
    def _forget(self) -> None:
        super()._forget()
        self._list = CheckList(self.role)
        self._valid: list[Pair] = []
        self._checks: dict[bytes, Check] = {}
        self._first_valid: dict[int, float] = {}
        self._next_check = self._patience_at = self._give_up_at = 0.0

    @override
    def path(self, component: int) -> tuple[Address, Address] | None:
        if component in self.selected:
            return super().path(component)
        return next((pair.path for pair in self._valid if pair.component == component), None)

    # What the other side says.

    @override
    def _begin(self, now: float) -> None:
        self._list = CheckList(self.role)
        self._list.fill(self._pairable(), self._candidates.values())
        self._next_check = now
        self._patience_at = now + self._timing.patience
        self._give_up_at = now + 2 * self._timing.patience

    @override
    def _added(self, candidates: Sequence[Candidate], now: float) -> None:
        if self.state is State.RUNNING:
            self._list.extend([each for each in self._pairable() if self._is_open(each)], candidates)

    @override
    def _replaced(self, known: Candidate, candidate: Candidate) -> None:
        for pair in self._valid:
            if pair.remote is known:
                pair.remote = candidate
        self._list.replace_remote(known, candidate)
        self._weigh_valid()

    def _pairable(self) -> list[LocalCandidate]:
        """Our candidates, without peer-reflexive ones, which are in no pairs (section 7.2.5.3.1)."""
        return [
            each for each in self._local if each.candidate.kind in TOLD and each.candidate.component in self._components
        ]

    def _is_open(self, local: LocalCandidate) -> bool:
        return local.candidate.component not in self._chosen

    # Checks that come.

    @override
    def _loses(self, claim: RoleClaim) -> bool:
        if claim.role is not self.role:
            return False
        is_winner = self._tie_breaker >= claim.tie_breaker
        if is_winner is (self.role is Role.CONTROLLING):
            return True
        self._change_role()
        return False

    @override
    def _checked(self, arrival: Arrival, now: float) -> None:
        """Section 7.3.1.3 to 7.3.1.5."""
        component = self._component_of[arrival.base]
        nominates = arrival.request.nominates and self.role is Role.CONTROLLED
        present = self.selected[component] if component in self._chosen else None
        if present is not None and (not nominates or present.path == (arrival.base, arrival.source)):
            return
        remote = self._remote_candidate(arrival)
        if remote is None:
            return
        pair = self._list.find(arrival.base, arrival.source)
        made = pair or self._list.make_pair(self._local_of(arrival.base), remote)
        if present is not None and not self._gives_way(present, made.priority, now):
            return
        made.is_wanted = made.is_wanted or nominates
        if pair is None:
            self._list.add_triggered(made)
        elif pair.valid is not None and pair.state is PairState.SUCCEEDED:
            if nominates:
                self._nominated(pair.valid, now)
        else:
            if pair.state is PairState.IN_PROGRESS:
                self._supersede(pair, now)
            self._list.trigger(pair)

    def _supersede(self, pair: Pair, now: float) -> None:
        """Send the check of a pair no more, since a triggered one is to follow; an answer to it still counts."""
        if pair.earlier is not None:
            self._drop(pair.earlier)
        if pair.check is not None:
            pair.check.cancel(now)
        pair.earlier, pair.check = pair.check, None

    # Checks that are sent.

    def _send_check(self, pair: Pair, now: float) -> None:
        """Send a first request."""
        if pair.check is not None:
            self._supersede(pair, now)
        transaction = self._entropy(TRANSACTION_SIZE)
        priority = peer_reflexive_priority(pair.local.candidate.priority)
        nominates = pair.to_nominate and self.role is Role.CONTROLLING
        data = write_check(
            transaction,
            local=self.credentials,
            remote=self._remote_credentials,
            priority=priority,
            claim=RoleClaim(role=self.role, tie_breaker=self._tie_breaker),
            nominates=nominates,
        )
        rto = max(self._timing.retransmission, self._timing.pacing * self._list.busy_count)
        pair.check = self._checks[transaction] = Check(
            transaction=transaction,
            pair=pair,
            data=data,
            role=self.role,
            priority=priority,
            nominates=nominates,
            rto=rto,
            due=now + rto,
        )
        self._effects.append(Send(*pair.path, data))

    @property
    def _remote_credentials(self) -> IceCredentials:
        if self.remote is None:
            raise LookupError("no description")
        return IceCredentials(ufrag=self.remote.ufrag, pwd=self.remote.pwd)

    def _drop(self, check: Check) -> None:
        """Forget a check."""
        self._checks.pop(check.transaction, None)
        if check.pair.earlier is check:
            check.pair.earlier = None

    @override
    def _answered(self, message: StunMessage, source: Address, base: Address, now: float) -> None:
        """Section 7.2.5. What is not rightly signed, or the answer to nothing, never came (RFC 8489 section 9.1.4)."""
        check = self._checks.get(message.transaction)
        if check is None:
            self._consented(message, source, base, now)
            return
        if not message.is_signed_with(self._remote_credentials.key):
            return
        self._drop(check)
        pair = check.pair
        mapped = message.mapped_address
        code = message.error_code
        if (base, source) != pair.path:
            self._pair_failed(check, "answered from elsewhere")
        elif message.kind is Kind.ERROR and code is not None and code[0] == ROLE_CONFLICT:
            self._conflicted(check.role)
            if pair.check is check:
                pair.check = None
                self._list.trigger(pair)
        elif message.kind is Kind.ERROR or mapped is None:
            self._pair_failed(check, "refused" if code is None else f"refused with {code[0]}")
        else:
            self._succeeded(check, canonical(mapped), now)

    def _conflicted(self, role: Role) -> None:
        """Take the other role, if the request had the present one, with another tie-breaker (section 7.2.5.1)."""
        if role is self.role:
            self._change_role()
            self._tie_breaker = int.from_bytes(self._entropy(8), "big")

    def _change_role(self) -> None:
        self.role = self.role.other
        self._list.change_role(self.role)
        self._weigh_valid()
        for pair in self._list.pairs:
            pair.to_nominate = False
            pair.is_wanted = False

    def _weigh_valid(self) -> None:
        """Put valid pairs in order, the best first."""
        for pair in self._valid:
            pair.priority = self._list.make_pair(pair.local, pair.remote).priority
        self._valid.sort(key=lambda pair: -pair.priority)

    def _pair_failed(self, check: Check, text: str) -> None:
        """Section 7.2.5.4; a failed nomination fails all (section 8.1.1)."""
        pair = check.pair
        if pair.check is not check:
            return
        pair.check = None
        pair.state = PairState.FAILED
        self._valid = [each for each in self._valid if each is not pair.valid]
        pair.valid = None
        if check.nominates and pair.to_nominate:
            self._fail(f"the nominated pair of component {pair.component} is {text}")

    def _succeeded(self, check: Check, mapped: Address, now: float) -> None:
        """Section 7.2.5.3."""
        pair = check.pair
        valid = self._valid_pair(check, mapped)
        self._list.unfreeze(pair.foundation)
        self._first_valid.setdefault(pair.component, now)
        if pair.to_nominate and not check.nominates:
            # The answer to an earlier check: that of the nomination is still waited for.
            return
        if pair.check is not None and pair.check is not check:
            self._drop(pair.check)
        pair.check = None
        pair.state = PairState.SUCCEEDED
        self._list.untrigger(pair)
        if check.nominates if self.role is Role.CONTROLLING else pair.is_wanted:
            self._nominated(valid, now)

    def _valid_pair(self, check: Check, mapped: Address) -> Pair:
        """Give the pair that a check has shown to work, in the list of those: sections 7.2.5.3.1 and 7.2.5.3.2."""
        pair = check.pair
        local = next(
            (each for each in self._local if each.base == pair.local.base and each.candidate.address == mapped), None
        )
        if mapped == pair.local.candidate.address:
            local = pair.local
        elif local is None and len(self._local) < CANDIDATE_LIMIT:
            candidate = self._make_reflexive(pair.component, mapped, check.priority, pair.local.base)
            local = LocalCandidate(candidate=candidate, base=pair.local.base)
            self._local.append(local)
            self._effects.append(Learned(Side.LOCAL, candidate))
        valid = self._list.make_pair(local or pair.local, pair.remote)
        valid.state = PairState.SUCCEEDED
        valid.produced_by = pair
        self._valid = [each for each in self._valid if each is not pair.valid] + [valid]
        pair.valid = valid
        self._weigh_valid()
        return valid

    # What they come to.

    def _nominated(self, valid: Pair, now: float) -> None:
        """Use a pair, unless there is a better one, and stop checking others: section 8.1.2."""
        component = valid.component
        self._select(valid, now)
        if self.selected[component] is not valid or valid.produced_by is None:
            return
        removed = set(self._list.keep_only((valid.produced_by,), component))
        for check in [each for each in self._checks.values() if each.pair in removed]:
            self._drop(check)
        self._valid = [each for each in self._valid if each is valid or each.component != component]
        self._consents[component] = Consent(
            path=valid.path,
            local=self.credentials,
            remote=self._remote_credentials,
            role=self.role,
            priority=peer_reflexive_priority(valid.produced_by.local.candidate.priority),
            due=now + self._timing.consent_interval * self._jitter(),
            expires=now + self._timing.consent_expiry,
        )
        if self.state is State.COMPLETED:
            self._consents = {each: self._consents[each] for each in self._components}

    def _nominate(self, now: float) -> None:
        """Nominate what is ready for it."""
        for component in sorted(self._components - self._chosen):
            at = self._nomination_at(component)
            if at is not None and at <= now + SLACK:
                best = next(pair for pair in self._valid if pair.component == component)
                if best.produced_by is not None:
                    best.produced_by.to_nominate = True
                    self._list.trigger(best.produced_by)

    def _nomination_at(self, component: int) -> float | None:
        """Say when a component's best pair is to be nominated; ``None`` if there is none, or it is nominated."""
        if component in self._chosen or component not in self._first_valid:
            return None
        best = next((pair for pair in self._valid if pair.component == component), None)
        pairs = [pair for pair in self._list.pairs if pair.component == component]
        if best is None or best.produced_by is None or any(pair.to_nominate for pair in pairs):
            return None
        priority = best.produced_by.priority
        is_best = not any(pair.priority > priority and not pair.is_settled for pair in pairs)
        first = self._first_valid[component]
        return first if is_best else first + self._timing.nomination

    @override
    def _flush(self, now: float) -> Effects:
        if self.state is State.RUNNING:
            if self.role is Role.CONTROLLING:
                self._nominate(now)
            is_out = now + SLACK >= self._patience_at and not self._list.is_busy
            if is_out or now + SLACK >= self._give_up_at:
                self._fail(self._missing())
        return super()._flush(now)

    def _missing(self) -> str:
        """Say why there is a component without a selected pair."""
        component = min(self._components - self._chosen)
        if any(pair.component == component for pair in self._valid):
            return f"no pair of component {component} was nominated in time"
        return f"no pair of component {component} works"

    def _fail(self, text: str) -> None:
        """Give up: nothing is sent any more."""
        self.state = State.FAILED
        self.selected.clear()
        self._chosen.clear()
        self._valid.clear()
        self._stop()
        self._effects.append(Failed(text))

    @override
    def _stop(self) -> None:
        self._checks.clear()
        self._list = CheckList(self.role)
        if self.state in (State.FAILED, State.CLOSED):
            self._consents.clear()

    # Time.

    @override
    def _due(self, now: float) -> None:
        for check in [each for each in self._checks.values() if each.due <= now + SLACK]:
            if check.transaction not in self._checks:
                continue
            if check.advance(now):
                self._effects.append(Send(*check.pair.path, check.data))
            else:
                self._drop(check)
                self._pair_failed(check, "not answered")
        for component, consent in list(self._consents.items()):
            if component in self._consents:
                self._ask_consent(component, consent, now)
        if self.remote is not None and self._next_check <= now + SLACK and (pair := self._list.take()) is not None:
            self._next_check = now + self._timing.pacing
            self._send_check(pair, now)

    @override
    def _next_due(self) -> float | None:
        times = [consent.due for consent in self._consents.values()]
        times += [consent.expires for consent in self._consents.values()]
        times += [check.due for check in self._checks.values()]
        if self.remote is not None and self._list.is_ready:
            times.append(self._next_check)
        if self.state is State.RUNNING:
            times.append(self._give_up_at if self._list.is_busy else self._patience_at)
            if self.role is Role.CONTROLLING:
                times += [at for each in self._components if (at := self._nomination_at(each)) is not None]
        return min(times, default=None)

    # Consent.

    def _jitter(self) -> float:
        """Give 0.8 to 1.2 (RFC 7675 section 5.1)."""
        return 0.8 + 0.4 * self._entropy(1)[0] / 255

    def _ask_consent(self, component: int, consent: Consent, now: float) -> None:
        if consent.expires <= now + SLACK:
            self._fail(f"consent to send on component {component} has expired")
        elif consent.due <= now + SLACK:
            transaction = self._entropy(TRANSACTION_SIZE)
            data = write_check(
                transaction,
                local=consent.local,
                remote=consent.remote,
                priority=consent.priority,
                claim=RoleClaim(role=consent.role, tie_breaker=self._tie_breaker),
                nominates=False,
            )
            consent.asked(transaction, now + self._timing.consent_interval * self._jitter())
            self._effects.append(Send(*consent.path, data))

    def _consented(self, message: StunMessage, source: Address, base: Address, now: float) -> None:
        """Take the answer to a check of consent."""
        for component, consent in self._consents.items():
            if not consent.has_asked(message.transaction) or consent.path != (base, source):
                continue
            if message.is_signed_with(consent.remote.key):
                if message.kind is Kind.SUCCESS:
                    consent.given(message.transaction, now + self._timing.consent_expiry)
                    self._heard[component] = now
                elif message.error_code is not None and message.error_code[0] == ROLE_CONFLICT:
                    consent.role = consent.role.other
            return
