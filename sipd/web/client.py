"""The HTTP client of whatever asks a service: it keeps nothing for the service, and unpacks nothing that it sends."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

_ENCODING = b"content-encoding"


def make_client(agent: IAgent) -> HTTPClient:
    """Give a client that asks by that agent.

    It has no cookies: a service would get with one question what it gave with another. It takes no compressed bodies:
    few octets may become so many that there is no room for them, before anybody can count them.
    """
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    return HTTPClient(PlainAgent(agent), cookiejar=no_cookies)  # type: ignore[arg-type]


@implementer(IAgent)
class PlainAgent:
    """Asks for bodies as they are. One that comes compressed all the same is passed on as it came: it makes no sense.

    Args:
        agent: asks.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803
    ) -> Deferred[IResponse]:
        """See ``IAgent``."""
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"accept-encoding", [b"identity"])
        asked: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return asked.addCallback(_as_it_came)


def _as_it_came(response: IResponse) -> IResponse:
    response.headers.removeHeader(_ENCODING)
    return response
