"""Digest authentication as a server (RFC 3261 section 22, RFC 7616, RFC 8760)."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import LocalError, ParseError, RequestRefusedError
from sipd.interfaces import Credentials, DigestProof, Entropy, IAuthenticator, ICredentialStore, IDigestVerifier
from sipd.registrar.nonces import Nonces, NonceState
from sipd.sip.digest import ALGORITHMS, available_algorithms, compute_ha1, compute_response
from sipd.sip.fields import AuthParameters
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, parse_uri

_NONCE_COUNT = re.compile(r"[0-9A-Fa-f]{8}\Z")
_LOGGED_LENGTH = 64
#: Of no class: who watches for attacks looks for this name.
_security = Logger(namespace="sipd.security")
#: Stands for the count of a nonce that came without one: after it, no other use of that nonce is taken.
_LAST_COUNT = 1 << 32


@implementer(ICredentialStore)
class ConfiguredCredentials:
    """Users from a configuration.

    A password is hashed once for each realm and algorithm that is asked for.

    Args:
        users: the password, or ``ha1``, or both; a hash that is given is preferred.
    """

    def __init__(self, users: Iterable[Credentials]) -> None:
        self._users = {user.username: user for user in users}
        self._hashed: dict[tuple[str, str], Credentials] = {}

    def credentials(self, username: str, realm: str) -> Deferred[Credentials | None]:
        """See `ICredentialStore`."""
        found = self._hashed.get((username, realm))
        if found is None:
            user = self._users.get(username)
            if user is None or user.realm not in ("", realm):
                return succeed(None)
            found = self._hashed[username, realm] = _hashed(user, realm)
        return succeed(found)


@implementer(IAuthenticator)
class DigestAuthenticator:
    """Challenges requests, and checks what comes back.

    There is one challenge for each algorithm, in order of preference, each in a header line of its own, with the same
    nonce (RFC 8760 section 2.3). A client that knows no qop may use a nonce once only: without a nonce count a replay
    could not be told.

    A user who does not exist costs the same as a wrong password and is answered the same. Each failed attempt is one
    line in the log, ``security: auth-failed src=... port=... user=... realm=...``, the address before anything that
    the caller chooses.

    Args:
        store: who the users are.
        clock: for the age of nonces.
        entropy: for nonces and their key.
        algorithms: tokens, most preferred first.
        nonce_lifetime: seconds.
        max_nonces: nonces whose use is remembered; see `Nonces` for what happens at the bound.
        verifier: checks the proofs of those of whom the store knows neither a password nor a hash, or nothing at all.

    Raises:
        LocalError: an algorithm is unknown or not available here.
    """

    def __init__(
        self,
        store: ICredentialStore,
        *,
        clock: IReactorTime,
        entropy: Entropy,
        algorithms: Sequence[str] = tuple(ALGORITHMS),
        nonce_lifetime: float = 300.0,
        max_nonces: int = 50_000,
        verifier: IDigestVerifier | None = None,
    ) -> None:
        for algorithm in algorithms:
            if algorithm not in available_algorithms():
                raise LocalError(f"Digest algorithm {algorithm} is not available here")
        self._store = store
        self._verifier = verifier
        self._clock = clock
        self._algorithms = tuple(algorithms)
        self._nonces = Nonces(entropy=entropy, lifetime=nonce_lifetime, max_used=max_nonces)
        self._nobody = Credentials(username="", ha1={name: entropy(32).hex() for name in algorithms})

    def authenticate(self, request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
        """See `IAuthenticator`."""
        return Deferred.fromCoroutine(self._authenticate(request, realm, proxy))

    async def _authenticate(self, request: Request, realm: str, proxy: bool) -> str:
        answer = self._find_answer(request, realm, "Proxy-Authorization" if proxy else "Authorization")
        if answer is None:
            raise self._challenge(realm, proxy)
        known = await self._store.credentials(answer.username, realm)
        if self._verifier is not None and (known is None or not (known.ha1 or known.password)):
            name, remark = await self._verifier.verify(answer), ""
        else:
            name, remark = self._compare(answer, known)
        if name is None:
            self._log_failure(request, answer, remark)
            raise self._challenge(realm, proxy)
        if not self._use_nonce(answer):
            raise self._challenge(realm, proxy, ", stale=true")
        return name

    def _compare(self, answer: DigestProof, known: Credentials | None) -> tuple[str | None, str]:
        """Give the name of the user whose proof it is, else ``None`` and why; the time tells nobody who exists."""
        user = known or self._nobody
        ha1 = user.ha1.get(answer.algorithm)
        if ha1 is None and user.password is not None:
            ha1 = compute_ha1(answer.algorithm, user.username, answer.realm, user.password)
        expected = compute_response(
            answer.algorithm,
            ha1 or self._nobody.ha1[answer.algorithm],
            answer.request.method,
            answer.uri,
            answer.nonce,
            qop=answer.qop,
            nonce_count=answer.nonce_count,
            cnonce=answer.cnonce,
        )
        is_right = hmac.compare_digest(expected.encode(), answer.response.lower().encode("utf-8", "surrogateescape"))
        if known is not None and ha1 is None:
            return None, f"no {answer.algorithm} hash of this user is configured"
        return (known.username if known is not None and is_right else None), ""

    def _find_answer(self, request: Request, realm: str, header: str) -> DigestProof | None:
        """Give the first digest credentials for the realm by one of our algorithms, or ``None``.

        Raises:
            RequestRefusedError: they lack something, or are for another request (400).
        """
        for line in request.headers.get_all(header):
            try:
                parameters = AuthParameters.parse(line)
            except ParseError as error:
                raise RequestRefusedError(f"{error.reason} in {header}", status=400) from None
            if parameters.scheme.lower() != "digest" or parameters.parameters.get("realm") != realm:
                continue
            algorithm = parameters.parameters.get("algorithm", "MD5").upper()
            if algorithm in self._algorithms:
                return _read_answer(parameters.parameters, algorithm, request, header)
        return None

    def _use_nonce(self, answer: DigestProof) -> bool:
        """Say whether the nonce is good for this use, and take note of it."""
        now = self._clock.seconds()
        if self._nonces.check(answer.nonce, answer.realm, now) is not NonceState.GOOD:
            return False
        count = int(answer.nonce_count, 16) if answer.qop else _LAST_COUNT
        return self._nonces.use(answer.nonce, count, now)

    def _challenge(self, realm: str, proxy: bool, stale: str = "") -> RequestRefusedError:
        nonce = self._nonces.issue(realm, self._clock.seconds())
        name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
        shared = AuthParameters("Digest", {"realm": realm, "nonce": nonce, "qop": "auth"})
        return RequestRefusedError(
            "Proxy Authentication Required" if proxy else "Unauthorized",
            status=407 if proxy else 401,
            headers=tuple((name, f"{shared}, algorithm={algorithm}{stale}") for algorithm in self._algorithms),
        )

    def _log_failure(self, request: Request, answer: DigestProof, remark: str) -> None:
        via = request.via
        _security.warn(
            "security: auth-failed src={src} port={port} user={user} realm={realm} method={method}{remark}",
            src=via.received or via.host,
            port=via.rport or via.port or "",
            user=_quoted(answer.username),
            realm=_quoted(answer.realm),
            method=_quoted(request.method),
            remark=f" ({remark})" if remark else "",
        )


def _read_answer(values: dict[str, str], algorithm: str, request: Request, header: str) -> DigestProof:
    for name in ("username", "nonce", "uri", "response"):
        if name not in values:
            raise RequestRefusedError(f"No {name} in {header}", status=400)
    qop = values.get("qop", "").lower()
    if qop not in ("", "auth"):
        raise RequestRefusedError(f"Unknown qop in {header}", status=400)
    if qop and not (_NONCE_COUNT.match(values.get("nc", "")) and values.get("cnonce")):
        raise RequestRefusedError(f"Malformed nc or cnonce in {header}", status=400)
    if not _is_same_resource(values["uri"], request):
        raise RequestRefusedError(f"The uri in {header} is not the request URI", status=400)
    return DigestProof(
        request=request,
        username=values["username"],
        realm=values["realm"],
        nonce=values["nonce"],
        uri=values["uri"],
        response=values["response"],
        algorithm=algorithm,
        qop=values.get("qop", ""),
        nonce_count=values.get("nc", ""),
        cnonce=values.get("cnonce", ""),
    )


def _is_same_resource(text: str, request: Request) -> bool:
    """Compare the digest URI with the request URI (RFC 7616 section 3.4.6).

    Clients write ports and parameters differently in the two, so what must agree is user and host: nobody can turn
    somebody's credentials to another number.
    """
    if text == request.uri_text:
        return True
    try:
        uri = parse_uri(text)
    except ParseError:
        return False
    if isinstance(uri, SipUri) and isinstance(request.uri, SipUri):
        return uri.address_of_record() == request.uri.address_of_record()
    return uri == request.uri


def _hashed(user: Credentials, realm: str) -> Credentials:
    """Give a copy that has every hash and no password, where a password is known."""
    if user.password is None:
        return user
    computed = {name: compute_ha1(name, user.username, realm, user.password) for name in available_algorithms()}
    return replace(user, password=None, ha1=computed | user.ha1)


def _quoted(text: str) -> str:
    """Make text from the network harmless in a log: ASCII, in quotes, escaped, short."""
    return json.dumps(text[:_LOGGED_LENGTH])
