"""What a person at the telephone talks into and listens to: devices, as options name them, and calls that have them."""

from __future__ import annotations

import shlex
import shutil
from array import array
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.defer import DeferredList
from zope.interface import implementer

from sipd.daemon.telephone.screen import Screen
from sipd.errors import InvalidStateError
from sipd.media.endpoint.devices import Loudspeaker, Microphone, SoundDevice, alsa_loudspeaker, alsa_microphone
from sipd.media.endpoint.interfaces import ISink
from sipd.media.endpoint.programs import SoundDeviceError, package_of
from sipd.phone.call import Call
from sipd.rtp.g711 import SAMPLE_RATE

Command = tuple[str, ...]


def microphone_command(device: str) -> Command:
    """Give the command that records from a device.

    Args:
        device: what ALSA calls it; or ``|`` and a command with its arguments, quoted as for a shell, though none is
            asked.

    Raises:
        ValueError: that is none, or its program is not installed.
    """
    return _command(device, alsa_microphone)


def loudspeaker_command(device: str) -> Command:
    """The same for a command that plays."""
    return _command(device, alsa_loudspeaker)


class Handset:
    """A microphone and a loudspeaker, for a call and for what comes out of it; they work from the first call on.

    Args:
        reactor: runs their programs.
        microphone: its command; empty for none.
        loudspeaker: the same.
        screen: shows how they fare.
        failed: called with each thing that goes wrong; calls go on in silence then.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        microphone: Command,
        loudspeaker: Command,
        screen: Screen,
        failed: Callable[[str], object],
    ) -> None:
        self._screen = screen
        self._failed = failed
        self._call: Call | None = None
        self._microphone = self._loudspeaker = None
        if microphone:
            self._microphone = Microphone(reactor, microphone, on_failure=partial(self._has_failed, "microphone"))
        if loudspeaker:
            self._loudspeaker = Loudspeaker(reactor, loudspeaker, on_failure=partial(self._has_failed, "speaker"))

    def connect(self, call: Call) -> None:
        """Be for that call, and no longer for the one before."""
        if not self._devices():
            return
        before, self._call = self._call, call
        if before is not None:
            with suppress(InvalidStateError):
                before.connect(None, None)
        else:
            self._start("microphone", self._microphone)
            self._start("speaker", self._loudspeaker)
        sink = None if self._loudspeaker is None else _Passing(self._loudspeaker)
        with suppress(InvalidStateError):
            call.connect(self._microphone, sink)

    def show(self) -> None:
        """Show how they fare, if there are any."""
        texts: list[str] = []
        values: dict[str, Any] = {}
        if self._microphone is not None:
            dropped, starved = self._microphone.dropped / SAMPLE_RATE, self._microphone.starved
            texts.append(f"microphone: {dropped:.2f} s dropped, {starved} times too little")
            values["microphone"] = {"dropped": dropped, "starved": starved}
        if self._loudspeaker is not None:
            dropped = self._loudspeaker.dropped / SAMPLE_RATE
            texts.append(f"speaker: {dropped:.2f} s dropped")
            values["speaker"] = {"dropped": dropped}
        if texts:
            self._screen.show("sound", "; ".join(texts), **values)

    async def close(self) -> None:
        """End the programs, and wait for that. Idempotent."""
        await DeferredList([device.close() for device in self._devices()])

    def begin_to_close(self) -> None:
        """End the programs: they are missed no longer, whatever ends them. Idempotent."""
        for device in self._devices():
            device.close()

    def _devices(self) -> list[SoundDevice]:
        return [device for device in (self._microphone, self._loudspeaker) if device is not None]

    def _start(self, name: str, device: SoundDevice | None) -> None:
        if device is None:
            return
        try:
            device.start()
        except SoundDeviceError as error:
            self._has_failed(name, error)

    def _has_failed(self, name: str, error: SoundDeviceError) -> None:
        self._failed(f"{name}: {error}")


@implementer(ISink)
class _Passing:
    """Gives what comes to a loudspeaker, which stays when the call is over."""

    __slots__ = ("_loudspeaker",)

    def __init__(self, loudspeaker: Loudspeaker) -> None:
        self._loudspeaker = loudspeaker

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        self._loudspeaker.write(samples)


def _command(device: str, alsa: Callable[[str], Command]) -> Command:
    command = tuple(shlex.split(device[1:])) if device.startswith("|") else alsa(device)
    if not device or not command:
        raise ValueError("a device, or | and a command, expected")
    if shutil.which(command[0]) is None:
        raise ValueError(f"there is no program {command[0]}{package_of(command[0])}")
    return command
