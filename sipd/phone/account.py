"""Who a phone is: its address of record, its password, and where its provider is (RFC 3261 sections 10 and 22)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sipd.errors import ConfigurationError, ParseError
from sipd.interfaces import Credentials
from sipd.phone.fields import HeaderFields, pairs
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.uri import SipUri, parse_sip_uri


@dataclass(frozen=True, slots=True)
class Account:
    """An account at a provider, or just a name.

    Args:
        uri: the address of record: ``sip:alice@example.org``.
        password: for digest challenges; ``None`` to answer none.
        username: as digest has it; by default the user part of `uri`.
        display_name: what phones show of the caller.
        registrar: where to register: a URI, or a host; by default the domain of `uri`. Several, with spaces between,
            are tried in turn.
        proxy: where every request goes first: a URI, or a host; by default where `uri` and the callee lead.
        register: whether the phone registers when it starts, and is ready when that is done.
        expires: seconds to register for, 60 to 86400; the registrar may grant others.
        realm: the only one whose challenges are answered; empty for any.
        headers: more header fields of each REGISTER; an Allow here takes the place of the usual one.

    Raises:
        ConfigurationError: something of it cannot be used; a line for each mistake.
    """

    uri: str
    password: str | None = field(default=None, repr=False)
    username: str = field(default="", kw_only=True)
    display_name: str = field(default="", kw_only=True)
    registrar: str = field(default="", kw_only=True)
    proxy: str = field(default="", kw_only=True)
    register: bool = field(default=False, kw_only=True)
    expires: int = field(default=1800, kw_only=True)
    realm: str = field(default="", kw_only=True)
    headers: HeaderFields = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigurationError(problems)

    def _problems(self) -> Iterable[str]:
        for name in ("uri", "proxy", "registrar"):
            whole: str = getattr(self, name)
            for text in whole.split() if name == "registrar" else [whole] if whole or name == "uri" else []:
                try:
                    read_place(text)
                except ParseError:
                    yield f"{name}: a URI such as sip:alice@example.org expected (got {text!r})"
        if not 60 <= self.expires <= 86400:
            yield f"expires: 60 to 86400 seconds expected (got {self.expires})"
        try:
            Headers(pairs(self.headers))
        except ParseError as error:
            yield f"headers: {error.reason}"
        if not self.display_name.isprintable():
            yield "display_name: one line expected"

    @property
    def aor(self) -> SipUri:
        """The address of record."""
        return read_place(self.uri)

    @property
    def address(self) -> NameAddr:
        """The same with the display name, for From."""
        return NameAddr(self.aor, self.display_name)

    @property
    def registrars(self) -> tuple[SipUri, ...]:
        """Where to register, the preferred one first."""
        places = tuple([read_place(text) for text in self.registrar.split()])
        aor = self.aor
        return places or (aor.replace(user=None, password=None, headers=()),)

    @property
    def outbound_proxy(self) -> SipUri | None:
        """Where requests go first, or ``None``."""
        return read_place(self.proxy) if self.proxy else None

    @property
    def credentials(self) -> Credentials | None:
        """What answers challenges, or ``None``."""
        if self.password is None:
            return None
        return Credentials(username=self.username or self.aor.user or "", password=self.password, realm=self.realm)


def read_place(text: str) -> SipUri:
    """Read a ``sip`` or ``sips`` URI, whose scheme may be left off.

    Raises:
        ParseError: it is none.
    """
    lower = text.lower()
    return parse_sip_uri(text if lower.startswith(("sip:", "sips:")) else f"sip:{text}")
