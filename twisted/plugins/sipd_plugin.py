"""Makes `sipd` a command of twistd. Imports nothing of sipd: twistd reads every plugin at each start."""

from twisted.application.service import ServiceMaker

sipd = ServiceMaker(
    "sipd",
    "sipd.daemon.tap",
    "A SIP registrar and back-to-back user agent.",
    "sipd",
)
