"""A telephone for programs: it dials, answers, registers and transfers in coroutines.

    async with Phone(reactor, listen="udp:0.0.0.0:5060", account=Account("sip:alice@example.org", "secret")) as phone:
        call = await phone.dial("bob")
        await call.play("hello.wav")
        await call.hang_up()

It is a service of Twisted, too: give it a parent, or start and stop it. What it stands on is `sipd.ua`; what its calls
hear and say is `sipd.media.endpoint`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from sipd.interfaces import (
    Credentials,
    Entropy,
    IAuthenticator,
    IMediaEndpoint,
    IMessageObserver,
    IResolver,
    ListeningPoint,
)
from sipd.media.dtls.identity import make_identity
from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.settings import EndpointSettings, Security
from sipd.media.endpoint.verbatim import VerbatimEndpoint
from sipd.media.filewriter import ImmediateWriter, Writer, WriterThread
from sipd.media.pacer import Pacer
from sipd.media.sounds import SoundLibrary
from sipd.phone.account import Account
from sipd.phone.call import Call
from sipd.phone.dialing import AnswerHook, DialOptions, OutgoingCall, ProgressHook
from sipd.phone.fields import HeaderFields, pairs
from sipd.phone.identity import identity_fields
from sipd.phone.incoming import MAX_WAITING, IncomingCall, IncomingCalls
from sipd.phone.line import Line, Listening
from sipd.phone.placing import Placement, find_next_hop, placing
from sipd.phone.reception import CallHook, Decide, Reception, make_authenticator
from sipd.phone.transfers import ReferHook
from sipd.sip.fields import NameAddr
from sipd.sip.locate import Transport, is_numeric
from sipd.sip.timers import TimerValues
from sipd.sip.uri import Uri
from sipd.transport.tcp import is_wildcard
from sipd.transport.tls import TlsSettings
from sipd.ua.core import UserAgent
from sipd.ua.stack import find_local_address

if TYPE_CHECKING:
    pass

#: Makes the media of a call, given the listening point that its signalling uses.
MediaMaker = Callable[[ListeningPoint], IMediaEndpoint]


class Phone(Line):
    """A telephone.

    Args:
        reactor: gives sockets, time and threads; a host of a simulated network will do.
        listen: where: a text for `sipd.ua.stack.parse_listen` such as ``udp:0.0.0.0:5060`` or
            ``tls:[::]:5061:cert=FILE``, or several.
        account: who it is; without one it is nobody in particular, at its own address.
        audio: what its calls can: codecs, ports, SRTP, digits.
        media: makes the media of calls instead; for an application that has media of its own.
        name: for User-Agent.
        tls: certificates and authorities, for ``tls:`` listening points that name none.
        authorize: who may call: names and passwords, or what checks them; ``None`` for everybody.
        realm: in which they are asked.
        max_calls: at the same time; further ones that come are refused with 486.
        ring_timeout: seconds that a call is left to ring.
        patience: seconds that stopping may take, for BYE and the end of the registration.
        entropy, timers, resolver, observers: as for `sipd.ua.stack.open_layers`.
        log: says what the phone and its calls have to say; without it they say it as `sipd.phone`.
        credentials: for challenges of other realms than the account's, which each of them should name.

    Attributes:
        on_call: called with each call that comes while nobody iterates over `incoming`; may be a coroutine function.
            What it raises ends the call.
        on_refer: what `Call.on_refer` is at first.
        on_replaced: called with a call and the one that has taken its place, when somebody was transferred here.
        calls: those that are not over.
        registration: of its account, once there is one.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        listen: Listening | Sequence[Listening] = "udp:0.0.0.0:5060",
        account: Account | None = None,
        audio: EndpointSettings | None = None,
        media: MediaMaker | None = None,
        name: str = "sipd",
        tls: TlsSettings | None = None,
        authorize: Mapping[str, str] | IAuthenticator | None = None,
        realm: str = "sipd",
        max_calls: int = 100,
        ring_timeout: float = 180.0,
        patience: float = 5.0,
        entropy: Entropy = secrets.token_bytes,
        timers: TimerValues | None = None,
        resolver: IResolver | None = None,
        observers: Sequence[IMessageObserver] = (),
        log: Logger | None = None,
        credentials: Sequence[Credentials] = (),
    ) -> None:
        super().__init__(
            reactor,
            listen=listen,
            account=account,
            name=name,
            tls=tls,
            patience=patience,
            entropy=entropy,
            timers=timers,
            resolver=resolver,
            observers=observers,
            log=log,
            credentials=credentials,
        )
        self.on_call: CallHook | None = None
        self.on_refer: ReferHook | None = None
        self.on_replaced: Callable[[Call, IncomingCall], object] | None = None
        self.calls: set[Call] = set()
        self.max_calls = max_calls
        self.ring_timeout = ring_timeout
        self._audio = audio or EndpointSettings()
        self._media_maker = media
        self._reception = Reception(self, make_authenticator(authorize, self), realm)
        self._pacer = Pacer(self.clock)
        self._sounds = SoundLibrary(in_thread=self._in_thread)
        has_threads: bool = IReactorFromThreads.providedBy(reactor)
        self._writer: Writer = WriterThread(reactor) if has_threads else ImmediateWriter()
        self._awaited: set[Deferred[Any]] = set()
        #: The certificate that its media show, made when it is needed.
        self._dtls_identity = cache(make_identity)

    # --- its life -------------------------------------------------------------------------------------------

    def agent_made(self, agent: UserAgent) -> None:
        """See `Line`."""
        agent.call_handler = self._reception

    def end_calls(self) -> None:
        """See `Line`."""
        self.agent.call_handler = None
        self._reception.close()
        self.hang_up_all()

    async def release(self) -> None:
        """See `Line`."""
        closing = DeferredList(list(self._awaited), consumeErrors=True)
        await closing.addTimeout(self._patience, self.clock, onTimeoutCancel=lambda _, __: None)
        await self._writer.stop()

    # --- calls ----------------------------------------------------------------------------------------------

    def dial(
        self,
        recipient: str,
        *,
        headers: HeaderFields = (),
        on_progress: ProgressHook | None = None,
        on_answer: AnswerHook | None = None,
        ring_timeout: float | None = None,
        media: IMediaEndpoint | None = None,
        sdp: bytes | None = None,
        codecs: Sequence[str] | None = None,
        late_offer: bool = False,
        caller: str = "",
        caller_name: str = "",
        asserted_identity: str | Sequence[str] = (),
        privacy: str | Sequence[str] = (),
        history: Sequence[str] = (),
        diversion: Sequence[str] = (),
        identity: str = "",
        call_id: str = "",
        security: Security | None = None,
        transport: Transport | None = None,
        proxy: str = "",
        credentials: Credentials | None = None,
        max_redirects: int = 0,
        correlation: str = "",
        scenario: str = "",
        script: str = "",
    ) -> Deferred[OutgoingCall]:
        """Call somebody.

        Args:
            recipient: an address, or a part of one (`sipd.phone.addresses.complete`).
            headers: more header fields of the INVITE.
            on_progress: called with a `DialProgress` when the INVITE leaves, for each provisional response, and for the
                outcome.
            on_answer: called with the call and the 2xx before the ACK leaves, and awaited; what it raises ends the call
                (the 2xx gets its ACK, and then a BYE follows).
            ring_timeout: seconds until it is given up; ``None`` for the phone's.
            media: of this call; ``None`` for what the phone makes.
            sdp: an offer verbatim; what is behind it is the application's affair.
            codecs: that are offered, in that order; ``None`` for the phone's.
            late_offer: whether the INVITE makes no offer, and its ACK the answer to that of the other side.
            caller: another From: an address, or a part of one.
            caller_name: its display name.
            asserted_identity: one or two addresses for P-Asserted-Identity (RFC 3325 section 9.1).
            privacy: values of Privacy (RFC 3323).
            history: values of History-Info (RFC 7044), in order.
            diversion: values of Diversion (RFC 5806), the last one first.
            identity: a value of Identity, made elsewhere (RFC 8224).
            call_id: that it is to have; nobody else may ever use it. Empty for one that is made.
            security: whether what is offered is encrypted, by media of this phone; ``None`` for what it does else.
            transport: where neither the recipient nor the proxy says one.
            proxy: where it goes first, instead of the account's.
            credentials: instead of the account's.
            max_redirects: contacts of a 3xx that are tried after it, 10 at most; each is another call. The account's
                credentials, and what asserts an identity, are not for strangers (`sipd.phone.placing.place`). None are
                tried with ``media``, which end with the first call.
            correlation: what the application knows the call by; in each `DialProgress`, and of the call.
            scenario: what it is made for, as there.
            script: what it is carried out by, as there.

        Returns:
            A Deferred of the call, which fires when it is established. Cancelling it sends CANCEL. Fails with

            * `DialError` where it was refused (``response``), or its answer cannot be used; and its subclasses
              `DialTimeoutError`, `DialUnresolvableError`, `DialTransportError`, `DialConnectionRefused` and
              `DialTlsError`;
            * `ParseError` where ``recipient``, ``caller`` or a header field cannot be read;
            * `LocalError`: the phone is not started, or its media cannot be had;
            * ``ValueError``: a codec is not known, or `ring_timeout` is negative.
        """

        def make(point: ListeningPoint) -> IMediaEndpoint:
            if media is not None:
                return media
            if sdp is not None:
                return VerbatimEndpoint(sdp)
            return self.make_media(point, codecs) if security is None else self._make_audio(point, codecs, security)

        def wanted() -> Placement:
            if ring_timeout is not None and not ring_timeout >= 0.0:
                raise ValueError(f"ring_timeout: 0 seconds or more expected (got {ring_timeout})")
            callee = self.address(recipient)
            from_ = self.address(caller) if caller else self.identity
            account = self.account
            return Placement(
                callee=callee,
                caller=NameAddr(from_.uri, caller_name or from_.display_name),
                headers=(
                    *identity_fields(asserted_identity, privacy, history, diversion, identity),
                    *pairs(headers),
                ),
                make_media=make,
                options=DialOptions(
                    on_progress=on_progress,
                    on_answer=on_answer,
                    ring_timeout=self.ring_timeout if ring_timeout is None else ring_timeout,
                    late_offer=late_offer,
                    correlation=correlation,
                    scenario=scenario,
                    script=script,
                ),
                next_hop=find_next_hop(account, self.address(proxy).uri if proxy else None, callee.uri, transport),
                credentials=credentials or (None if account is None else account.credentials),
                call_id=call_id,
                max_redirects=max_redirects,
                keeps_media=media is not None,
            )

        return placing(self, wanted)

    def incoming(self, limit: int = MAX_WAITING) -> IncomingCalls:
        """Give the calls that come from now on, to iterate over. Of several iterators the first one gets them.

        Args:
            limit: how many may wait to be taken; further ones are refused with 486.
        """
        return self._reception.iterate(limit)

    def answer(
        self,
        *,
        ring_time: float = 0.0,
        status: int = 200,
        reason: str | None = None,
        headers: HeaderFields = (),
        codecs: Sequence[str] | None = None,
        on_call: Decide | None = None,
    ) -> Deferred[IncomingCall]:
        """Wait for one call, let it ring, and answer it.

        Args:
            ring_time: seconds that it rings.
            status: of the answer, 200 to 299; 300 to 699 refuses every call.
            reason: its phrase.
            headers: more header fields of the answer.
            codecs: that it may use; ``None`` for the phone's.
            on_call: asked first: a status of 300 to 699 refuses the call, -1 does so with 480; 0 or ``None`` goes on;
                another 2xx is the status of the answer.

        Returns:
            A Deferred of the first call that is established. Callers that give up before are passed over. Cancelling it
            stops waiting; a call that rings by then is refused with 480.
        """
        return Deferred.fromCoroutine(self._reception.answer(ring_time, status, reason, headers, codecs, on_call))

    def hang_up_all(self, reason: str = "") -> Deferred[None]:
        """Hang up every call, and give up those that ring. As for `Call.hang_up`; fires when all are over."""
        ending = [call.hang_up(reason) for call in list(self.calls)]
        return DeferredList(ending).addCallback(lambda _: None)

    # --- for its calls --------------------------------------------------------------------------------------

    def make_media(self, point: ListeningPoint, codecs: Sequence[str] | None = None) -> IMediaEndpoint:
        """Make the media of a call.

        Args:
            point: the listening point that its signalling uses.
            codecs: that it may use; ``None`` for the phone's.
        """
        if self._media_maker is not None:
            return self._media_maker(point)
        return self._make_audio(point, codecs, self._audio.security)

    def _make_audio(self, point: ListeningPoint, codecs: Sequence[str] | None, security: Security) -> IMediaEndpoint:
        audio = self._audio
        settings = replace(
            audio,
            codecs=audio.codecs if codecs is None else tuple(codecs),
            security=security,
        )
        endpoint: IMediaEndpoint = AudioEndpoint(
            self.reactor,
            host=point.host,
            advertised_host=self._media_host(point),
            settings=settings,
            pacer=self._pacer,
            sounds=self._sounds,
            entropy=self.entropy,
            writer=self._writer,
            identity=self._dtls_identity,
        )
        return endpoint

    def follow(
        self, call: Call, callee: Uri, headers: Sequence[tuple[str, str]], on_progress: ProgressHook
    ) -> Deferred[OutgoingCall]:
        """Call whom the peer of a call has named, as for `dial`.

        Args:
            call: that one.
            callee: a ``sip``, ``sips`` or ``tel`` URI.
            headers: more header fields of the INVITE.
            on_progress: as for `dial`.
        """

        def wanted() -> Placement:
            account = self.account
            return Placement(
                callee=NameAddr(callee),
                caller=self.identity,
                headers=tuple(headers),
                make_media=self.make_media,
                options=DialOptions(
                    on_progress=on_progress,
                    ring_timeout=self.ring_timeout,
                    correlation=call.correlation,
                    scenario="transfer",
                    script=call.script,
                ),
                next_hop=find_next_hop(account, None, callee, None),
                credentials=None if account is None else account.credentials,
                is_sent=True,
            )

        return placing(self, wanted)

    def forget(self, call: Call) -> None:
        """A call is over."""
        self.calls.discard(call)

    def wait_for(self, closing: Deferred[None]) -> None:
        """Let the end of the phone wait for something that does not fail."""
        if not closing.called:
            self._awaited.add(closing)
            closing.addBoth(lambda _: self._awaited.discard(closing))

    def _media_host(self, point: ListeningPoint) -> str:
        """Give the address that descriptions name: what is advertised, unless that is a name.

        Raises:
            LocalError: there is none.
        """
        if is_numeric(point.advertised_host):
            return point.advertised_host
        return find_local_address(point.host, self.reactor) if is_wildcard(point.host) else point.host

    def _in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        if isinstance(self._writer, ImmediateWriter):
            return maybeDeferred(function)
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), function)
