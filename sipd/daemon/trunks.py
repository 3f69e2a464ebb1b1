"""From the sections on trunks to the trunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sipd.daemon.layers import media_of
from sipd.daemon.policies import make_policies, trunk_policies
from sipd.daemon.routing import credentials_of, numbering_of
from sipd.daemon.sections import Config, Media, TrunkRegistration, TrunkSection
from sipd.daemon.trunking import all_statuses
from sipd.guards.limits import TrunkLimits
from sipd.interfaces import Credentials, Dtmf, EarlyMedia, LegPolicy, MediaPolicy
from sipd.routing.numbers import Form, Numbering
from sipd.sip.registrant import RegistrationTiming
from sipd.trunks.settings import HealthSettings, NumberFormat, TrunkSettings
from sipd.ua.registering import RegistrationSettings

#: How a number is written that is written so in every country: only the national form asks for one.
_ANYWHERE = Numbering(country_code="")
_FORMS = {NumberFormat.PLUS: Form.PLUS, NumberFormat.E164: Form.E164, NumberFormat.NATIONAL: Form.NATIONAL}


def trunk_settings(config: Config) -> tuple[TrunkSettings, ...]:
    """Give all trunks, in order."""
    policies = trunk_policies(config, make_policies(config))
    return tuple(_trunk(section, config.media, policies.get(section.name)) for section in config.trunks)


def trunk_limits(config: Config) -> dict[str, TrunkLimits]:
    """Give the bounds of the calls of each, by name."""
    return {
        section.name: TrunkLimits(
            calls=section.calls,
            calls_in=section.calls_in,
            calls_out=section.calls_out,
            per_second_in=section.calls_per_second_in,
            per_second_out=section.calls_per_second_out,
        )
        for section in config.trunks
    }


def number_writer(config: Config) -> Callable[[str, TrunkSettings], str]:
    """Give what writes a number as a trunk wants it."""
    numbering = numbering_of(config.routing) or _ANYWHERE

    def write(number: str, trunk: TrunkSettings) -> str:
        form = _FORMS.get(trunk.number_format)
        return number if form is None else numbering.write(number, form)

    return write


def _trunk(section: TrunkSection, media: Media, policy: LegPolicy | None) -> TrunkSettings:
    credentials = credentials_of(section.credentials)
    health = section.health
    return TrunkSettings(
        name=section.name,
        servers=section.servers,
        domain=section.domain or "",
        credentials=credentials,
        registration=None
        if section.registration is None
        else _registration(section, section.registration, credentials),
        needs_registration=section.registration is None or section.registration.needed,
        networks=section.networks,
        certificate_names=section.certificate_names,
        users=section.users,
        health=HealthSettings(
            interval=health.interval,
            failures=health.failures,
            successes=health.successes,
            up_statuses=all_statuses(health.up),
            recovery=health.recovery,
        ),
        number_format=NumberFormat(section.numbers),
        caller=section.caller,
        trusted=section.trusted,
        policy=policy,
        codecs=tuple(name.lower() for name in section.codecs),
        media=_media(section, media),
        early_media=EarlyMedia(section.early_media),
        dtmf=Dtmf(section.dtmf),
        timeout=section.timeout,
        response_timeout=section.response_timeout,
        stops=frozenset(section.stops),
        redirects=section.redirects,
        point=section.point or "",
    )


def _registration(
    section: TrunkSection, registration: TrunkRegistration, credentials: Credentials | None
) -> RegistrationSettings:
    return RegistrationSettings(
        aor=registration.aor,
        registrars=registration.registrars or tuple(server.uri for server in section.servers),
        credentials=credentials,
        uri=registration.uri,
        contact_user=registration.contact_user or "",
        point=section.point or "",
        timing=RegistrationTiming(
            expires=registration.expires,
            retry_base=registration.retry,
            retry_limit=registration.retry_limit,
            return_after=registration.return_after,
            leave_limit=registration.leave_limit,
        ),
        patience=registration.patience,
        keepalive=registration.empty_lines,
    )


def _media(section: TrunkSection, default: Media) -> MediaPolicy | None:
    given = section.srtp or section.record or section.hold_music or section.ringback or section.asymmetric
    if not given and section.relay:
        return None
    return replace(media_of(section, default), is_asymmetric=section.asymmetric, is_bypassed=not section.relay)
