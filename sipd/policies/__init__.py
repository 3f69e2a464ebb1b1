"""What is wanted of the legs of calls, as values.

How media is relayed; which header fields, statuses, identities and descriptions of sessions cross; presets of all that.
"""

from sipd.policies.headers import HeaderAction, HeaderPolicy, HeaderRule, Messages
from sipd.policies.identity import AddressPolicy, HistoryForStrangers, IdentityForm, NumberRule
from sipd.policies.legs import LegPolicy, ReliablePolicy, TransferPolicy
from sipd.policies.media import CryptoPolicy, Dtmf, EarlyMedia, MediaPolicy
from sipd.policies.presets import PRESETS
from sipd.policies.statuses import Outcome, Phrases, ReasonForm, StatusPolicy, StatusRule
from sipd.policies.text import Template
from sipd.sdp.filters import CodecRule, DescriptionPolicy, HoldForm

__all__ = [
    "PRESETS",
    "AddressPolicy",
    "CodecRule",
    "CryptoPolicy",
    "DescriptionPolicy",
    "Dtmf",
    "EarlyMedia",
    "HeaderAction",
    "HeaderPolicy",
    "HeaderRule",
    "HistoryForStrangers",
    "HoldForm",
    "IdentityForm",
    "LegPolicy",
    "MediaPolicy",
    "Messages",
    "NumberRule",
    "Outcome",
    "Phrases",
    "ReasonForm",
    "ReliablePolicy",
    "StatusPolicy",
    "StatusRule",
    "Template",
    "TransferPolicy",
]
