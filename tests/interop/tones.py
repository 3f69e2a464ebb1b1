"""Sine tones: written to a file for a phone to play, and found again in what the other phone heard."""

import math
import wave
from array import array
from collections.abc import Sequence
from pathlib import Path

RATE_HZ = 8000
_AMPLITUDE = 8000
#: What is no louder is silence.
_SILENCE = 100
#: Samples in 20 ms.
FRAME = 160


def samples_of_tone(frequency_hz: float, duration: float) -> list[int]:
    """Give a sine tone as 16-bit samples at 8 kHz."""
    step = 2 * math.pi * frequency_hz / RATE_HZ
    return [round(_AMPLITUDE * math.sin(step * index)) for index in range(int(RATE_HZ * duration))]


def write_wave(path: Path, samples: Sequence[int]) -> None:
    """Write 16-bit mono samples at 8 kHz as a WAVE file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(array("h", samples).tobytes())


def read_wave(path: Path, rate_hz: int = RATE_HZ) -> list[int]:
    """Read the samples of a 16-bit mono WAVE file.

    Raises:
        ValueError: the file is of another format.
    """
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, rate_hz):
            raise ValueError(f"{path}: {file.getparams()}")
        return array("h", file.readframes(file.getnframes())).tolist()


def share_of_tone(samples: Sequence[int], frequency_hz: float, rate_hz: int = RATE_HZ) -> float:
    """Give the share of the energy of `samples` that lies at one frequency: 1.0 for a pure tone, 0.0 for none.

    Goertzel's algorithm: one bin of a discrete Fourier transform, compared with the whole energy (Parseval).
    """
    energy = sum(sample * sample for sample in samples)
    if not energy:
        return 0.0
    coefficient = 2 * math.cos(2 * math.pi * frequency_hz / rate_hz)
    last = before = 0.0
    for sample in samples:
        last, before = sample + coefficient * last - before, last
    power = last * last + before * before - coefficient * last * before
    return 2 * power / (len(samples) * energy)


def best_share(samples: Sequence[int], frequency_hz: float, duration: float = 0.25, rate_hz: int = RATE_HZ) -> float:
    """Give the same of that part of so many seconds in which it is greatest.

    A phone that had no time for a while, on a machine with other work, is silent for as long, and is heard again.
    """
    size = round(duration * rate_hz)
    parts = [samples[start : start + size] for start in range(0, max(1, len(samples) - size + 1), size // 2)]
    return max(share_of_tone(part, frequency_hz, rate_hz) for part in parts)


def frames_of_tone(samples: Sequence[int], frequency_hz: float) -> tuple[int, int]:
    """Give how many frames of 20 ms are that tone, and how many are silent; what is neither is something else."""
    frames = [samples[start : start + FRAME] for start in range(0, len(samples) - FRAME + 1, FRAME)]
    heard = [frame for frame in frames if max(map(abs, frame)) > _SILENCE]
    return sum(share_of_tone(frame, frequency_hz) > 0.9 for frame in heard), len(frames) - len(heard)
