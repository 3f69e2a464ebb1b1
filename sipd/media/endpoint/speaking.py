"""What an endpoint says at each beat: digits, what is played, an echo, what a source gives, or silence."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sipd.interfaces import Entropy
from sipd.media.audio import DecoderFactory, EncoderFactory
from sipd.media.endpoint.agreement import Agreement
from sipd.media.endpoint.codecs import CODECS
from sipd.media.endpoint.digits import DigitSender
from sipd.media.endpoint.interfaces import ISource
from sipd.media.endpoint.playing import Piece, Playing, fit, make_playing
from sipd.media.endpoint.sending import RtpSender
from sipd.media.sounds import FRAME_SAMPLES, SoundLibrary
from sipd.rtp.packet import RtpPacket
from sipd.rtp.samples import Decoder, Encoder

#: 20 ms of nothing.
SILENCE = array("h", bytes(2 * FRAME_SAMPLES))


class Speaker:
    """Sends a frame at each beat, of what comes first in this order: digits, what is played, the echo, the source.

    Args:
        sounds: what can be played.
        encoders: by the name of the encoding.
        decoders: the same; used where what is said is recorded.
        entropy: for the numbers of the packets.
        send: takes each packet; says whether it left.

    Attributes:
        sender: numbers the packets.
        digits: that are sent.
        source: is read at each beat, whether it is sent or not.
        is_muted: whether silence is sent instead of all that, except for digits.
        is_raw: whether somebody else sends: nothing goes out from here.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        sounds: SoundLibrary,
        encoders: Mapping[str, EncoderFactory],
        decoders: Mapping[str, DecoderFactory],
        entropy: Entropy,
        send: Callable[[RtpPacket], bool],
    ) -> None:
        self._sounds = sounds
        self._encoders = encoders
        self._decoders = decoders
        self._made: dict[str, Encoder] = {}
        self._said: dict[str, Decoder] = {}
        self._agreement: Agreement | None = None
        self._silence: bytes | None = None
        self._playing: Playing | None = None
        self._is_echo = False
        self.sender = RtpSender(entropy, send)
        self.digits = DigitSender()
        self.source: ISource | None = None
        self.is_muted = False
        self.is_raw = False

    def prepare(self, names: tuple[str, ...]) -> None:
        """Make the encoders that may be needed, unless they are there.

        Raises:
            MissingCodecError: one cannot be made.
        """
        for name in names:
            if name not in self._made:
                self._made[name] = self._encoders[name]()

    def agreed(self, agreement: Agreement) -> None:
        """Take note of what holds from now on."""
        self._agreement = agreement
        codec = CODECS[agreement.name]
        self.sender.use(payload_type=agreement.payload_type, clock_rate=agreement.clock_rate, frames=agreement.frames)
        self._silence = self._made[codec.name](SILENCE) if codec.is_octet_wise else None

    def play(self, what: str | Path | ISource, *, times: int | None, gain: float) -> Deferred[None]:
        """See `AudioEndpoint.play`."""
        self._is_echo = self.is_raw = False
        playing = make_playing(self._sounds, what, times=times, gain=gain, ended=self._ended)
        # Who is told that the first one is over may play another one at once.
        before, self._playing = self._playing, None if playing.is_over else playing
        if before is not None:
            before.stop()
        return playing.done

    def echo(self) -> None:
        """Send back what is heard."""
        self.stop()
        self._is_echo = True

    def stop(self) -> None:
        """Play nothing, and let nobody else send."""
        self._is_echo = False
        self.is_raw = False
        playing, self._playing = self._playing, None
        if playing is not None:
            playing.stop()

    def beat(self, heard: array[int] | None, *, wants_samples: bool) -> array[int] | None:
        """Send what there is for these 20 ms.

        Args:
            heard: what the echo is of.
            wants_samples: whether what is said is wanted as samples.

        Returns:
            What was said, if it is wanted and was no silence.
        """
        agreement = self._agreement
        if agreement is None:
            return None
        piece = self._piece(agreement.name, heard)
        if self._agreement is not agreement:
            return None  # who was told that something is over has closed the endpoint, or answered an offer
        if self.is_raw:
            self.sender.skip(1)
            return None
        if not agreement.sends:
            self.sender.frame(None)
            return None
        digit = self.digits.step(self.sender, agreement.event) if self.digits.is_busy else False
        if digit is True or self._agreement is not agreement:
            return None
        if isinstance(digit, array):
            piece = digit
        elif self.is_muted:
            piece = None
        self.sender.frame(self._encode(agreement.name, piece))
        if not wants_samples or piece is None:
            return None
        return self._decode(agreement.name, piece) if isinstance(piece, bytes) else piece

    def close(self) -> None:
        """Play nothing, send no digits, and forget everybody."""
        self._agreement = None
        self.stop()
        self.digits.close()
        self.source = None
        self._made.clear()
        self._said.clear()

    def _piece(self, name: str, heard: array[int] | None) -> Piece | None:
        """Give what would be said if there are no digits."""
        live = None
        source = self.source
        if source is not None:
            samples = None
            with self._log.failureHandler("a source failed, and is not asked again"):
                samples = source.read(FRAME_SAMPLES)
            if samples is not None:
                live = fit(samples) if len(samples) else None
            elif self.source is source:
                self.source = None
        if self._playing is not None:
            return self._playing.piece(name)
        return heard if self._is_echo else live

    def _encode(self, name: str, piece: Piece | None) -> bytes:
        if isinstance(piece, bytes):
            return piece
        if piece is None and self._silence is not None:
            return self._silence
        return self._made[name](SILENCE if piece is None else piece)

    def _decode(self, name: str, payload: bytes) -> array[int]:
        decode = self._said.get(name)
        if decode is None:
            decode = self._said[name] = self._decoders[name]()
        return decode(payload)

    def _ended(self, playing: Playing) -> None:
        if self._playing is playing:
            self._playing = None
