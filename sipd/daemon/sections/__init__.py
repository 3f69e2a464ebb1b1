"""The sections of a configuration file, as values that cannot be changed.

``tapfiles/sipd.toml`` describes every option for the operator; a test compares its defaults with the ones here. What
must hold between two values is in `sipd.daemon.checks`.
"""

from sipd.daemon.sections.accounts import Accounts, AccountStore
from sipd.daemon.sections.base import Section
from sipd.daemon.sections.calls import Transfers
from sipd.daemon.sections.guards import GuardRules
from sipd.daemon.sections.media import Media, MediaAddress, Recording, RtpengineDaemon
from sipd.daemon.sections.metrics import Metrics
from sipd.daemon.sections.policies import PolicySection
from sipd.daemon.sections.records import Cdr, RecordSink
from sipd.daemon.sections.routing import OpeningHours, Rewriting, RouteCredentials, RouteRule, Routing
from sipd.daemon.sections.signalling import Capture, Dns, Limits, Listen, Nat, Timers, Tls
from sipd.daemon.sections.trunks import TrunkHealth, TrunkRegistration, TrunkSection
from sipd.daemon.sections.users import Authentication, CallerIdentity, Registrar, Subscriptions, User
from sipd.daemon.sections.whole import Config, Logging

__all__ = [
    "AccountStore",
    "Accounts",
    "Authentication",
    "CallerIdentity",
    "Capture",
    "Cdr",
    "Config",
    "Dns",
    "GuardRules",
    "Limits",
    "Listen",
    "Logging",
    "Media",
    "MediaAddress",
    "Metrics",
    "Nat",
    "OpeningHours",
    "PolicySection",
    "RecordSink",
    "Recording",
    "Registrar",
    "Rewriting",
    "RouteCredentials",
    "RouteRule",
    "Routing",
    "RtpengineDaemon",
    "Section",
    "Subscriptions",
    "Timers",
    "Tls",
    "Transfers",
    "TrunkHealth",
    "TrunkRegistration",
    "TrunkSection",
    "User",
]
