"""The user agent (RFC 3261 section 8), and what applications import of it: ``from sipd.ua import Account, Phone``.

The names below are found when they are first asked for: who wants the layers alone does not load a telephone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sipd.media.endpoint.settings import EndpointSettings as EndpointSettings
    from sipd.media.endpoint.settings import Ice as Ice
    from sipd.media.endpoint.settings import IceServer as IceServer
    from sipd.media.endpoint.settings import Security as Security
    from sipd.phone.account import Account as Account
    from sipd.phone.call import Call as Call
    from sipd.phone.dialing import OutgoingCall as OutgoingCall
    from sipd.phone.ended import CallEnd as CallEnd
    from sipd.phone.ended import EndedBy as EndedBy
    from sipd.phone.errors import DialConnectionRefused as DialConnectionRefused
    from sipd.phone.errors import DialError as DialError
    from sipd.phone.errors import DialTimeoutError as DialTimeoutError
    from sipd.phone.errors import DialTlsError as DialTlsError
    from sipd.phone.errors import DialTransportError as DialTransportError
    from sipd.phone.errors import DialUnresolvableError as DialUnresolvableError
    from sipd.phone.incoming import IncomingCall as IncomingCall
    from sipd.phone.phone import Phone as Phone
    from sipd.phone.progress import DialProgress as DialProgress
    from sipd.phone.progress import DialStep as DialStep
    from sipd.phone.transfers import Referred as Referred
    from sipd.phone.transfers import ReferState as ReferState
    from sipd.ua.core import UserAgent as UserAgent
    from sipd.ua.endpoint import Endpoint as Endpoint
    from sipd.ua.publishing import Publication as Publication
    from sipd.ua.registration import Registration as Registration
    from sipd.ua.session import Session as Session
    from sipd.ua.subscribing import Subscription as Subscription

#: Name to module.
_HOMES = {
    "Account": "sipd.phone.account",
    "Call": "sipd.phone.call",
    "CallEnd": "sipd.phone.ended",
    "DialConnectionRefused": "sipd.phone.errors",
    "DialError": "sipd.phone.errors",
    "DialTimeoutError": "sipd.phone.errors",
    "DialTlsError": "sipd.phone.errors",
    "DialTransportError": "sipd.phone.errors",
    "DialUnresolvableError": "sipd.phone.errors",
    "DialProgress": "sipd.phone.progress",
    "DialStep": "sipd.phone.progress",
    "EndedBy": "sipd.phone.ended",
    "Endpoint": "sipd.ua.endpoint",
    "EndpointSettings": "sipd.media.endpoint.settings",
    "Ice": "sipd.media.endpoint.settings",
    "IceServer": "sipd.media.endpoint.settings",
    "IncomingCall": "sipd.phone.incoming",
    "OutgoingCall": "sipd.phone.dialing",
    "Phone": "sipd.phone.phone",
    "Publication": "sipd.ua.publishing",
    "ReferState": "sipd.phone.transfers",
    "Referred": "sipd.phone.transfers",
    "Registration": "sipd.ua.registration",
    "Security": "sipd.media.endpoint.settings",
    "Session": "sipd.ua.session",
    "Subscription": "sipd.ua.subscribing",
    "UserAgent": "sipd.ua.core",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
