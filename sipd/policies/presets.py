"""Policies to begin with. Each is shown with messages, as doctests, in ``docs/policies.md``.

Those for carriers keep to what their public documents ask of an INVITE; none was tried with the carrier itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from sipd.policies.headers import HeaderPolicy
from sipd.policies.identity import AddressPolicy, HistoryForStrangers, IdentityForm, NumberRule
from sipd.policies.legs import LegPolicy, TransferPolicy
from sipd.policies.statuses import Phrases, ReasonForm, StatusPolicy
from sipd.policies.text import Template, compile_globs
from sipd.sdp.filters import CodecRule, DescriptionPolicy

#: An international prefix of most countries becomes the plus of E.164. Others depend on the country.
_INTERNATIONAL = NumberRule(pattern=re.compile(r"00([1-9][0-9]{3,14})"), value=Template("+{1}"))

#: What end points need of each other, and what names neither a host nor a program.
_HARMLESS = ("subject", "priority", "reason", "date", "p-early-media")
#: The same for attributes of session descriptions (RFC 8866 section 6, RFC 4585, RFC 8285).
_HARMLESS_ATTRIBUTES = ("ptime", "maxptime", "rtcp-fb", "framerate", "extmap", "quality", "t38*", "bitrate")

TRANSPARENT = LegPolicy(
    name="transparent",
    headers=HeaderPolicy(also=("user-agent", "server", "warning", "retry-after", "allow-events", "in-reply-to")),
    transfer=TransferPolicy.PASS,
)

HIDE = LegPolicy(
    name="hide",
    headers=HeaderPolicy(only=_HARMLESS),
    statuses=StatusPolicy(phrases=Phrases.STANDARD, reasons=ReasonForm.CAUSE),
    addresses=AddressPolicy(has_own_domain=True),
    description=DescriptionPolicy(attributes=compile_globs(_HARMLESS_ATTRIBUTES), is_bare=True),
    transfer=TransferPolicy.TERMINATE,
    trusted=False,
    tells_strangers=False,
    history=HistoryForStrangers.REMOVE,
    user_agent="",
)

#: The recommendation of the SIP Forum for trunks between exchanges and carriers, which specifications of carriers refer
#: to: E.164 with plus and ``user=phone``, an asserted identity, anonymous From with ``Privacy: id``, G.711.
SIPCONNECT = LegPolicy(
    name="sipconnect",
    headers=HeaderPolicy(deny=("diversion", "remote-party-id", "x-*")),
    statuses=StatusPolicy(reasons=ReasonForm.Q850),
    addresses=AddressPolicy(numbers=(_INTERNATIONAL,), is_phone=True, hides_from=True, to_is_target=True),
    description=DescriptionPolicy(
        kinds=frozenset(("audio",)), codecs=(CodecRule(allow=("pcma", "pcmu"), deny=("cn",)),), ptime=20
    ),
    trusted=True,
    form=IdentityForm.PAI,
)

#: Telnyx: the caller's number, in +E.164, is taken from P-Asserted-Identity; for an anonymous call it has to be there,
#: too, beside ``Privacy: id``.
TELNYX = LegPolicy(
    name="telnyx",
    headers=HeaderPolicy(deny=("remote-party-id",)),
    addresses=AddressPolicy(numbers=(_INTERNATIONAL,), to_is_target=True),
    trusted=True,
    form=IdentityForm.PAI,
)

#: CM.com: the same, and ``Privacy: id`` makes From anonymous in any case.
CM = LegPolicy(
    name="cm",
    headers=HeaderPolicy(deny=("remote-party-id", "diversion")),
    addresses=AddressPolicy(numbers=(_INTERNATIONAL,), hides_from=True, to_is_target=True),
    trusted=True,
    form=IdentityForm.PAI,
)

#: Microsoft Teams, Direct Routing: addresses are of the domain by which it knows sipd, numbers are +E.164, P-Asserted-
#: Identity comes with Privacy, and calls are transferred by REFER, which sipd does itself.
TEAMS = LegPolicy(
    name="teams",
    headers=HeaderPolicy(deny=("remote-party-id",)),
    addresses=AddressPolicy(numbers=(_INTERNATIONAL,), is_phone=True, has_own_domain=True, to_is_target=True),
    transfer=TransferPolicy.TERMINATE,
    trusted=True,
    form=IdentityForm.PAI,
)

PRESETS: Mapping[str, LegPolicy] = MappingProxyType(
    {preset.name: preset for preset in (TRANSPARENT, HIDE, SIPCONNECT, TELNYX, CM, TEAMS)}
)
