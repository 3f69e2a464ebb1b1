"""Session descriptions with keying and without: the profiles of RTP, and the attributes about keys."""

from __future__ import annotations

from collections.abc import Sequence

from sipd.sdp.crypto import CryptoAttribute
from sipd.sdp.description import MediaDescription, SessionDescription

#: Profiles of RTP (RFC 3551, RFC 4585) and what they are called with SRTP (RFC 3711, RFC 5124), and the way back.
PLAIN_PROFILES = {"RTP/AVP": "RTP/SAVP", "RTP/AVPF": "RTP/SAVPF"}
SECURE_PROFILES = {secure: plain for plain, secure in PLAIN_PROFILES.items()}

#: Attributes that keys may be in: SDES, MIKEY (RFC 4567), and the negotiation of capabilities (RFC 5939, RFC 6871),
#: which can offer any attribute and goes as a whole.
_KEYS = (
    "crypto",
    "key-mgmt",
    *("acap", "acfg", "creq", "csup", "lcfg", "mcap", "mfcap", "mscap", "omcap", "pcfg", "rmcap", "sescap", "tcap"),
)
#: DTLS (RFC 8122, RFC 8842): other streams than RTP have use for it, too.
_DTLS = ("fingerprint", "tls-id")
#: What a stream with RTP says about keys; the last two are about the association of DTLS (RFC 4145).
_OF_STREAM = (*_KEYS, *_DTLS, "setup", "connection")


def without_keying(media: MediaDescription) -> MediaDescription:
    """Give a stream without keys and, if it is RTP of a known profile, as plain RTP; one that is not RTP as it is."""
    if not media.is_rtp:
        return media
    return _with_protocol(media.without_attributes(_OF_STREAM), SECURE_PROFILES)


def as_secure(media: MediaDescription) -> MediaDescription:
    """Give a stream of plain RTP as one with SRTP, without keys yet; any other as it is."""
    return _with_protocol(media, PLAIN_PROFILES)


def with_crypto(media: MediaDescription, attributes: Sequence[CryptoAttribute]) -> MediaDescription:
    """Give a stream with crypto attributes, of which it has none yet, at its end."""
    return media.with_more_attributes([f"crypto:{attribute}" for attribute in attributes])


def with_streams(description: SessionDescription, media: Sequence[MediaDescription]) -> SessionDescription:
    """Give a description with other streams, and nothing about keys at the session unless streams not RTP need it."""
    is_rtp_only = all(stream.is_rtp or stream.is_disabled for stream in media)
    session = description.without_attributes((*_KEYS, *_DTLS) if is_rtp_only else _KEYS)
    return SessionDescription(session.text, tuple(media))


def _with_protocol(media: MediaDescription, protocols: dict[str, str]) -> MediaDescription:
    """Give a stream with another protocol, if that which it has is among those."""
    protocol = protocols.get(media.protocol.upper())
    if protocol is None:
        return media
    line, end, rest = media.text.partition("\r")
    kind, port, _, *formats = line.split(None, 3)
    return MediaDescription(" ".join((kind, port, protocol, *formats)) + end + rest)
