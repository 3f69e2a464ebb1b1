"""The HTTP service that says where calls go, as the section ``[routing.http]`` has it. Needs the extra ``http``."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool

from sipd.daemon.sections.routing_http import RoutingHttp
from sipd.errors import ConfigurationError
from sipd.routing.service import RoutingService, ServiceSettings

#: Seconds for which a connection is kept that nothing uses: fewer than most servers do.
_IDLE = 4.0
_END = "-----END CERTIFICATE-----"


class ConnectedService(RoutingService):
    """The service, with the connections that it is asked on.

    Args:
        section: which one.
        reactor: connects.

    Raises:
        ConfigurationError: its authorities are no certificates.
    """

    def __init__(self, section: RoutingHttp, reactor: Any) -> None:
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = section.concurrency
        self._pool.cachedConnectionTimeout = _IDLE  # type: ignore[assignment]
        agent = Agent(reactor, _policy(section), connectTimeout=section.timeout, pool=self._pool)
        super().__init__(service_settings(section), agent=agent, reactor=reactor)

    def stop(self) -> Deferred[None]:
        """Ask no more, and close the connections."""
        self.close()
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing


def service_settings(section: RoutingHttp) -> ServiceSettings:
    """Give what the service may cost."""
    return ServiceSettings(
        url=section.url,
        token=section.token.text if section.token else "",
        key=section.key.text if section.key else "",
        timeout=section.timeout,
        concurrency=section.concurrency,
        answer_limit=section.answer_size_octets,
        memory=section.memory,
        memory_entries=section.memory_entries,
        failures=section.failures,
        rest=section.rest,
    )


def _policy(section: RoutingHttp) -> BrowserLikePolicyForHTTPS:
    """Give who is believed to be the service: who has a certificate for its name."""
    if section.ca is None:
        return BrowserLikePolicyForHTTPS()
    try:
        parts = section.ca.read_text("ascii").split(_END)[:-1]
        authorities = [Certificate.loadPEM((part + _END).encode("ascii")) for part in parts]
    except (OSError, ValueError) as error:
        raise ConfigurationError([f"routing.http.ca: {section.ca}: certificates expected: {error}"]) from None
    if not authorities:
        raise ConfigurationError([f"routing.http.ca: {section.ca}: certificates in PEM expected"])
    return BrowserLikePolicyForHTTPS(trustRootFromCertificates(authorities))
