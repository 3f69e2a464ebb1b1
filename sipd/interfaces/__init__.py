"""Every joint between two layers, and those for applications.

Each interface is written from the side that calls it. The values that cross a joint stand beside it.
"""

from collections.abc import Callable

from sipd.interfaces.calls import ICallObserver
from sipd.interfaces.media import IMediaRelay, IMediaSession, IMediaStudio
from sipd.interfaces.routing import Attempt, IGate, IRouter, ITrunks, Route, RoutingRequest
from sipd.interfaces.transactions import (
    IClientTransaction,
    IRequestHandler,
    IServerTransaction,
    IServerTransactionUser,
    ITransactionCore,
    ITransactionLayer,
    ITransactionUser,
)
from sipd.interfaces.transport import (
    IFlow,
    IMessageObserver,
    IMessageReceiver,
    IResolver,
    ITransportLayer,
    ListeningPoint,
)
from sipd.interfaces.users import (
    Binding,
    Credentials,
    IAuthenticator,
    ICredentialStore,
    ILocationService,
    IRegistrationObserver,
)
from sipd.policies import CryptoPolicy, Dtmf, EarlyMedia, MediaPolicy
from sipd.records import CallRecord, Decision, StreamStatistics

__all__ = [
    "Attempt",
    "Binding",
    "CallRecord",
    "Credentials",
    "CryptoPolicy",
    "Decision",
    "Dtmf",
    "EarlyMedia",
    "Entropy",
    "IAuthenticator",
    "ICallObserver",
    "IClientTransaction",
    "ICredentialStore",
    "IFlow",
    "IGate",
    "ILocationService",
    "IMediaRelay",
    "IMediaSession",
    "IMediaStudio",
    "IMessageObserver",
    "IMessageReceiver",
    "IRegistrationObserver",
    "IRequestHandler",
    "IResolver",
    "IRouter",
    "IServerTransaction",
    "IServerTransactionUser",
    "ITransactionCore",
    "ITransactionLayer",
    "ITransactionUser",
    "ITransportLayer",
    "ITrunks",
    "ListeningPoint",
    "MediaPolicy",
    "Route",
    "RoutingRequest",
    "StreamStatistics",
]

#: Gives that many octets of randomness: `secrets.token_bytes`, or a seeded source in a simulation.
Entropy = Callable[[int], bytes]
