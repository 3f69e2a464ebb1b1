"""SRTP written down from RFC 3711, RFC 6188 and RFC 7714, slowly, to check the library with."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from sipd.sdp.crypto import SrtpKey

#: Labels of RFC 3711 section 4.3.2: encryption, authentication, salt; those of SRTCP are three higher.
ENCRYPTION, AUTHENTICATION, SALT = 0, 1, 2


def counter_mode(key: bytes, iv: int, octets: bytes) -> bytes:
    """AES in counter mode, RFC 3711 section 4.1.1."""
    encryptor = Cipher(AES(key), CTR(iv.to_bytes(16, "big"))).encryptor()
    return encryptor.update(octets) + encryptor.finalize()


def derive(key: bytes, salt: bytes, label: int, size_octets: int) -> bytes:
    """Derive a session key, RFC 3711 section 4.3; a salt of 96 bits is followed by zeros, RFC 7714 section 11."""
    value = int.from_bytes(salt.ljust(14, b"\0"), "big") ^ label << 48
    return counter_mode(key, value << 16, bytes(size_octets))


def session_keys(key: SrtpKey, first_label: int) -> tuple[bytes, bytes, bytes]:
    """Give keys for encryption and authentication, and the salt."""
    suite = key.suite
    master, salt = key.master[: suite.key_octets], key.master[suite.key_octets :]
    return (
        derive(master, salt, first_label + ENCRYPTION, suite.key_octets),
        derive(master, salt, first_label + AUTHENTICATION, 20),
        derive(master, salt, first_label + SALT, suite.salt_octets),
    )


def protect(key: SrtpKey, packet: bytes, rollover: int, mki: bytes = b"") -> bytes:
    """Protect an RTP packet without contributors and extension."""
    encryption, authentication, salt = session_keys(key, 0)
    header, payload = packet[:12], packet[12:]
    sequence, source = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
    if not key.suite.rtp_tag_octets:
        iv = source << 48 | rollover << 16 | sequence
        return header + seal(encryption, salt, iv, payload, header) + mki
    index = rollover << 16 | sequence
    iv = int.from_bytes(salt, "big") << 16 ^ source << 64 ^ index << 16
    result = header + counter_mode(encryption, iv, payload)
    tag = hmac.digest(authentication, result + rollover.to_bytes(4, "big"), hashlib.sha1)
    return result + mki + tag[: key.suite.rtp_tag_octets]


def protect_rtcp(key: SrtpKey, packet: bytes, index: int, mki: bytes = b"") -> bytes:
    """Protect an RTCP packet."""
    encryption, authentication, salt = session_keys(key, 3)
    header, rest = packet[:8], packet[8:]
    source = int.from_bytes(packet[4:8], "big")
    trailer = (1 << 31 | index).to_bytes(4, "big")
    if not key.suite.rtcp_tag_octets:
        return header + seal(encryption, salt, source << 48 | index, rest, header + trailer) + trailer + mki
    iv = int.from_bytes(salt, "big") << 16 ^ source << 64 ^ index << 16
    result = header + counter_mode(encryption, iv, rest) + trailer
    tag = hmac.digest(authentication, result, hashlib.sha1)
    return result + mki + tag[: key.suite.rtcp_tag_octets]


def seal(key: bytes, salt: bytes, iv: int, octets: bytes, associated: bytes) -> bytes:
    """AES-GCM, RFC 7714 sections 8 and 9."""
    nonce = int.from_bytes(salt, "big") ^ iv
    return AESGCM(key).encrypt(nonce.to_bytes(12, "big"), octets, associated)
