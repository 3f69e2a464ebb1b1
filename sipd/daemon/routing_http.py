"""From the section ``[routing.http]`` to the router that asks a service before it asks the dial plan."""

from __future__ import annotations

from collections.abc import Container
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sipd.daemon.layers import domain_in_uri
from sipd.daemon.policies import make_policies
from sipd.daemon.sections import Config
from sipd.errors import ConfigurationError
from sipd.interfaces import ILocationService, IRouter, ITrunks
from sipd.routing.http import Fallback, HttpRouter, HttpRouterSettings, Service
from sipd.routing.registered import RegisteredUsers
from sipd.routing.rules import is_emergency

if TYPE_CHECKING:
    from sipd.daemon.routing_service import ConnectedService


def make_service(config: Config, reactor: Any) -> ConnectedService | None:
    """Give the service that is configured, if there is one. Nothing is asked yet.

    Raises:
        ConfigurationError: treq is not installed, or its authorities are no certificates.
    """
    section = config.routing.http
    if section is None:
        return None
    if find_spec("treq") is None:
        raise ConfigurationError(["routing.http: needs the extra: pip install 'sipd[http]'"])
    # treq takes a while to import, and most do not need it.
    from sipd.daemon.routing_service import ConnectedService

    return ConnectedService(section, reactor)


def make_http_router(
    config: Config,
    service: Service,
    plan: IRouter,
    location: ILocationService,
    *,
    domains: frozenset[str],
    users: Container[str],
    trunks: ITrunks | None = None,
) -> IRouter:
    """Put a service in front of the dial plan, if there is one.

    Args:
        config: says what it is asked about.
        service: who is asked.
        plan: the dial plan.
        location: who is registered where.
        domains: every host that means us in a request URI.
        users: the names of ours.
        trunks: the peers beside them.
    """
    section = config.routing.http
    if section is None:
        return plan
    registered = RegisteredUsers(
        domains=domains, location=location, is_user=users.__contains__, timeout=config.timers.ring
    )
    emergency = frozenset(config.routing.emergency)
    return HttpRouter(
        service,
        plan,
        HttpRouterSettings(
            domain=domain_in_uri(config),
            methods=frozenset(section.methods),
            headers=section.headers,
            fallback=Fallback(section.fallback),
            timeout=config.timers.ring,
        ),
        is_emergency=lambda asked: is_emergency(asked.request.uri, emergency),
        users=registered.route,
        trunks=trunks,
        policies=make_policies(config),
    )
