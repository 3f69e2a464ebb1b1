"""Digest authentication: its arithmetic, and the client's side (RFC 7616, RFC 2617, RFC 8760; RFC 3261 section 22).

The server's side, which needs a clock and a memory, is `sipd.registrar.authentication`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sipd.errors import LocalError, ParseError
from sipd.sip.fields import AuthParameters
from sipd.sip.grammar import split_commas
from sipd.sip.message import Request, Response

#: Algorithm token (RFC 8760 section 2.1) to the name that hashlib knows it by, strongest first.
ALGORITHMS = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
#: Header field of a challenge to that of its answer (RFC 3261 sections 22.2 and 22.3).
ANSWERED_BY = {"WWW-Authenticate": "Authorization", "Proxy-Authenticate": "Proxy-Authorization"}
#: Nonces whose use is counted; when there are more, the one that was used least recently is forgotten.
MAX_COUNTED_NONCES = 100
#: Realms whose credentials one request may carry; a request that is challenged for more is given up.
MAX_REALMS = 8

_SESSION = "-SESS"


class DigestCredentials(Protocol):
    """What a client knows; `sipd.interfaces.Credentials` is one."""

    @property
    def username(self) -> str:
        """As in the digest."""

    @property
    def password(self) -> str | None:
        """Clear text, or ``None`` where only hashes are known."""

    @property
    def ha1(self) -> dict[str, str]:
        """Algorithm to ``H(user:realm:password)``."""

    @property
    def realm(self) -> str:
        """The only realm to answer, or empty for any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One digest challenge that can be answered (RFC 7616 section 3.3).

    Args:
        header: name of the header field that answers it.
        realm: whose users are asked for.
        nonce: the server's.
        algorithm: a key of `ALGORITHMS`.
        token: the algorithm as the server wrote it, ``-sess`` included; ``None`` where it wrote none, which means MD5.
        qop: ``auth``, else ``auth-int``; empty for a server of RFC 2069 that offers none.
        opaque: to be given back, or ``None``.
        is_stale: the nonce was too old; the password was right.
    """

    header: str
    realm: str
    nonce: str
    algorithm: str
    token: str | None
    qop: str
    opaque: str | None
    is_stale: bool

    @property
    def is_session(self) -> bool:
        """Whether the hash of the password is bound to a session (RFC 7616 section 3.4.2)."""
        return self.token is not None and self.token.upper().endswith(_SESSION)

    @classmethod
    def read(cls, header: str, parameters: AuthParameters) -> Challenge | None:
        """Read a challenge; ``None`` if it is of another scheme, incomplete, or needs what is not supported here.

        Credentials say everything that their challenge said, so they can be read as well.
        """
        values = parameters.parameters
        token = values.get("algorithm")
        algorithm = (token or "MD5").upper().removesuffix(_SESSION)
        if parameters.scheme.lower() != "digest" or algorithm not in available_algorithms():
            return None
        if "realm" not in values or "nonce" not in values:
            return None
        offered = [word.strip().lower() for word in values.get("qop", "").split(",")]
        qop = next((word for word in ("auth", "auth-int", "") if word in offered), None)
        challenge = cls(
            header=header,
            realm=values["realm"],
            nonce=values["nonce"],
            algorithm=algorithm,
            token=token,
            qop=qop or "",
            opaque=values.get("opaque"),
            is_stale=values.get("stale", "").lower() == "true",
        )
        # A session needs a cnonce, and without qop there is none.
        return None if qop is None or (challenge.is_session and not qop) else challenge


def available_algorithms() -> tuple[str, ...]:
    """Give the tokens of the algorithms that this Python can compute, strongest first.

    SHA-512-256 comes from OpenSSL and is missing where Python was built with a library that lacks it.
    """
    return tuple(token for token, name in ALGORITHMS.items() if name in hashlib.algorithms_available)


def hash_octets(algorithm: str, data: bytes) -> str:
    """Give H(data) in lower-case hexadecimal digits.

    Args:
        algorithm: a key of `ALGORITHMS`.
        data: any octets.

    Raises:
        LocalError: the algorithm is unknown, or this Python cannot compute it.
    """
    if algorithm not in ALGORITHMS:
        raise LocalError(f"{algorithm} is no digest algorithm; known are {', '.join(ALGORITHMS)}")
    try:
        return hashlib.new(ALGORITHMS[algorithm], data, usedforsecurity=False).hexdigest()
    except ValueError:
        raise LocalError(f"{algorithm} is not available: the OpenSSL of this Python lacks it") from None


def compute_ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """Give H(A1) of an algorithm that is not ``-sess`` (RFC 7616 section 3.4.2).

    Raises:
        LocalError: the algorithm is unknown or not available.
    """
    return _hash(algorithm, f"{username}:{realm}:{password}")


def compute_session_ha1(algorithm: str, ha1: str, nonce: str, cnonce: str) -> str:
    """Give H(A1) of a ``-sess`` algorithm from that of the plain one (RFC 7616 section 3.4.2)."""
    return _hash(algorithm, f"{ha1}:{nonce}:{cnonce}")


def compute_response(
    algorithm: str,
    ha1: str,
    method: str,
    uri: str,
    nonce: str,
    *,
    qop: str = "",
    nonce_count: str = "",
    cnonce: str = "",
    body: bytes = b"",
) -> str:
    """Give the ``response`` parameter (RFC 7616 section 3.4.1; without qop that of RFC 2617 section 3.2.2.1).

    Args:
        algorithm: a key of `ALGORITHMS`.
        ha1: H(A1), lower-case hexadecimal.
        method: of the request.
        uri: the digest URI as written.
        nonce: the server's, as written.
        qop: ``auth``, ``auth-int``, or empty.
        nonce_count: eight hexadecimal digits as written.
        cnonce: the client's nonce as written.
        body: of the request; counts for ``auth-int`` only.
    """
    a2 = f"{method}:{uri}"
    if qop == "auth-int":
        a2 = f"{a2}:{hash_octets(algorithm, body)}"
    middle = f"{nonce}:{nonce_count}:{cnonce}:{qop}" if qop else nonce
    return _hash(algorithm, f"{ha1}:{middle}:{_hash(algorithm, a2)}")


def parse_challenges(lines: Sequence[str]) -> list[AuthParameters]:
    """Give the challenges of some header lines, in order; several may share a line, as in HTTP.

    A line that breaks the grammar is passed over: another one may be answerable.
    """
    challenges = []
    for line in lines:
        try:
            challenges += [AuthParameters.parse(text) for text in _split_challenges(line)]
        except ParseError:
            continue
    return challenges


def find_challenges(response: Response) -> list[Challenge]:
    """Give the challenges of a 401 or 407 that can be answered, in the server's order of preference.

    Both kinds are looked for in either response: a forking proxy gathers them (RFC 3261 section 16.7).
    """
    found = []
    for asks, answers in ANSWERED_BY.items():
        for parameters in parse_challenges(response.headers.get_all(asks)):
            challenge = Challenge.read(answers, parameters)
            if challenge is not None:
                found.append(challenge)
    return found


def authorize(
    challenge: Challenge,
    request: Request,
    credentials: DigestCredentials,
    entropy: Callable[[int], bytes],
    nonce_counts: dict[str, int],
) -> AuthParameters | None:
    """Answer one challenge.

    Args:
        challenge: what is asked.
        request: what will be sent: its method, URI and body count.
        credentials: of a user of that realm.
        entropy: for the cnonce.
        nonce_counts: how often each nonce was used; this use is added.

    Returns:
        The credentials, or ``None`` if neither the password nor its hash by that algorithm is known.
    """
    ha1 = credentials.ha1.get(challenge.algorithm)
    if ha1 is None:
        if credentials.password is None:
            return None
        ha1 = compute_ha1(challenge.algorithm, credentials.username, challenge.realm, credentials.password)
    count, cnonce = f"{_count_use(nonce_counts, challenge.nonce):08x}", entropy(16).hex()
    if challenge.is_session:
        ha1 = compute_session_ha1(challenge.algorithm, ha1, challenge.nonce, cnonce)
    response = compute_response(
        challenge.algorithm,
        ha1,
        request.method,
        request.uri_text,
        challenge.nonce,
        qop=challenge.qop,
        nonce_count=count,
        cnonce=cnonce,
        body=request.body,
    )
    values = {
        "username": credentials.username,
        "realm": challenge.realm,
        "nonce": challenge.nonce,
        "uri": request.uri_text,
        "response": response,
    }
    if challenge.token is not None:
        values["algorithm"] = challenge.token
    if challenge.opaque is not None:
        values["opaque"] = challenge.opaque
    if challenge.qop:
        values |= {"cnonce": cnonce, "qop": challenge.qop, "nc": count}
    return AuthParameters("Digest", values)


def answer_challenges(
    response: Response,
    request: Request,
    credentials: Sequence[DigestCredentials],
    entropy: Callable[[int], bytes],
    nonce_counts: dict[str, int],
) -> tuple[tuple[str, str], ...]:
    """Give the credentials with which to try a challenged request again (RFC 3261 section 22, RFC 8760 section 2.4).

    Of each realm the first challenge that can be answered is: servers list them by preference. Credentials of other
    realms that the request already carried are renewed, with the next nonce count.

    Trying again always ends, whatever the server does. Credentials that answered a challenge and were rejected are not
    tried again (section 22.2). Those that were sent ahead of a challenge are, once: their nonce is too old, whether or
    not the server says ``stale``. All nonces in the request had served before then, and the new one has not. A request
    carries the credentials of at most `MAX_REALMS` realms.

    Args:
        response: a 401 or 407.
        request: what it answers, as it was sent.
        credentials: tried in order; those for one realm only before those for any.
        entropy: for the cnonce.
        nonce_counts: how often each nonce was used; keep one dictionary for each peer. Bounded by
            `MAX_COUNTED_NONCES`.

    Returns:
        (name, value) of every Authorization and Proxy-Authorization line for `set_credentials`; empty to give up.
    """
    ordered = sorted(credentials, key=lambda one: not one.realm)
    given = _credentials_of(request)
    were_ahead = all(nonce_counts.get(one.parameters.get("nonce", ""), 0) > 1 for one in given.values())
    answers: dict[tuple[str, str], AuthParameters] = {}
    for challenge in find_challenges(response):
        key = (challenge.header, challenge.realm)
        if key in answers:
            continue
        if key in given and not (were_ahead and challenge.nonce not in nonce_counts):
            return ()
        answer = _answer(challenge, request, ordered, entropy, nonce_counts)
        if answer is not None:
            answers[key] = answer
    if not answers:
        return ()
    for key, parameters in given.items():
        if key not in answers:
            answers[key] = _repeat(key[0], parameters, request, ordered, entropy, nonce_counts) or parameters
    if len(answers) > MAX_REALMS:
        return ()
    return tuple((header, str(parameters)) for (header, _), parameters in answers.items())


def repeat_credentials(
    given: Sequence[tuple[str, str]],
    request: Request,
    credentials: Sequence[DigestCredentials],
    entropy: Callable[[int], bytes],
    nonce_counts: dict[str, int],
) -> tuple[tuple[str, str], ...]:
    """Give the credentials to send ahead of a challenge, in a later request to the same peer (RFC 3261 section 22.3).

    Args:
        given: what `proven_credentials` gave for the last one.
        request: what will be sent.
        credentials: as for `answer_challenges`.
        entropy: for the cnonce.
        nonce_counts: as for `answer_challenges`.

    Returns:
        (name, value) of every line for `set_credentials`.
    """
    repeated = []
    for header, value in given:
        for parameters in parse_challenges((value,)):
            again = _repeat(header, parameters, request, credentials, entropy, nonce_counts)
            if again is not None:
                repeated.append((header, str(again)))
    return tuple(repeated)


def proven_credentials(request: Request, response: Response) -> tuple[tuple[str, str], ...]:
    """Give the credentials of a request that its final response shows to be right; none after a challenge.

    A nonce that the server names for the next request takes the place of the one that was used (RFC 7616 section 3.5;
    Authentication-Info does not say of which realm, so that there must be one only).
    """
    if response.status in (401, 407):
        return ()
    proven = tuple((name, value) for name in ANSWERED_BY.values() for value in request.headers.get_all(name))
    next_nonce = _next_nonce(response) if proven else None
    if next_nonce is None or sum(name == "Authorization" for name, _ in proven) != 1:
        return proven
    return tuple((name, _with_nonce(value, next_nonce) if name == "Authorization" else value) for name, value in proven)


def set_credentials(request: Request, answers: Sequence[tuple[str, str]]) -> None:
    """Replace the credentials of a request by what `answer_challenges` gave. Its CSeq must grow, too (section 22.2)."""
    for header in ANSWERED_BY.values():
        request.headers.remove(header)
    for header, value in answers:
        request.headers.add(header, value)


def _repeat(
    header: str,
    given: AuthParameters,
    request: Request,
    credentials: Sequence[DigestCredentials],
    entropy: Callable[[int], bytes],
    nonce_counts: dict[str, int],
) -> AuthParameters | None:
    """Give credentials like these for another request, with the next nonce count."""
    challenge = Challenge.read(header, given)
    return None if challenge is None else _answer(challenge, request, credentials, entropy, nonce_counts)


def _next_nonce(response: Response) -> str | None:
    for line in response.headers.get_all("Authentication-Info"):
        try:
            return AuthParameters.parse(f"Digest {line}").parameters.get("nextnonce")
        except ParseError:
            return None
    return None


def _with_nonce(value: str, nonce: str) -> str:
    parameters = AuthParameters.parse(value)
    return str(AuthParameters(parameters.scheme, parameters.parameters | {"nonce": nonce}))


def _answer(
    challenge: Challenge,
    request: Request,
    credentials: Sequence[DigestCredentials],
    entropy: Callable[[int], bytes],
    nonce_counts: dict[str, int],
) -> AuthParameters | None:
    for one in credentials:
        if one.realm in ("", challenge.realm):
            answer = authorize(challenge, request, one, entropy, nonce_counts)
            if answer is not None:
                return answer
    return None


def _credentials_of(request: Request) -> dict[tuple[str, str], AuthParameters]:
    return {
        (header, parameters.parameters.get("realm", "")): parameters
        for header in ANSWERED_BY.values()
        for parameters in parse_challenges(request.headers.get_all(header))
    }


def _split_challenges(line: str) -> list[str]:
    """Cut a line where a scheme begins: an element with white space before its equals sign."""
    challenges: list[list[str]] = []
    for element in split_commas(line):
        name, _, _ = element.partition("=")
        if " " in name.rstrip() or not challenges:
            challenges.append([element])
        elif element:
            challenges[-1].append(element)
    return [", ".join(elements) for elements in challenges]


def _count_use(nonce_counts: dict[str, int], nonce: str) -> int:
    count = nonce_counts.pop(nonce, 0) + 1
    nonce_counts[nonce] = count
    if len(nonce_counts) > MAX_COUNTED_NONCES:
        del nonce_counts[next(iter(nonce_counts))]
    return count


def _hash(algorithm: str, text: str) -> str:
    return hash_octets(algorithm, text.encode("utf-8", "surrogateescape"))
