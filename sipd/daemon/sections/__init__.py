"""The sections of a configuration file, as values that cannot be changed.

`tapfiles/sipd.toml` describes every option for the operator; a test compares its defaults with the ones here. What must
hold between two values is in `sipd.daemon.checks`.
"""

from sipd.daemon.sections.base import Section
from sipd.daemon.sections.calls import Cdr, RouteCredentials, RouteRule, Transfers
from sipd.daemon.sections.media import Media, MediaAddress, Recording, RtpengineDaemon
from sipd.daemon.sections.signalling import Capture, Dns, Limits, Listen, Nat, Timers, Tls
from sipd.daemon.sections.users import Authentication, CallerIdentity, Registrar, Subscriptions, User
from sipd.daemon.sections.whole import Config, Logging

__all__ = [
    "Authentication",
    "CallerIdentity",
    "Capture",
    "Cdr",
    "Config",
    "Dns",
    "Limits",
    "Listen",
    "Logging",
    "Media",
    "MediaAddress",
    "Nat",
    "Recording",
    "Registrar",
    "RouteCredentials",
    "RouteRule",
    "RtpengineDaemon",
    "Section",
    "Subscriptions",
    "Timers",
    "Tls",
    "Transfers",
    "User",
]
