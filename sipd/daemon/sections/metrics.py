"""The section on metrics."""

from __future__ import annotations

import ipaddress

from pydantic import Field

from sipd.daemon.sections.base import Section
from sipd.daemon.values import Address, Network, Port

_THIS_MACHINE = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Metrics(Section):
    """``[metrics]``: what Prometheus asks for. Off without the section."""

    address: Address = "127.0.0.1"
    port: Port = 9464
    allow: tuple[Network, ...] = Field(default=(), strict=False)

    @property
    def allowed(self) -> tuple[Network, ...]:
        """The networks that may ask: this machine where none is set."""
        return self.allow or _THIS_MACHINE
