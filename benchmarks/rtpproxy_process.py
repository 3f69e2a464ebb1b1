"""rtpproxy inside of a Python of its own, as the package rtp.io brings it; run by that Python, so it imports no more.

It takes commands of rtpproxy's control protocol, one a line, and gives the replies, until its input ends. Arguments are
the address for media, and the first and last port.
"""

import sys

from rtp.io import rtpproxy  # type: ignore[import-not-found]


def main() -> None:
    """Run until the input ends."""
    host, low, high = sys.argv[1:]
    proxy = rtpproxy(
        debug_level="err", port_min=int(low), port_max=int(high), modules=[], extra_args=["-F", "-l", host]
    )
    replies = proxy.rtpp_sock.makefile("rb")
    for line in sys.stdin.buffer:
        proxy.rtpp_sock.sendall(line)
        sys.stdout.buffer.write(replies.readline())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
