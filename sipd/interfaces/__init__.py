"""Every joint between two layers, and those for applications.

Each interface is written from the side that calls it. The values that cross a joint stand beside it.
"""

from collections.abc import Callable

from sipd.interfaces.calls import CallObserver, ICallObserver
from sipd.interfaces.media import IMediaEndpoint, IMediaRelay, IMediaSession, IMediaStudio
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
    ISourceGuard,
    ITransportLayer,
    ListeningPoint,
)
from sipd.interfaces.users import (
    Account,
    Binding,
    Credentials,
    DigestProof,
    IAccounts,
    IAuthenticator,
    ICredentialStore,
    IDigestVerifier,
    ILocationService,
    IRegistrationObserver,
)
from sipd.policies import CryptoPolicy, Dtmf, EarlyMedia, LegPolicy, MediaPolicy
from sipd.records import AttemptRecord, CallRecord, Decision, StreamStatistics

__all__ = [
    "Account",
    "Attempt",
    "AttemptRecord",
    "Binding",
    "CallObserver",
    "CallRecord",
    "Credentials",
    "CryptoPolicy",
    "Decision",
    "DigestProof",
    "Dtmf",
    "EarlyMedia",
    "Entropy",
    "IAccounts",
    "IAuthenticator",
    "ICallObserver",
    "IClientTransaction",
    "ICredentialStore",
    "IDigestVerifier",
    "IFlow",
    "IGate",
    "ILocationService",
    "IMediaEndpoint",
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
    "ISourceGuard",
    "ITransactionCore",
    "ITransactionLayer",
    "ITransactionUser",
    "ITransportLayer",
    "ITrunks",
    "LegPolicy",
    "ListeningPoint",
    "MediaPolicy",
    "Route",
    "RoutingRequest",
    "StreamStatistics",
]

#: Gives that many octets of randomness: ``secrets.token_bytes``, or a seeded source in a simulation.
Entropy = Callable[[int], bytes]
