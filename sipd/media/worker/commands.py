"""What a controller and a worker say to each other: AMP over a Unix socket, which also carries descriptors.

The controller is a process that does the signalling. It opens streams by their sockets, under numbers that it chooses,
and says by lists of operations what becomes of them; an operation is a list, its name first:

===========  ===================================================================================
operation    its arguments
===========  ===================================================================================
``signal``   number, RTP address or null, RTCP address or null, seconds for latching
``connect``  number, number of the other stream or null
``adapt``    number, whether its leg multiplexes, the terms: see `sipd.media.terms.export_terms`
``count``    number
``close``    number
===========  ===================================================================================

For each ``count`` and ``close`` the answer has an entry: number, counters (`sipd.media.counting`), the two sources, and
which engine of the worker forwards, itself or the kernel.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from twisted.protocols import amp

from sipd.errors import MediaEngineError

#: Operations in one command: the answer to so many fits into a box of AMP, and so do they.
MAX_OPERATIONS = 24

_Arguments = list[tuple[bytes, amp.Argument]]
_Errors = dict[type[Exception], bytes]


class Json(amp.Argument):
    """Any JSON, up to what fits into a box: 65535 octets."""

    def toString(self, inObject: object) -> bytes:
        """See ``amp.Argument``."""
        return json.dumps(inObject, separators=(",", ":")).encode()

    def fromString(self, inString: bytes) -> Any:
        """See ``amp.Argument``."""
        return json.loads(inString)


class Open(amp.Command):
    """The controller gives the worker the sockets of a stream."""

    arguments: ClassVar[_Arguments] = [
        (b"number", amp.Integer()),
        (b"rtp", amp.Descriptor()),
        (b"rtcp", amp.Descriptor()),
        (b"state", Json()),
    ]
    response: ClassVar[_Arguments] = []


class Do(amp.Command):
    """The controller says what becomes of streams."""

    arguments: ClassVar[_Arguments] = [(b"operations", Json())]
    response: ClassVar[_Arguments] = [(b"results", Json())]


class List(amp.Command):
    """A controller asks which streams there are: number and state of those after a number, some at a time."""

    arguments: ClassVar[_Arguments] = [(b"after", amp.Integer())]
    response: ClassVar[_Arguments] = [(b"streams", Json())]


class Adopt(amp.Command):
    """A controller that has come later takes a stream over, with its sockets. From then on it hears what happens."""

    arguments: ClassVar[_Arguments] = [(b"number", amp.Integer())]
    response: ClassVar[_Arguments] = [(b"rtp", amp.Descriptor()), (b"rtcp", amp.Descriptor()), (b"state", Json())]
    errors: ClassVar[_Errors] = {MediaEngineError: b"MEDIA_ENGINE"}


class Happened(amp.Command):
    """The worker tells what the explanation of a call should say, and where the stream's media comes from by now."""

    arguments: ClassVar[_Arguments] = [
        (b"number", amp.Integer()),
        (b"kind", amp.Unicode()),
        (b"text", amp.Unicode()),
        (b"sources", Json()),
    ]
    response: ClassVar[_Arguments] = []
    requiresAnswer = False
