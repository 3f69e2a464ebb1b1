"""What descriptions say of the way of a stream: ICE (RFC 8839) and DTLS-SRTP (RFC 5763, RFC 8842)."""

from __future__ import annotations

from dataclasses import replace

from sipd.errors import SdpError
from sipd.media.endpoint.path import RTP, Path, PathTerms
from sipd.sdp.candidates import IceDescription, agrees_with_default
from sipd.sdp.description import MediaDescription, SessionDescription
from sipd.sdp.fingerprints import (
    Fingerprint,
    Setup,
    answer_setup,
    offerer_setup,
    read_fingerprints,
    read_setup,
    with_dtls,
)

#: Profiles whose keys are had by DTLS; the first one is offered (RFC 5764 section 8, RFC 8834 section 4.2).
DTLS_PROFILES = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP")


def is_dtls(stream: MediaDescription) -> bool:
    """Say whether the keys of a stream are had by DTLS."""
    return stream.protocol.upper() in DTLS_PROFILES


def read_ice(description: SessionDescription, index: int) -> IceDescription | None:
    """Give what a peer says of ICE for a stream; ``None`` where ICE is not to be used.

    That is where nothing is said, and where something on the way has changed addresses without knowing of ICE
    (RFC 8839 section 4.2.5).

    Raises:
        SdpError: it is malformed.
    """
    stream = description.media[index]
    ice = IceDescription.read(stream, description)
    if ice is None or stream.attribute("ice-mismatch") is not None:
        return None
    return ice if agrees_with_default(stream, description, ice.candidates) else None


def check_dtls(description: SessionDescription, index: int) -> None:
    """Check that a peer says what DTLS needs.

    Raises:
        SdpError: there is no fingerprint, or RTCP has a port of its own, which would take a second handshake.
    """
    stream = description.media[index]
    if not read_fingerprints(description, stream):
        raise SdpError("DTLS without a fingerprint that can be read")
    if not stream.has_rtcp_mux:
        raise SdpError("DTLS-SRTP without rtcp-mux")


def offer_path(offer: SessionDescription, index: int, path: Path, *, has_ice: bool) -> SessionDescription:
    """Give an offer that says what this side can do for a stream.

    Raises:
        MediaEngineError: there is no DTLS here.
    """
    setup = Setup.ACTPASS if is_dtls(offer.media[index]) else None
    return _with_path(offer, index, path, setup, path.ice_for_offer() if has_ice else None)


def answer_path(
    answer: SessionDescription, index: int, path: Path, offer: SessionDescription, ice: IceDescription | None
) -> tuple[SessionDescription, PathTerms]:
    """Give an answer that says what holds for a stream, and that.

    Args:
        answer: without it.
        index: of the stream.
        path: of this side.
        offer: what is answered.
        ice: of the offer, if that is used.

    Raises:
        MediaEngineError: there is no DTLS here.
    """
    own = None if ice is None else path.ice_for_answer(ice)
    setup: Setup | None = None
    fingerprints: tuple[Fingerprint, ...] = ()
    if is_dtls(offer.media[index]):
        fingerprints = read_fingerprints(offer, offer.media[index])
        offered = read_setup(offer, offer.media[index])
        setup = answer_setup(offered)
        if offered is Setup.ACTPASS and path.terms.fingerprints == fingerprints and path.terms.is_client:
            # Who began stays who began: it is the same association (RFC 8842 section 5.5).
            setup = Setup.ACTIVE
    terms = PathTerms(
        ice=None if own is None else ice,
        fingerprints=fingerprints,
        is_client=setup is Setup.ACTIVE,
        has_mux=answer.media[index].has_rtcp_mux,
    )
    if own is not None and terms.has_mux:
        # The answer decides on that: there is no other component any more.
        own = replace(own, candidates=tuple([each for each in own.candidates if each.component == RTP]))
    return _with_path(answer, index, path, setup, own), terms


def read_answer(offer: SessionDescription, answer: SessionDescription, index: int) -> PathTerms:
    """Give what holds by the answer to an offer of this side.

    Raises:
        SdpError: it says too little, or something else than the offer can be answered with.
    """
    stream = answer.media[index]
    ice = read_ice(answer, index) if IceDescription.read(offer.media[index], offer) is not None else None
    if not is_dtls(offer.media[index]):
        return PathTerms(ice=ice, is_offerer=True, has_mux=stream.has_rtcp_mux)
    check_dtls(answer, index)
    setup = offerer_setup(read_setup(answer, stream))
    return PathTerms(
        ice=ice,
        is_offerer=True,
        fingerprints=read_fingerprints(answer, stream),
        is_client=setup is Setup.ACTIVE,
    )


def with_bundle(answer: SessionDescription, offer: SessionDescription, index: int) -> SessionDescription:
    """Give an answer that names a stream as the offer did, alone in its group (RFC 5888, RFC 9143 section 7.3)."""
    mid = offer.media[index].attribute("mid")
    if mid is None:
        return answer
    media = list(answer.media)
    media[index] = media[index].with_attribute("mid", mid.strip())
    bundled = any(
        name == "group" and value is not None and value.split()[:1] == ["BUNDLE"] and mid.strip() in value.split()
        for name, value in offer.attributes
    )
    text = SessionDescription(answer.text, tuple(media))
    return text.with_attribute("group", f"BUNDLE {mid.strip()}") if bundled else text


def _with_path(
    description: SessionDescription, index: int, path: Path, setup: Setup | None, ice: IceDescription | None
) -> SessionDescription:
    media = list(description.media)
    if setup is not None:
        media[index] = with_dtls(media[index], [path.fingerprint], setup)
    if ice is None:
        return SessionDescription(description.text, tuple(media))
    media[index] = ice.write(media[index])
    return ice.write_session(SessionDescription(description.text, tuple(media)))
