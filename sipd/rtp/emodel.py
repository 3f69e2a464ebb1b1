"""How good speech is to the listener, estimated: the E-model of ITU-T G.107, simplified.

The model rates a connection from 0 to 100 by taking impairments off a basic rating:

    R = 93.2 - Idte - Idd - Ie,eff

93.2 is what is left of a perfect connection between ordinary telephones in ordinary rooms: G.107 with the default for
everything that a relay cannot know. Idte is what talkers are annoyed by their own echo (section 7.4, with an echo loss
of 65 dB), Idd what the delay itself takes from a conversation, and Ie,eff what coding and loss take from the sound
(section 7.5). Listener echo is left out, and the advantage factor is 0: nobody is thankful for a bad line.

It is a rating of narrow-band telephony. A wide-band codec is better than that, but this scale has no room for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Of all defaults (section 7.7).
_BASIC = 93.2

#: Echo loss and room noise as the model has them by default: TELR in dB, and Roe for a circuit noise of -61.18 dBm0p.
_ECHO_LOSS = 65.0
_ROOM = 94.77

#: Delay that nobody notices, in seconds (the default of mT).
_UNNOTICED = 0.1

#: An opinion takes no further delay into account; nor is the model defined there.
_LONGEST = 2.0

#: Of the playout: at least one packet, and else twice the jitter, as adaptive buffers do.
_SHORTEST_BUFFER = 0.02
_BUFFERED_JITTER = 2.0

_LOWEST_MOS = 1.0
_HIGHEST_MOS = 4.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What a codec does to speech.

    Args:
        impairment: Ie, of coding without loss.
        robustness: Bpl, the loss in per cent that costs half of what is left; more for better concealment.
        delay: seconds that coding takes: a frame, and what the coder has to hear after it. For codecs without frames
            a packet of 20 ms.
    """

    impairment: float
    robustness: float
    delay: float


#: G.711 in a receiver that plays nothing, or the last packet, for a lost one (G.113 appendix I).
G711_PLAIN = Equipment(impairment=0.0, robustness=4.3, delay=0.02)

#: G.711 with concealment as in its appendix I, which nearly every telephone has by now (G.113 appendix I).
G711_CONCEALING = Equipment(impairment=0.0, robustness=25.1, delay=0.02)

#: By encoding name in lower case (RFC 4855). G.113 appendix I has G.711, G.729 (annex A, with silence suppression),
#: G.723.1 (6.3 kbit/s) and GSM-EFR, and the impairment of GSM. The other values are our estimates, set near those of
#: codecs that are alike.
_EQUIPMENT = {
    "pcmu": G711_CONCEALING,
    "pcma": G711_CONCEALING,
    "g722": G711_CONCEALING,
    "opus": Equipment(impairment=0.0, robustness=25.1, delay=0.0265),
    "g729": Equipment(impairment=11.0, robustness=19.0, delay=0.025),
    "g723": Equipment(impairment=15.0, robustness=16.1, delay=0.0375),
    "gsm": Equipment(impairment=20.0, robustness=10.0, delay=0.02),
    "gsm-efr": Equipment(impairment=5.0, robustness=10.0, delay=0.02),
    "ilbc": Equipment(impairment=11.0, robustness=32.0, delay=0.03),
}


def equipment_of(encoding_name: str) -> Equipment:
    """Give what is known of a codec, by its name in ``a=rtpmap``; that of PCMU for one that is not known."""
    return _EQUIPMENT.get(encoding_name.lower(), G711_CONCEALING)


def estimate_mos(
    equipment: Equipment,
    *,
    loss: float,
    burst_ratio: float = 1.0,
    round_trip: float = 0.0,
    jitter: float = 0.0,
) -> float:
    """Estimate the mean opinion that people would have of a conversation (MOS-CQE, ITU-T P.800.1).

    The delay is half of the round trip, the playout buffer, which holds twice the jitter but at least 20 ms, and the
    codec. What comes too late for the buffer is not taken into account: the relay does not see it.

    Args:
        equipment: the codec and its concealment: `equipment_of`, or `G711_PLAIN`.
        loss: fraction lost, 0.0 to 1.0.
        burst_ratio: `Quality.burst_ratio`.
        round_trip: seconds from one party to the other and back; 0.0 if it is not known.
        jitter: seconds; 0.0 if it is not known.

    Returns:
        1.0 (bad) to 4.5 (excellent). Below 3.6 many are dissatisfied (ITU-T G.109).
    """
    buffered = max(_SHORTEST_BUFFER, _BUFFERED_JITTER * jitter)
    delay = max(0.0, round_trip) / 2 + buffered + equipment.delay
    return mos_of(rating(equipment, loss=loss, burst_ratio=burst_ratio, delay=delay))


def rating(equipment: Equipment, *, loss: float, burst_ratio: float = 1.0, delay: float) -> float:
    """Give R.

    Args:
        equipment: the codec and its concealment.
        loss: fraction lost; what is not between 0.0 and 1.0 is taken as the nearer of them.
        burst_ratio: below 1.0 it is taken as 1.0.
        delay: seconds from mouth to ear; more than two are taken as two.

    Returns:
        93.2 at most; below zero if it is worse than the scale.
    """
    heard = min(max(delay, 0.0), _LONGEST)
    return _BASIC - _echo(heard) - _waiting(heard) - _distortion(equipment, min(max(loss, 0.0), 1.0), burst_ratio)


def mos_of(rating: float) -> float:
    """Give the mean opinion score for R (G.107 annex B)."""
    if rating >= 100.0:
        return _HIGHEST_MOS
    if rating <= 0.0:
        return _LOWEST_MOS
    score = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6
    return max(_LOWEST_MOS, score)


def _echo(delay: float) -> float:
    """Idte: the longer one's own voice takes to come back, the less of it is borne (section 7.4)."""
    milliseconds = 1000.0 * delay
    masked = _ECHO_LOSS - 40.0 * math.log10((1.0 + milliseconds / 10.0) / (1.0 + milliseconds / 150.0))
    masked += 6.0 * math.exp(-0.3 * milliseconds * milliseconds)
    half = (_ROOM - 80.0 - 2.5 * (masked - 14.0)) / 2.0
    impairment = (half + math.sqrt(half * half + 100.0) - 1.0) * (1.0 - math.exp(-milliseconds))
    return max(0.0, impairment)  # the formula goes a little below within the first milliseconds


def _waiting(delay: float) -> float:
    """Idd: people begin to speak at the same time (section 7.4, with the sensitivity of all users, sT = 1)."""
    if delay <= _UNNOTICED:
        return 0.0
    doublings = math.log2(delay / _UNNOTICED)
    sixth = 1.0 / 6.0
    return 25.0 * (math.pow(1.0 + doublings**6, sixth) - 3.0 * math.pow(1.0 + (doublings / 3.0) ** 6, sixth) + 2.0)


def _distortion(equipment: Equipment, loss: float, burst_ratio: float) -> float:
    """Ie,eff: loss in bursts is worse than the same loss at random (section 7.5)."""
    per_cent = 100.0 * loss
    impairment = equipment.impairment
    return impairment + (95.0 - impairment) * per_cent / (per_cent / max(1.0, burst_ratio) + equipment.robustness)
