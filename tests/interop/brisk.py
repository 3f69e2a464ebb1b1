"""What `twistd -n -y brisk.py` runs: sipd as configured, but with session timers of `INTERVAL` seconds.

RFC 4028 section 5 forbids less than 90 s, and so does the configuration: a test would have to wait for a minute.
"""

from twisted.application.service import Application

from sipd.daemon.config import load
from sipd.daemon.process import Process
from sipd.daemon.sections import Config

#: Refreshed after half of it, expired after two thirds.
INTERVAL = 6


def read() -> Config:
    """Read the configuration, and shorten the timers."""
    config = load("sipd.toml")
    timers = config.timers.model_copy(update={"session": INTERVAL, "session_minimum": INTERVAL})
    return config.model_copy(update={"timers": timers})


def make_application() -> object:
    """Make the application of the configuration in the working directory."""
    from twisted.internet import reactor  # noqa: TID251 - as in sipd.daemon.tap

    sipd = Application("sipd")
    Process(read(), {"nodaemon": True}, reactor, read).setServiceParent(sipd)
    return sipd


if __name__ == "builtins":  # so twistd calls the file that it runs
    application = make_application()
