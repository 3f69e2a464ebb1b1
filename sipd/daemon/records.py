"""From ``[cdr]`` to what takes call records: the files, and the places with a spool."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from sipd.cdr.csv_lines import PRESETS, Times, columns_printer
from sipd.cdr.delivery import DeliverySettings, FullPolicy, SpooledRecords
from sipd.cdr.files import RecordFile, SyncPolicy
from sipd.cdr.interfaces import IRecordSink, IRecordTaker
from sipd.cdr.recorder import CallRecorder
from sipd.cdr.spool import Spool
from sipd.cdr.sql import SqlSink
from sipd.cdr.syslog import Formatter, SyslogDatagrams, SyslogStream
from sipd.daemon.sections import Config
from sipd.daemon.sections.records import RecordSink
from sipd.errors import LocalError
from sipd.interfaces import ICallObserver
from sipd.registrar.store import DatabaseThread

_SYSLOG_PORTS = {"udp": 514, "tcp": 601}
_ACCOUNTING_PORT = 1813
#: Seconds for which a RADIUS server that did not answer is asked after the others.
_RADIUS_REST = 60.0


class Records:
    """Everything that call records go to. It has files, sockets and threads, and stays.

    Args:
        config: says what there is.
        reactor: gives sockets, threads and time.

    Attributes:
        observers: to be told of calls.

    Raises:
        ConfigurationError: a file or a spool cannot be used, or a package is not installed. Nothing stays open.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._spooled: list[SpooledRecords] = []
        self._on_close: list[Callable[[], None]] = []
        self._disk: DatabaseThread | None = None
        self.observers: tuple[ICallObserver, ...] = ()
        takers: list[IRecordTaker] = []
        self._watchers: list[ICallObserver] = []
        self._recorder = CallRecorder(())
        try:
            takers.append(self._file(config.cdr_file, config.cdr.fsync, config.cdr.interval))
            takers.extend(self._taker(section) for section in config.cdr.sinks)
        except LocalError:
            CallRecorder(taker for taker in takers if isinstance(taker, RecordFile)).close()
            for taker in self._spooled:
                taker.abandon()
            self._end()
            raise
        finally:
            self._recorder = CallRecorder(takers)
        self.observers = (self._recorder, *self._watchers)
        self._warn_of_leftovers()

    @property
    def waiting(self) -> int:
        """How many records are in memory alone, since a disk does not take them."""
        return self._recorder.waiting

    @property
    def spooled_octets(self) -> dict[str, int]:
        """What is in the spools, by the names of their places; what was delivered may be among it for a while."""
        return {taker.name: taker.spooled_octets for taker in self._spooled}

    def start(self) -> None:
        """Begin with what an earlier run has left in the spools."""
        for taker in self._spooled:
            taker.start()

    def reopen(self) -> None:
        """Files have been moved away: go on in new ones."""
        self._recorder.reopen()

    async def close(self) -> None:
        """Bring all records as far as they get in a short time, and stop. Never fails."""
        await self._recorder.close()
        self._end()

    def _end(self) -> None:
        for end in self._on_close:
            end()
        self._on_close.clear()
        if self._disk is not None:
            self._disk.stop()
            self._disk = None

    # --- what there is ----------------------------------------------------------------------------------------

    def _taker(self, section: RecordSink) -> IRecordTaker:
        if section.type == "jsonl":
            return self._file(_given(section.file), section.fsync, section.interval, kinds=section.records)
        if section.type == "csv":
            if section.preset is not None:
                printer, header = PRESETS[section.preset], b""
            else:
                printer, header = columns_printer(section.columns, Times(section.times))
            return self._file(
                _given(section.file),
                section.fsync,
                section.interval,
                kinds=section.records,
                print_record=printer,
                header=header if section.header else b"",
            )
        return self._spool(section, _MAKERS[section.type](self, section))

    def _file(self, path: Path, fsync: str, interval: float, **more: Any) -> RecordFile:
        return RecordFile(
            str(path),
            reactor=self._reactor,
            in_thread=deferToThread,
            sync=SyncPolicy(fsync),
            interval=interval,
            **more,
        )

    def _spool(self, section: RecordSink, sink: IRecordSink) -> SpooledRecords:
        try:
            spool = Spool(self._config.cdr_spool / section.name, max_octets=section.spool_size_octets)
        except LocalError:
            sink.close()
            raise
        if self._disk is None:
            self._disk = DatabaseThread(self._reactor)
        taker = SpooledRecords(
            section.name,
            sink,
            spool,
            clock=self._reactor,
            worker=self._disk,
            kinds=section.records,
            settings=DeliverySettings(
                batch=section.batch,
                first_retry=section.first_retry,
                last_retry=section.last_retry,
                when_full=FullPolicy(section.when_full),
            ),
        )
        self._spooled.append(taker)
        return taker

    def _http(self, section: RecordSink) -> IRecordSink:
        # Twisted's web client takes a while to import.
        from sipd.cdr.webhook import HttpSink, make_client

        client, pool = make_client(self._reactor, connect_timeout=section.timeout, ca=section.ca)
        return HttpSink(
            _given(section.url),
            client,
            clock=self._reactor,
            now=self._reactor.seconds,
            secret=section.secret.text if section.secret is not None else None,
            timeout=section.timeout,
            authorization=section.authorization.text if section.authorization is not None else None,
            pool=pool,
        )

    def _sql(self, section: RecordSink) -> IRecordSink:
        return SqlSink(_given(section.database).text, worker=DatabaseThread(self._reactor))

    def _syslog(self, section: RecordSink) -> IRecordSink:
        formatter = Formatter(
            host=socket.gethostname(),
            process=os.getpid(),
            facility=section.facility,
            max_octets=section.message_size_octets,
        )
        if section.server is None:
            return SyslogDatagrams(str(_given(section.socket)), formatter, clock=self._reactor)
        host, port = section.server
        port = port or _SYSLOG_PORTS[section.transport]
        if section.transport == "udp":
            return SyslogDatagrams((host, port), formatter, clock=self._reactor)
        endpoint = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        return SyslogStream(endpoint(self._reactor, host, port), formatter, clock=self._reactor)

    def _radius(self, section: RecordSink) -> IRecordSink:
        from sipd.cdr.radius import RadiusProgress, RadiusSink
        from sipd.cdr.radius_client import RadiusClient
        from sipd.radius.peer import RadiusServer, RadiusSettings
        from sipd.radius.peers import RadiusPeers

        secret = _given(section.secret).text.encode("utf-8", "surrogateescape")
        peers = RadiusPeers(
            [RadiusServer(host=host, port=port or _ACCOUNTING_PORT, secret=secret) for host, port in section.servers],
            RadiusSettings(timeout=section.retransmit, tries=section.tries, rest=_RADIUS_REST),
            reactor=self._reactor,
        )
        client = RadiusClient(peers)
        if section.start or section.interim:
            progress = RadiusProgress(
                client,
                identifier=section.nas_identifier,
                clock=self._reactor,
                now=self._reactor.seconds,
                interim=section.interim or None,
                starts=section.start,
            )
            self._watchers.append(progress)
            self._on_close.append(progress.close)
        return RadiusSink(client, identifier=section.nas_identifier, now=self._reactor.seconds)

    def _warn_of_leftovers(self) -> None:
        """Say which spools hold records of a place that is not configured any more."""
        directory = self._config.cdr_spool
        known = {section.name for section in self._config.cdr.sinks}
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if path.name not in known and any(path.glob("[0-9]*.records")):
                self._log.warn("{path} holds call records for a place that is not configured", path=str(path))


_MAKERS: dict[str, Callable[[Records, RecordSink], IRecordSink]] = {
    "http": Records._http,
    "sql": Records._sql,
    "syslog": Records._syslog,
    "radius": Records._radius,
}


def _given(value: Any) -> Any:
    """Give what the check of the configuration has seen to."""
    assert value is not None
    return value
