"""libsrtp, as it is in ``pylibsrtp``: whether it is there, what it can do, and contexts for keys.

The extension module of ``pylibsrtp`` is used directly: the Python part around it takes no packet above 1356 octets,
leaves copies of the keys in memory and knows no AES_256_CM (RFC 6188).
"""

from __future__ import annotations

import importlib
import struct
from functools import lru_cache
from typing import Any

from sipd.errors import MediaEngineError
from sipd.sdp.crypto import (
    AEAD_AES_128_GCM,
    AEAD_AES_256_GCM,
    AES_256_CM_HMAC_SHA1_32,
    AES_256_CM_HMAC_SHA1_80,
    AES_CM_128_HMAC_SHA1_32,
    AES_CM_128_HMAC_SHA1_80,
    SUITES,
    SrtpKey,
    Suite,
)

#: Status of libsrtp: done.
OK = 0
#: Octets that libsrtp may write after a packet: the index of SRTCP, a tag, and an MKI, which is not used here.
TRAILER_OCTETS = 4 + 16 + 128
#: Packets by which one may come late (RFC 3711 section 3.3.2 wants 64 at least).
_WINDOW = 1024

#: Profiles that make the policies; those of AES_256_CM are made from those of AES_CM_128, see `Library`.
_PROFILES = {
    AEAD_AES_256_GCM: "srtp_profile_aead_aes_256_gcm",
    AEAD_AES_128_GCM: "srtp_profile_aead_aes_128_gcm",
    AES_256_CM_HMAC_SHA1_80: "srtp_profile_aes128_cm_sha1_80",
    AES_256_CM_HMAC_SHA1_32: "srtp_profile_aes128_cm_sha1_32",
    AES_CM_128_HMAC_SHA1_80: "srtp_profile_aes128_cm_sha1_80",
    AES_CM_128_HMAC_SHA1_32: "srtp_profile_aes128_cm_sha1_32",
}
_AES_256_CM = (AES_256_CM_HMAC_SHA1_80, AES_256_CM_HMAC_SHA1_32)

#: The beginning of ``srtp_crypto_policy_t``: cipher and octets of its key and salt.
_CIPHER = struct.Struct("=II")
_ICM_128 = (1, 30)
_ICM_256 = (5, 46)

#: A key of RFC 6188 section 7, a packet, and what that becomes by AES_256_CM_HMAC_SHA1_80.
_KNOWN_KEY = bytes.fromhex(
    "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b63b04803de51ee7c96423ab5b78d2"
)
_KNOWN_PLAIN = bytes.fromhex("800f1234decafbadcafebabe" + 16 * "ab")
_KNOWN_PROTECTED = bytes.fromhex("800f1234decafbadcafebabef1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b")


def available() -> str | None:
    """Say in one line why SRTP is not to be had, or ``None`` if it is."""
    try:
        load_library()
    except MediaEngineError as error:
        return str(error)
    return None


def usable_suites() -> tuple[Suite, ...]:
    """Give the suites that the library can do, strongest first.

    Raises:
        MediaEngineError: there is none: see `available`.
    """
    return load_library().suites


class Library:
    """The extension module of pylibsrtp.

    It has no profile for AES_256_CM. The policy of such a suite is that of AES_CM_128 with another cipher written into
    it, which is only done where the beginning of a policy is as expected and the outcome that of a known answer.

    Raises:
        MediaEngineError: it is not as expected.
    """

    __slots__ = ("ffi", "lib", "suites")

    def __init__(self, module: Any) -> None:
        try:
            self.ffi: Any = module.ffi
            self.lib: Any = module.lib
            functions = [self.lib.srtp_protect, self.lib.srtp_unprotect]
            functions += [self.lib.srtp_protect_rtcp, self.lib.srtp_unprotect_rtcp]
            kinds = {str([each.cname for each in self.ffi.typeof(function).args]) for function in functions}
            if kinds != {"['struct srtp_ctx_t_ *', 'void *', 'int *']"}:
                raise AttributeError("other arguments")
            self.suites: tuple[Suite, ...] = tuple([suite for suite in SUITES.values() if self._can_do(suite)])
        except (AttributeError, TypeError) as error:
            raise MediaEngineError("this version of pylibsrtp is not one that sipd can use: 1.0 is") from error
        if not self.suites:
            raise MediaEngineError("libsrtp can do none of the crypto suites")

    def open(self, key: SrtpKey, source: int) -> Any:
        """Give a context; the key is in it and nowhere else that this function knows of.

        Args:
            key: to use for all sources.
            source: ``ssrc_any_inbound`` or ``ssrc_any_outbound``.

        Raises:
            MediaEngineError: the library cannot do that.
        """
        ffi, lib = self.ffi, self.lib
        policy = ffi.new("srtp_policy_t *")
        profile = getattr(lib, _PROFILES[key.suite])
        parts = ffi.addressof(policy, "rtp"), ffi.addressof(policy, "rtcp")
        status = lib.srtp_crypto_policy_set_from_profile_for_rtp(parts[0], profile)
        status = status or lib.srtp_crypto_policy_set_from_profile_for_rtcp(parts[1], profile)
        if status == OK and key.suite in _AES_256_CM:
            for part in parts:
                octets = ffi.buffer(part)
                if _CIPHER.unpack(octets[: _CIPHER.size]) != _ICM_128:
                    raise MediaEngineError(f"this libsrtp cannot do {key.suite.name}")
                octets[: _CIPHER.size] = _CIPHER.pack(*_ICM_256)
        master = ffi.new("unsigned char[]", len(key.master))
        ffi.buffer(master)[:] = key.master
        policy.key = master
        policy.ssrc.type = source
        policy.window_size = _WINDOW
        context = ffi.new("srtp_t *")
        status = status or lib.srtp_create(context, policy)
        ffi.buffer(master)[:] = bytes(len(key.master))
        if status != OK:
            raise MediaEngineError(f"libsrtp gives no context for {key.suite.name}: status {status}")
        return ffi.gc(context, lambda pointer: lib.srtp_dealloc(pointer[0]))

    def _can_do(self, suite: Suite) -> bool:
        """Say whether contexts can be had for a suite, and do what they should where that is in doubt."""
        known = SrtpKey(suite=suite, master=_KNOWN_KEY[: suite.master_octets])
        try:
            context = self.open(known, self.lib.ssrc_any_outbound)
        except MediaEngineError:
            return False
        with context:
            return suite not in _AES_256_CM or self._protects_as_known(context)

    def _protects_as_known(self, context: Any) -> bool:
        """Say whether a packet becomes what it should."""
        buffer = self.ffi.new("char[]", _KNOWN_PLAIN + bytes(TRAILER_OCTETS))
        size = self.ffi.new("int *", len(_KNOWN_PLAIN))
        status = self.lib.srtp_protect(context[0], buffer, size)
        # A shorter tag is the beginning of the longer one.
        return bool(status == OK and _KNOWN_PROTECTED.startswith(self.ffi.buffer(buffer)[: size[0]]))


@lru_cache(maxsize=1)
def load_library() -> Library:
    """Give the library, or raise `MediaEngineError`. It stays; a failure is not remembered."""
    try:
        importlib.import_module("pylibsrtp")  # initialises the library
        module = importlib.import_module("pylibsrtp._binding")
    except ImportError as error:
        raise MediaEngineError("SRTP needs pylibsrtp, which is not there: pip install sipd[srtp]") from error
    return Library(module)
