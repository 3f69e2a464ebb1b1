"""From ``[[policies]]`` to the values that legs follow, and which of them is whose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from sipd.daemon.problems import KeyPath, Problem
from sipd.daemon.sections import Config
from sipd.daemon.sections.policies import AddressForm, Description, HeaderFields, HeaderRuleSection, PolicySection
from sipd.daemon.values import Table, shown
from sipd.policies import (
    PRESETS,
    AddressPolicy,
    CodecRule,
    DescriptionPolicy,
    EarlyMedia,
    HeaderPolicy,
    HistoryForStrangers,
    HoldForm,
    IdentityForm,
    LegPolicy,
    Phrases,
    ReasonForm,
    ReliablePolicy,
    StatusPolicy,
    TransferPolicy,
)
from sipd.policies.text import compile_globs
from sipd.sip.session_timer import SessionTimerPolicy

#: Where a policy may be named, and by which keys.
_NAMED_BY = {"users": ("policy",), "trunks": ("policy",), "routes": ("policy", "caller_policy")}

Value = TypeVar("Value")


def make_policies(config: Config) -> dict[str, LegPolicy]:
    """Give what each name means; presets can be named, too, unless there is a policy of that name."""
    session = SessionTimerPolicy(interval=config.timers.session or None, minimum=config.timers.session_minimum)
    return {**PRESETS, **{section.name: leg_policy(section, session) for section in config.policies}}


def user_policies(config: Config, policies: Mapping[str, LegPolicy]) -> dict[str, LegPolicy]:
    """Give what is wanted of the legs of users, by their names."""
    return {user.name: policies[user.policy] for user in config.users if user.policy is not None}


def trunk_policies(config: Config, policies: Mapping[str, LegPolicy]) -> dict[str, LegPolicy]:
    """Give what is wanted of the legs of trunks, by their names."""
    return {trunk.name: policies[trunk.policy] for trunk in config.trunks if trunk.policy is not None}


def takes_referrals_somewhere(config: Config) -> bool:
    """Say whether there is a leg whose REFER is not refused by its policy."""
    named = {user.policy for user in config.users} | {trunk.policy for trunk in config.trunks}
    named |= {policy for rule in config.routes for policy in (rule.policy, rule.caller_policy)}
    policies = make_policies(config)
    wanted = (policies[name].transfer for name in named if name is not None)
    return any(transfer not in (None, TransferPolicy.REFUSE) for transfer in wanted)


def find_policy_conflicts(table: Table) -> Iterator[Problem]:
    """Give each place where a policy is named that there is not."""
    written = table.get("policies")
    names = [one.get("name") for one in written if isinstance(one, dict)] if isinstance(written, list) else []
    known = [name for name in names if isinstance(name, str)] + [name for name in PRESETS if name not in names]
    for section, keys in _NAMED_BY.items():
        entries = table.get(section)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            for key in keys:
                name = entry.get(key) if isinstance(entry, dict) else None
                if isinstance(name, str) and name not in known:
                    path: KeyPath = (section, index, key)
                    text = f"the name of a policy, or of a preset, expected (got {shown(name)})"
                    yield Problem(path, f"{text}; there are: {', '.join(known)}")


def leg_policy(section: PolicySection, session: SessionTimerPolicy) -> LegPolicy:
    """Give a policy: what its section says counts before the preset.

    Rules of one's own for statuses, numbers and codecs are tried before those of the preset, those for header fields
    come after them.

    Args:
        section: the section.
        session: the session timer of all other legs.
    """
    base = PRESETS[section.preset] if section.preset is not None else LegPolicy()
    return replace(
        base,
        name=section.name,
        headers=_headers(base.headers, section.header_fields, section.header_rules, heard=False),
        heard_headers=_headers(base.heard_headers, section.heard_header_fields, section.header_rules, heard=True),
        statuses=_statuses(base.statuses, section),
        heard_statuses=_heard_statuses(base.heard_statuses, section),
        addresses=_addresses(base.addresses, section.address_form, section),
        description=_description(base.description, section.description, section),
        early_media=_or(None if section.early_media is None else EarlyMedia(section.early_media), base.early_media),
        reliable=_or(None if section.reliable is None else ReliablePolicy(section.reliable), base.reliable),
        session_timer=_session(base.session_timer, section, session),
        transfer=_or(None if section.transfer is None else TransferPolicy(section.transfer), base.transfer),
        trusted=_or(section.trusted, base.trusted),
        form=_or(None if section.form is None else IdentityForm(section.form), base.form),
        anonymises=_or(section.anonymise, base.anonymises),
        tells_strangers=_or(section.tell_strangers, base.tells_strangers),
        history=_or(None if section.history is None else HistoryForStrangers(section.history), base.history),
        user_agent=_or(section.user_agent, base.user_agent),
    )


def _or(own: Value | None, other: Value) -> Value:
    return other if own is None else own


def _headers(
    base: HeaderPolicy | None, lists: HeaderFields, rules: tuple[HeaderRuleSection, ...], *, heard: bool
) -> HeaderPolicy | None:
    default = base or HeaderPolicy()
    made = HeaderPolicy(
        also=_or(lists.also, default.also),
        only=_or(lists.only, default.only),
        deny=_or(lists.deny, default.deny),
        rules=(*default.rules, *(rule.rule() for rule in rules if rule.heard is heard)),
    )
    return made if made != HeaderPolicy() else None


def _statuses(base: StatusPolicy | None, section: PolicySection) -> StatusPolicy | None:
    default = base or StatusPolicy()
    made = StatusPolicy(
        rules=(*(rule.rule() for rule in section.status_rules if not rule.heard), *default.rules),
        phrases=default.phrases if section.phrases is None else Phrases(section.phrases),
        reasons=default.reasons if section.reasons is None else ReasonForm(section.reasons),
    )
    return made if made != StatusPolicy() else None


def _heard_statuses(base: StatusPolicy | None, section: PolicySection) -> StatusPolicy | None:
    own = tuple(rule.rule() for rule in section.status_rules if rule.heard)
    default = base or StatusPolicy()
    return replace(default, rules=(*own, *default.rules)) if own else base


def _addresses(base: AddressPolicy | None, form: AddressForm, section: PolicySection) -> AddressPolicy | None:
    default = base or AddressPolicy()
    made = AddressPolicy(
        numbers=(*(rule.rule() for rule in section.number_rules), *default.numbers),
        is_phone=_or(form.phone, default.is_phone),
        domain=_or(form.domain, default.domain),
        has_own_domain=_or(form.own_domain, default.has_own_domain),
        has_name=_or(form.names, default.has_name),
        hides_from=_or(form.anonymous_from, default.hides_from),
        to_is_target=_or(form.to_is_target, default.to_is_target),
    )
    return made if made != AddressPolicy() else None


def _description(
    base: DescriptionPolicy | None, given: Description, section: PolicySection
) -> DescriptionPolicy | None:
    default = base or DescriptionPolicy()
    made = DescriptionPolicy(
        kinds=default.kinds if given.kinds is None else frozenset(given.kinds),
        denied_kinds=default.denied_kinds if given.denied_kinds is None else frozenset(given.denied_kinds),
        codecs=(
            *(
                CodecRule(kind=rule.kind, allow=_lower(rule.allow), deny=_lower(rule.deny), order=_lower(rule.order))
                for rule in section.codec_rules
            ),
            *default.codecs,
        ),
        ptime=_or(given.ptime, default.ptime),
        maxptime=_or(given.maxptime, default.maxptime),
        attributes=default.attributes if given.attributes is None else compile_globs(given.attributes),
        denied_attributes=(
            default.denied_attributes if given.denied_attributes is None else compile_globs(given.denied_attributes)
        ),
        bandwidth=_or(given.bandwidth, default.bandwidth),
        is_bare=_or(given.bare, default.is_bare),
        hold=default.hold if given.hold is None else HoldForm(given.hold),
    )
    return made if made != DescriptionPolicy() else None


def _session(
    base: SessionTimerPolicy | None, section: PolicySection, default: SessionTimerPolicy
) -> SessionTimerPolicy | None:
    if section.session is None and section.session_minimum is None:
        return base
    known = base or default
    minimum = _or(section.session_minimum, known.minimum)
    interval = known.interval if section.session is None else section.session or None
    return replace(known, interval=None if interval is None else max(interval, minimum), minimum=minimum)


def _lower(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)
