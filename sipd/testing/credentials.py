"""Digest answers of a scripted peer (RFC 7616 section 3.4), worked out apart from `sipd.sip.digest`."""

from __future__ import annotations

import hashlib

from sipd.sip.fields import AuthParameters
from sipd.sip.message import Request, Response

_ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def authorize(request: Request, refusal: Response, username: str, password: str, cnonce: str) -> bool:
    """Put credentials for the first challenge that can be answered into a request.

    Args:
        request: the one to be sent again; it is changed.
        refusal: the 401 or 407.
        username: of the peer.
        password: of the peer.
        cnonce: any text without quotes.

    Returns:
        Whether there was a challenge that can be answered.
    """
    challenge_name, name = (
        ("WWW-Authenticate", "Authorization")
        if refusal.status == 401
        else ("Proxy-Authenticate", "Proxy-Authorization")
    )
    for line in refusal.headers.get_all(challenge_name):
        challenge = AuthParameters.parse(line)
        algorithm = challenge.parameters.get("algorithm", "MD5")
        if challenge.scheme.lower() == "digest" and algorithm in _ALGORITHMS:
            request.headers.set(name, _credentials(request, challenge, algorithm, username, password, cnonce))
            return True
    return False


def _credentials(
    request: Request, challenge: AuthParameters, algorithm: str, username: str, password: str, cnonce: str
) -> str:
    def digest(*parts: str) -> str:
        return hashlib.new(_ALGORITHMS[algorithm], ":".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    realm, nonce = challenge.parameters["realm"], challenge.parameters["nonce"]
    secret = digest(username, realm, password)
    what = digest(request.method, request.uri_text)
    fields = {"username": f'"{username}"', "realm": f'"{realm}"', "nonce": f'"{nonce}"', "uri": f'"{request.uri_text}"'}
    if "auth" in challenge.parameters.get("qop", "").replace(" ", "").split(","):
        fields |= {"qop": "auth", "nc": "00000001", "cnonce": f'"{cnonce}"'}
        fields["response"] = f'"{digest(secret, nonce, "00000001", cnonce, "auth", what)}"'
    else:
        fields["response"] = f'"{digest(secret, nonce, what)}"'
    fields["algorithm"] = algorithm
    if "opaque" in challenge.parameters:
        fields["opaque"] = f'"{challenge.parameters["opaque"]}"'
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items())
