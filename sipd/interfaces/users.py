"""Joints of who somebody is, and where (RFC 3261 sections 10 and 22)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.policies import MediaPolicy
    from sipd.sip.locate import Target
    from sipd.sip.message import Request
    from sipd.sip.uri import Uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of ours, wherever it is kept. Nothing in it is secret.

    Args:
        name: as in its addresses of record.
        is_enabled: whether it may register, call and be called.
        display_name: for people; empty if it has none.
        identities: further addresses, such as telephone numbers.
        policy: the name of its policy; empty for that of all.
        max_calls: that it may have at a time; ``None`` for no bound of its own.
        media: how media of its legs is relayed; ``None`` for as for all.
    """

    name: str
    is_enabled: bool = True
    display_name: str = ""
    identities: tuple[Uri, ...] = ()
    policy: str = ""
    max_calls: int | None = None
    media: MediaPolicy | None = None


class IAccounts(Interface):
    """The users of ours, whether a configuration, a database or a service has them."""

    def known(name: str) -> Account | None:
        """Give what is known of a user here and now, without asking anybody; ``None`` if that is nothing.

        Whoever has proved to be a user, or is called by way of ``route``, is known.
        """

    def account(name: str) -> Deferred[Account | None]:
        """Give a user; ``None`` if there is none of that name.

        Fails with `RequestRefusedError` (503) if who would know cannot be asked.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a user knows: a password, or hashes of it. Never printed.

    Args:
        username: as in the digest.
        password: clear text, or ``None`` where only hashes are known.
        ha1: digest algorithm name (``MD5``, ``SHA-256``, ``SHA-512-256``) to H(user:realm:password), lower-case hex.
        realm: for a client: the only realm to answer, or empty for any.
    """

    username: str
    password: str | None = field(default=None, repr=False)
    ha1: dict[str, str] = field(default_factory=dict, repr=False)
    realm: str = ""


class ICredentialStore(Interface):
    """Where the server side of digest finds users."""

    def credentials(username: str, realm: str) -> Deferred[Credentials | None]:
        """Give what is known of a user in a realm, or ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestProof:
    """The answer to a challenge, checked for form but not for truth (RFC 7616 section 3.4).

    Args:
        username, realm, nonce, uri, response: as they came.
        algorithm: a token of RFC 8760 section 2.1, in upper case.
        qop: as it came; empty for a client of RFC 2069.
        nonce_count, cnonce: empty without `qop`.
        request: that it came with.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str = field(repr=False)
    algorithm: str
    qop: str
    nonce_count: str
    cnonce: str
    request: Request = field(repr=False)


class IDigestVerifier(Interface):
    """Checks proofs of users whose passwords are known elsewhere, and only there. Nonces are not its concern."""

    def verify(proof: DigestProof) -> Deferred[str | None]:
        """Give the name of the user whose proof it is; ``None`` if it is wrong, or there is no such user.

        Fails with `RequestRefusedError` (503) if who would know cannot be asked.
        """


class IAuthenticator(Interface):
    """Decides who sent a request (RFC 3261 section 22, RFC 7616, RFC 8760)."""

    def authenticate(request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
        """Give the name of the user whose credentials the request carries.

        Args:
            request: any request but ACK and CANCEL.
            realm: to challenge for.
            proxy: 407 and Proxy-Authenticate if true, else 401 and WWW-Authenticate.

        Fails with `RequestRefusedError`: 401 or 407 with challenges, 400 for credentials that do not parse.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One contact of an address of record (RFC 3261 section 10.3).

    Args:
        aor: canonical (``sip:alice@example.com``).
        contact: the Contact header value as registered, with its parameters.
        uri: the URI in it.
        q: 0.0 to 1.0.
        expires_at: seconds of the wall clock (Unix time).
        call_id, cseq: of the REGISTER that made or refreshed it.
        path: Path header values in order (RFC 3327).
        source: where the REGISTER came from; requests go back there when the contact lies behind NAT.
        point: name of the listening point that it came to.
        user_agent: its User-Agent, or empty.
    """

    aor: str
    contact: str
    uri: Uri
    q: float
    expires_at: float
    call_id: str
    cseq: int
    path: tuple[str, ...] = ()
    source: Target | None = None
    point: str = ""
    user_agent: str = ""


class ILocationService(Interface):
    """Who is reachable where (RFC 3261 section 10)."""

    def lookup(aor: str) -> Sequence[Binding]:
        """Give the live bindings of a canonical AOR, highest q first; empty if there are none."""


class IRegistrationObserver(Interface):
    """Watches registrations: for one line in the log each, for counters."""

    def binding_made(binding: Binding, expires: int) -> None:
        """A contact is bound that was not before. ``expires`` in seconds."""

    def binding_refreshed(binding: Binding, expires: int) -> None:
        """A bound contact was registered again. ``expires`` in seconds."""

    def binding_removed(binding: Binding) -> None:
        """A contact was unregistered."""

    def binding_expired(binding: Binding) -> None:
        """A contact was not refreshed in time."""

    def registration_refused(aor: str, source: Target, status: int, reason: str) -> None:
        """A REGISTER was answered with an error. The first 401, which only asks who it is, does not count."""
