"""Builds what relays media: which engines there are, as the configuration and this machine allow."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from sipd.daemon import layers
from sipd.daemon.sections import Config, Media
from sipd.errors import ConfigurationError, MediaEngineError
from sipd.interfaces import Entropy, IMediaRelay
from sipd.media.announcement import Announcer
from sipd.media.bypass import Bypass
from sipd.media.engine import EngineSettings
from sipd.media.filewriter import WriterThread
from sipd.media.inactivity import Action, InactivityLimits, Limit
from sipd.media.kernel.forwarder import KernelForwarder, explain_unavailable
from sipd.media.kernel.offload import KernelOffload
from sipd.media.libsrtp import available
from sipd.media.monitor import Monitor, MonitorSettings
from sipd.media.pacer import Pacer
from sipd.media.ports import MediaAddress, PortAllocator
from sipd.media.reactor import ReactorEngine
from sipd.media.recording import Recorder, RecordingSettings
from sipd.media.relay import MediaRelay
from sipd.media.rtpengine.engine import RtpengineRelay
from sipd.media.rtpengine.settings import DaemonAddress, RtpengineSettings
from sipd.media.sounds import SoundLibrary
from sipd.media.timer import make_timer
from sipd.media.worker.pool import WorkerPool

#: Seconds for which the end of sipd waits for a disk that does not take the rest of the recordings.
RECORDING_PATIENCE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaUsage:
    """What is in use of what relays media.

    Args:
        sessions: calls with media here, by what relays it.
        port_pairs: that are in use; 0 where others have the ports.
        port_pairs_limit: that there are, on all addresses together.
        workers: that run, and `workers_wanted` that should.
        recordings: whose files are not finished.
    """

    sessions: Mapping[str, int]
    port_pairs: int
    port_pairs_limit: int
    workers: int
    workers_wanted: int
    recordings: int


def load_forwarder(config: Config) -> KernelForwarder | None:
    """Load the kernel's part, where it is wanted; that takes privileges which ``twistd`` gives up later.

    Raises:
        MediaEngineError: it is demanded, and this machine cannot do it, or this process may not.
    """
    media = config.media
    if not media.relay or media.kernel == "off" or media.rtpengine or media.workers:
        return None
    try:
        return KernelForwarder(max_flows=media.kernel_flows)
    except MediaEngineError as error:
        if media.kernel == "on":
            raise
        MediaPlane.log.info("media is not forwarded by the kernel: {reason}", reason=error)
        return None


class MediaPlane:
    """All that relays media.

    Args:
        config: what is wanted.
        reactor: for sockets, processes and time.
        entropy: for what rtpengine is told.
        forwarder: the kernel's part, if there is one; it is this object's from now on.

    Raises:
        MediaEngineError: the kernel is to forward, and cannot on any interface.
        ConfigurationError: somebody is to encrypt, and this installation cannot.

    Attributes:
        relay: opens the media of calls.
    """

    log = Logger()

    def __init__(self, config: Config, reactor: Any, *, entropy: Entropy, forwarder: KernelForwarder | None) -> None:
        media = config.media
        check_srtp(config)
        self._reactor = reactor
        self._workers: WorkerPool | None = None
        self._workers_wanted = 0
        self._ports: PortAllocator | None = None
        self._addresses = 0
        self._recorder = _make_recorder(config, reactor)
        self._engine: str = ""
        self.relay: IMediaRelay = Bypass()
        if not media.relay:
            self._engine = "media is not relayed: the phones send it to each other"
        elif media.rtpengine:
            self.relay = RtpengineRelay(reactor=reactor, settings=_rtpengine_settings(media), entropy=entropy)
            self._engine = f"media is relayed by rtpengine: {', '.join(map(str, self.relay.settings.daemons))}"
        else:
            self.relay = self._make_relay(config, reactor, entropy, forwarder)

    def start(self) -> None:
        """Begin."""
        if self._workers is not None:
            self._workers.start()
        if isinstance(self.relay, RtpengineRelay):
            self.relay.start()
        self.log.info("{line}", line=self._engine)

    def usage(self) -> MediaUsage:
        """Say what is in use now."""
        sessions: Mapping[str, int] = {}
        if isinstance(self.relay, MediaRelay):
            sessions = self.relay.sessions_by_engine()
        elif isinstance(self.relay, RtpengineRelay):
            sessions = {"rtpengine": len(self.relay)}
        ports = self._ports
        return MediaUsage(
            sessions=sessions,
            port_pairs=0 if ports is None else len(ports),
            port_pairs_limit=0 if ports is None else ports.pairs_per_host * self._addresses,
            workers=0 if self._workers is None else len(self._workers),
            workers_wanted=self._workers_wanted,
            recordings=0 if self._recorder is None else len(self._recorder),
        )

    async def stop(self) -> None:
        """End: no calls are left. Recordings are complete then."""
        if isinstance(self.relay, RtpengineRelay):
            await self.relay.close()
        elif isinstance(self.relay, MediaRelay):
            self.relay.close()
        if self._workers is not None:
            self._workers.close()
        if self._recorder is not None:
            await self._recorder.close().addTimeout(RECORDING_PATIENCE, self._reactor, self._give_up_recordings)

    def _give_up_recordings(self, _: object, timeout: float) -> None:
        self.log.error("recordings are not complete: the disk took more than {timeout:g} s", timeout=timeout)

    def _make_relay(
        self, config: Config, reactor: Any, entropy: Entropy, forwarder: KernelForwarder | None
    ) -> MediaRelay:
        media = config.media
        addresses = layers.media_addresses(config)
        settings = EngineSettings(flood_limit=media.flood_limit, keepalive=media.keepalive)
        offload: KernelOffload | None = None
        self._engine = "media is relayed in this process"
        if forwarder is not None:
            try:
                offload = KernelOffload(forwarder, addresses)
                self._engine = str(offload)
            except MediaEngineError as error:
                if media.kernel == "on":
                    raise
                self.log.info("media is not forwarded by the kernel: {reason}", reason=error)
        pacer = Pacer(reactor)
        self._addresses = len(addresses)
        self._ports = PortAllocator(clock=reactor, low=media.first_port, high=media.last_port, rest=media.port_rest)
        relay = MediaRelay(
            engine=ReactorEngine(
                reactor, pause=media.pause, timer=make_timer(reactor), offload=offload, settings=settings
            ),
            addresses=addresses,
            ports=self._ports,
            latch_window=media.latch_window,
            monitor=Monitor(reactor, MonitorSettings(limits=_limits(media))),
            entropy=entropy,
            seconds=reactor.seconds,
            recorder=self._recorder,
            announcer=Announcer(SoundLibrary(in_thread=deferToThread), pacer, entropy),
            pacer=pacer,
        )
        if media.workers:
            self._workers_wanted = media.workers
            self._workers = WorkerPool(
                reactor,
                count=media.workers,
                pause=media.worker_pause,
                orphan_timeout=media.orphan_timeout,
                settings=settings,
                directory=config.state_directory,
                lost=relay.engine_lost,
                kernel=self._kernel_of_workers(media, addresses),
            )
            relay.choose = self._workers.choose
            self._engine = f"media is relayed by {media.workers} worker{'s' if media.workers > 1 else ''}"
        return relay

    def _kernel_of_workers(self, media: Media, addresses: Sequence[MediaAddress]) -> Sequence[str]:
        """Give the addresses on which workers are to let the kernel forward: it is they who have the sockets."""
        if media.kernel == "off":
            return ()
        reason = explain_unavailable()
        if reason is None:
            return [address.host for address in addresses]
        if media.kernel == "on":
            raise MediaEngineError(reason)
        self.log.info("media is not forwarded by the kernel: {reason}", reason=reason)
        return ()


def _make_recorder(config: Config, reactor: Any) -> Recorder | None:
    recording = config.recording
    if recording.directory is None:
        return None
    settings = RecordingSettings(
        directory=recording.directory,
        template=recording.template,
        duration_limit=recording.duration,
        size_limit_octets=recording.size_octets,
        count_limit=recording.count,
    )
    return Recorder(settings, writer=WriterThread(reactor), seconds=reactor.seconds, wall=time.time)


def check_srtp(config: Config) -> None:
    """Make sure that who is to encrypt can.

    Raises:
        ConfigurationError: this installation cannot.
    """
    wanted = {config.media.srtp, *(user.srtp for user in config.users), *(rule.srtp for rule in config.routes)}
    wanted.update(trunk.srtp for trunk in config.trunks)
    if wanted & {"optional", "required"} and (reason := available()) is not None:
        raise ConfigurationError([f"SRTP is configured, and cannot be had: {reason}"])


def _limits(media: Media) -> InactivityLimits:
    return InactivityLimits(
        no_media=Limit(seconds=media.no_media, action=Action(media.no_media_action)),
        media_loss=Limit(seconds=media.media_loss, action=Action(media.media_loss_action)),
        hold=Limit(seconds=media.hold_timeout, action=Action(media.hold_action)),
    )


def _rtpengine_settings(media: Media) -> RtpengineSettings:
    return RtpengineSettings(
        daemons=tuple(DaemonAddress(host=one.address, port=one.port, weight=one.weight) for one in media.rtpengine),
        flags=media.rtpengine_flags,
    )
