"""From what a database or a service says of a user to an account: every value is looked at, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn, Protocol

from sipd.accounts.interfaces import MalformedAccountError, StoredAccount
from sipd.errors import ParseError
from sipd.interfaces import Account, CryptoPolicy, MediaPolicy
from sipd.rtp.tones import find_tone
from sipd.sip.uri import OtherUri, SipUri, Uri, parse_uri

#: Hexadecimal digits of a hash, by digest algorithm (RFC 7616, RFC 8760).
HASH_DIGITS: Mapping[str, int] = {"SHA-512-256": 64, "SHA-256": 64, "MD5": 32}
#: Further addresses that one account may have.
MAX_IDENTITIES = 100
#: Characters of any text.
MAX_TEXT = 1024

_NAME = re.compile(r"[^\s\"<>@:;,]{1,64}\Z")
_RECORD = ("wave", "pcap", "no")


def is_name(text: str) -> bool:
    """Say whether an account may be called that: no store is asked for anything else."""
    return _NAME.match(text) is not None and text.isprintable()


class Reader(Protocol):
    """Makes accounts of tables of values."""

    def read(self, name: str, values: Mapping[str, object]) -> StoredAccount:
        """Give the account of that name.

        Raises:
            MalformedAccountError: a value is not what its key asks for.
        """


@dataclass(frozen=True, slots=True)
class AccountReader:
    """Reads tables of values, such as a row or a JSON object.

    Their keys are ``password``, ``ha1`` and ``ha1_of_address`` (algorithm to hash), ``enabled``, ``display_name``,
    ``identities`` (a list of URIs), ``policy``, ``max_calls``, ``srtp``, ``record`` and ``hold_music``. None is needed.
    Other keys are passed over, and so is what is null or empty.

    Args:
        media: how media is relayed of accounts that say nothing of it; the basis of those that do.
        can_record: whether there is a place for recordings.
        can_encrypt: whether SRTP is to be had.
        policies: the names of those that there are; ``None`` for any.
    """

    media: MediaPolicy = field(default_factory=MediaPolicy)
    can_record: bool = True
    can_encrypt: bool = True
    policies: frozenset[str] | None = None

    def read(self, name: str, values: Mapping[str, object]) -> StoredAccount:
        """See `Reader`."""
        reading = _Reading(name, values)
        return StoredAccount(
            account=Account(
                name=name,
                is_enabled=reading.flag("enabled"),
                display_name=reading.text("display_name"),
                identities=reading.identities(),
                policy=self._policy(reading),
                max_calls=reading.count("max_calls"),
                media=self._media(reading),
            ),
            password=reading.text("password") or None,
            ha1=reading.hashes("ha1"),
            ha1_of_address=reading.hashes("ha1_of_address"),
        )

    def _policy(self, reading: _Reading) -> str:
        policy = reading.text("policy")
        if policy and self.policies is not None and policy not in self.policies:
            reading.fail("policy", "the name of a policy")
        return policy

    def _media(self, reading: _Reading) -> MediaPolicy | None:
        srtp = reading.choice("srtp", tuple(policy.value for policy in CryptoPolicy))
        record = reading.choice("record", _RECORD)
        music = reading.sound("hold_music")
        if not (srtp or record or music):
            return None
        if srtp in ("optional", "required") and not self.can_encrypt:
            reading.fail("srtp", '"off" or "pass", since this installation has no SRTP,')
        if record in ("wave", "pcap") and not self.can_record:
            reading.fail("record", '"no", since there is no directory for recordings,')
        return replace(
            self.media,
            crypto=CryptoPolicy(srtp) if srtp else self.media.crypto,
            record=("" if record == "no" else record) if record else self.media.record,
            hold_music=music or self.media.hold_music,
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    """One table. No message shows a value: it may be a secret in the wrong place."""

    name: str
    values: Mapping[str, object]

    def fail(self, key: str, expected: str) -> NoReturn:
        raise MalformedAccountError(f"the account of {self.name}: {key}: {expected} expected")

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
            self.fail(key, f"a line of at most {MAX_TEXT} characters")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        text = self.text(key)
        if text and text not in choices:
            self.fail(key, " or ".join(f'"{choice}"' for choice in choices))
        return text

    def flag(self, key: str) -> bool:
        """A database without truth values has numbers."""
        value = self.values.get(key)
        if value is None:
            return True
        if not isinstance(value, int) or value not in (0, 1):
            self.fail(key, "true or false")
        return bool(value)

    def count(self, key: str) -> int | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.fail(key, "a whole number, 0 or more,")
        return value

    def hashes(self, key: str) -> dict[str, str]:
        given = self.values.get(key)
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            self.fail(key, "a table of hashes")
        hashes = {}
        for algorithm, value in given.items():
            digits = HASH_DIGITS.get(algorithm)
            if digits is None:
                self.fail(key, f"only {', '.join(HASH_DIGITS)} as algorithms")
            if value is None or value == "":
                continue
            if not isinstance(value, str) or not re.fullmatch(f"[0-9A-Fa-f]{{{digits}}}", value):
                self.fail(key, f"{digits} hexadecimal digits for {algorithm}")
            hashes[algorithm] = value.lower()
        return hashes

    def identities(self) -> tuple[Uri, ...]:
        given = self.values.get("identities")
        if given is None:
            return ()
        if not isinstance(given, list | tuple) or len(given) > MAX_IDENTITIES:
            self.fail("identities", f"a list of at most {MAX_IDENTITIES} addresses")
        return tuple([self._identity(value) for value in given])

    def _identity(self, value: object) -> Uri:
        try:
            uri = parse_uri(value) if isinstance(value, str) else None
        except ParseError:
            uri = None
        if uri is None or isinstance(uri, OtherUri) or (isinstance(uri, SipUri) and uri.user is None):
            self.fail("identities", 'addresses such as "tel:+49301234" or "sip:sales@example.com"')
        return uri

    def sound(self, key: str) -> str:
        """A tone, or a file of this host."""
        text = self.text(key)
        if text.startswith("tone:"):
            _, _, name = text.partition(":")
            country, _, tone = name.partition(":")
            try:
                find_tone(country, tone)
            except ValueError as error:
                self.fail(key, f"a tone that is known ({error})")
        elif text and not text.startswith("/"):
            self.fail(key, 'a tone such as "tone:eu:dial", or the absolute path of a file,')
        return text
