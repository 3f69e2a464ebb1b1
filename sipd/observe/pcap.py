"""Captured messages as a file for tshark, Wireshark and sngrep.

Every message is shown in UDP, whatever carried it: its connection's segments were never seen, and its encryption is
already off.
"""

from __future__ import annotations

from collections.abc import Iterable

from sipd.observe.capture import CapturedMessage
from sipd.rtp.pcap import FILE_HEADER, datagram_record


def pcap(messages: Iterable[CapturedMessage]) -> bytes:
    """Give a pcap file of these messages; see `datagram_record`."""
    return FILE_HEADER + b"".join(
        datagram_record(message.at, message.source, message.destination, message.data) for message in messages
    )
