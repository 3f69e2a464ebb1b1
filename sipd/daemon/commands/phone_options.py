"""The options that the commands of ``sipd phone`` have in common."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.python import usage

from sipd.daemon.commands.base import MISUSED, Command, Parameters
from sipd.errors import ConfigurationError, ParseError

if TYPE_CHECKING:
    # A telephone takes a while to import, and the other commands need none.
    from sipd.daemon.telephone.desk import Desk
    from sipd.daemon.telephone.settings import LineWanted, Talk
    from sipd.media.endpoint.settings import EndpointSettings, IceServer
    from sipd.phone.account import Account

#: The environment variable that has the password.
PASSWORD_VARIABLE = "SIPD_PASSWORD"

_TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
_DIGIT_WAYS = ("rfc4733", "info", "inband")
_LARGEST = 10**6
#: What a shell makes of SIGINT.
_INTERRUPTED = 130
#: The largest capture that is written.
_MAX_SAVED_OCTETS = 2**30

Act = Callable[["Desk"], Coroutine[Any, Any, int]]
Flags = tuple[tuple[str, str | None, str], ...]


class PhoneOptions(Command):
    """What all commands of the telephone take."""

    optParameters: ClassVar[Parameters] = (
        ("account", "a", None, "Who it is: sip:alice@example.org. Not given: nobody in particular."),
        ("user", "u", None, "The same."),
        (
            "password-file",
            None,
            None,
            f"A file whose first line is the password; else {PASSWORD_VARIABLE} may have it.",
        ),
        ("password", None, None, "The password; everybody on this machine can see it."),
        ("auth-name", None, None, "The user name for digest. Not given: the user of the account."),
        ("proxy", "p", None, "Where every request goes first: a host or a URI."),
        ("registrar", None, None, "Where to register. Not given: the domain of the account."),
        ("transport", "t", None, "udp, tcp, tls, ws or wss, where no URI says one."),
        ("tls-ca", None, None, "A file of certificates that are trusted, instead of the system's."),
        ("tls-cert", None, None, "Our own certificate. Not given: one that is made for the moment."),
        ("tls-key", None, None, "Its key."),
        ("name", None, "sipd phone", "What User-Agent says."),
        ("timeout", None, "32", "Seconds to wait for an answer."),
        ("pcap", "w", None, "Write every message to this file, for Wireshark and tshark."),
    )
    optFlags: ClassVar[Flags] = (
        ("ladder", "l", "Draw each message as it comes or goes. Not given: if output is a terminal."),
        ("no-ladder", None, "Draw none."),
        ("verbose", "v", "Show whole messages."),
        ("tls-insecure", None, "Trust every certificate."),
        ("show-secrets", None, "Cover no credentials and keys, neither here nor in the file."),
        ("json", "j", "One JSON object a line."),
        ("quiet", "q", "Show nothing but what goes wrong."),
    )

    def __init__(self) -> None:
        super().__init__()
        self._listen: list[str] = []
        # Taken away: programs that are started, as of a sound card, have no business with it.
        self._password_of_environment = os.environ.pop(PASSWORD_VARIABLE, None)

    def opt_listen(self, text: str) -> None:
        """Listen there: udp:0.0.0.0:5060, tcp:[::]:0, tls:...:cert=FILE; may be given several times. Not given: any."""
        self._listen.append(text)

    def postOptions(self) -> None:
        """See ``usage.Options``."""
        for one, other in (("quiet", "verbose"), ("quiet", "json"), ("ladder", "no-ladder"), ("account", "user")):
            if self[one] and self[other]:
                raise usage.UsageError(f"either --{one} or --{other}")
        if bool(self["tls-cert"]) != bool(self["tls-key"]):
            raise usage.UsageError("--tls-cert and --tls-key go together")
        if self["transport"] not in (None, *_TRANSPORTS):
            raise usage.UsageError(f"--transport: one of {', '.join(_TRANSPORTS)} expected")
        self.prepare()

    def prepare(self) -> None:
        """Make of the options what is to be done.

        Raises:
            usage.UsageError: that cannot be.
        """
        try:
            self._act = self.act()
        except ConfigurationError as error:
            raise usage.UsageError("; ".join(error.problems)) from None
        except (ParseError, ValueError) as error:
            raise usage.UsageError(str(error)) from None

    @abstractmethod
    def act(self) -> Act:
        """Give what is to be done.

        Raises:
            ConfigurationError, ParseError, ValueError: an option cannot be used.
        """

    def run(self) -> int:
        """See `Command`."""
        try:
            return self._run()
        except KeyboardInterrupt:
            # Before the reactor runs there is nothing to hang up.
            return _INTERRUPTED

    def _run(self) -> int:
        from sipd.daemon.monitoring import Output
        from sipd.daemon.telephone.desk import Desk
        from sipd.daemon.telephone.running import run
        from sipd.daemon.telephone.screen import Screen
        from sipd.daemon.telephone.tracing import Trace
        from sipd.observe.sniffing.files import SavedCapture

        with ExitStack() as files:
            saved = None
            if self["pcap"]:
                saved = files.enter_context(closing(SavedCapture(Path(self["pcap"]), size_octets=_MAX_SAVED_OCTETS)))
            screen = Screen(Output().write, _complain, as_json=bool(self["json"]), is_quiet=bool(self["quiet"]))
            trace = Trace(
                screen,
                draws=self._draws(),
                shows_whole=bool(self["verbose"]),
                saved=saved,
                shows_secrets=bool(self["show-secrets"]),
            )
            try:
                return run(lambda reactor: Desk(reactor, screen, observers=[trace]), self._act)
            except ParseError as error:
                _complain(str(error))
                return MISUSED

    def line(self, audio: EndpointSettings | None = None) -> LineWanted:
        """Give the line that the options describe. Raises as `act` does."""
        from sipd.daemon.telephone.settings import LineWanted
        from sipd.media.endpoint.settings import EndpointSettings
        from sipd.sip.locate import Transport
        from sipd.transport.tls import TlsContext, TlsSettings
        from sipd.ua.listening import parse_listen

        transport = None if self["transport"] is None else Transport[self["transport"].upper()]
        tls = TlsSettings(
            certificate=self["tls-cert"] or "",
            key=self["tls-key"] or "",
            authorities=(self["tls-ca"],) if self["tls-ca"] else (),
            verify_server=not self["tls-insecure"],
        )
        if self["tls-cert"] or self["tls-ca"]:
            TlsContext(tls)
        return LineWanted(
            account=self._account(),
            listen=tuple([parse_listen(text) for text in self._listen]),
            transport=transport,
            tls=tls,
            audio=audio or EndpointSettings(),
            name=self["name"],
            timeout=self.seconds("timeout"),
        )

    def seconds(self, option: str) -> float:
        """Give an option that is a number of seconds.

        Raises:
            ValueError: it is none.
        """
        seconds = self.seconds_or_none(option)
        if seconds is None:
            raise ValueError(f"--{option}: seconds expected")
        return seconds

    def seconds_or_none(self, option: str) -> float | None:
        """The same of one that may be left out."""
        if self[option] is None:
            return None
        try:
            seconds = float(self[option])
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= _LARGEST:
            raise ValueError(f"--{option}: seconds expected")
        return seconds

    def count(self, option: str) -> int:
        """Give an option that is a number, 1 at least.

        Raises:
            ValueError: it is none.
        """
        text = str(self[option])
        if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text)):
            raise ValueError(f"--{option}: a number expected")
        return int(text)

    def first_line(self, option: str) -> str:
        """Give the first line of the file that an option names.

        Raises:
            ValueError: it cannot be read.
        """
        try:
            return Path(self[option]).read_text().partition("\n")[0].rstrip("\r")
        except OSError as error:
            raise ValueError(f"--{option}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"--{option}: not a text in UTF-8") from None

    def _draws(self) -> bool:
        if self["ladder"] or self["no-ladder"]:
            return bool(self["ladder"])
        return not self["json"] and sys.stdout.isatty()

    def _account(self) -> Account | None:
        from sipd.phone.account import Account

        uri = self["account"] or self["user"]
        needing = [name for name in ("password", "password-file", "auth-name", "registrar") if self[name]]
        if not uri:
            if needing:
                raise ValueError(f"--{needing[0]} goes with --account")
            return None if not self["proxy"] else Account(f"sip:phone@{_host_of(self['proxy'])}", proxy=self["proxy"])
        if "@" not in uri:
            raise ValueError("--account: an address such as sip:alice@example.org expected")
        return Account(
            uri,
            self._password(),
            username=self["auth-name"] or "",
            registrar=self["registrar"] or "",
            proxy=self["proxy"] or "",
            expires=self.count("expires") if "expires" in self else 1800,
        )

    def _password(self) -> str | None:
        if self["password"] and self["password-file"]:
            raise ValueError("either --password or --password-file")
        if self["password"]:
            _complain(
                f"--password can be seen by everybody on this machine; --password-file and {PASSWORD_VARIABLE} not"
            )
            return str(self["password"])
        if self["password-file"]:
            return self.first_line("password-file")
        return self._password_of_environment


class RequestOptions(PhoneOptions):
    """Of those whose requests or answers may have header fields of the operator's."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[tuple[str, str]] = []

    def opt_header(self, text: str) -> None:
        """Give the request, or the answer, a header field, "Name: value"; may be given several times."""
        name, colon, value = text.partition(":")
        if not (colon and name.strip() and text.isprintable()):
            raise usage.UsageError('--header "Name: value" expected')
        self.headers.append((name.strip(), value.strip()))


class TalkOptions(RequestOptions):
    """Of those that talk."""

    optParameters: ClassVar[Parameters] = (
        ("play", None, None, "Play this WAVE file once, or tone:440 or tone:de:ringback for ever, or silence:2.0."),
        ("record", None, None, "Record what is heard to this WAVE file."),
        ("sound", None, None, "Talk by this sound device of ALSA: default, plughw:1,0; or by --microphone, --speaker."),
        ("microphone", None, None, 'Say what this device hears, a name of ALSA, or "|COMMAND" that writes samples.'),
        ("speaker", None, None, 'Give what is heard to this device, or "|COMMAND" that reads samples.'),
        ("dtmf", None, None, "Say these digits; a comma is a pause of 2 s."),
        ("dtmf-by", None, "rfc4733", "How digits are said: rfc4733, info or inband."),
        ("hangup-after", None, None, "Hang up after so many seconds."),
        ("hold-after", None, None, "Put the other side on hold after so many seconds."),
        ("transfer-to", None, None, "Send the other side to this address."),
        ("transfer-after", None, "1", "When, in seconds."),
        ("turn-user", None, None, "Who we are to TURN servers."),
        ("turn-password-file", None, None, "A file whose first line is the password for them."),
        ("ports", None, None, "Ports for media: 10000-10100. Not given: any."),
    )
    optFlags: ClassVar[Flags] = (
        ("srtp", None, "Encrypt media: keys in the description (SDES)."),
        ("dtls", None, "Encrypt media: keys by DTLS."),
        ("ice", None, "Find the way of media by ICE."),
        ("echo", None, "Send back what is heard."),
        ("loop", None, "Play the file for ever."),
        ("record-both", None, "Record what is said, too, on a second channel."),
        ("follow", None, "Call whom the other side sends us to (REFER). Not given: refuse that."),
        ("hangup-when-done", None, "Hang up when everything is played and said."),
    )

    def __init__(self) -> None:
        super().__init__()
        self._codecs: list[str] = []
        self._ice_servers: list[str] = []

    def opt_ice_server(self, uri: str) -> None:
        """Ask this server for addresses beyond NATs: stun:HOST:PORT or turn:HOST:PORT; may be given several times."""
        self._ice_servers.append(uri)

    def opt_codec(self, names: str) -> None:
        """Offer this codec: pcmu, pcma, g722, opus; may be given several times, in the order of preference."""
        self._codecs += [name.strip().lower() for name in names.split(",")]

    def audio(self) -> EndpointSettings:
        """Give what calls can. Raises as `act` does."""
        from sipd.media.endpoint.settings import EndpointSettings, Ice, Security

        low, dash, high = str(self["ports"] or "0-0").partition("-")
        if not (dash and all(part.isascii() and part.isdigit() and len(part) < 6 for part in (low, high))):
            raise ValueError("--ports: two numbers such as 10000-10100 expected")
        if self["srtp"] and self["dtls"]:
            raise ValueError("either --srtp or --dtls")
        security = Security.DTLS if self["dtls"] else Security.OFFERED if self["srtp"] else Security.NONE
        is_inband = self["dtmf-by"] == "inband"
        return EndpointSettings(
            codecs=tuple(self._codecs) or EndpointSettings().codecs,
            ports=(int(low), int(high)),
            security=security,
            ice=Ice.OFFERED if self["ice"] or self._ice_servers else Ice.ANSWERED,
            ice_servers=self._servers(),
            telephone_events=not is_inband,
            detect_inband=is_inband,
        )

    def _servers(self) -> tuple[IceServer, ...]:
        from sipd.media.endpoint.settings import IceServer
        from sipd.media.traversal.servers import TraversalServer

        user, password = self["turn-user"] or "", ""
        if self["turn-password-file"]:
            password = self.first_line("turn-password-file")
        return tuple(
            [IceServer(uri=str(TraversalServer.parse(uri)), user=user, password=password) for uri in self._ice_servers]
        )

    def talk(self) -> Talk:
        """Give what is done in each call. Raises as `act` does."""
        from sipd.daemon.telephone.keys import DIGITS_AND_PAUSE
        from sipd.daemon.telephone.settings import DigitWay, Talk

        if self["dtmf-by"] not in _DIGIT_WAYS:
            raise ValueError(f"--dtmf-by: one of {', '.join(_DIGIT_WAYS)} expected")
        if self["echo"] and self["play"]:
            raise ValueError("either --echo or --play")
        digits = str(self["dtmf"] or "").upper()
        if not set(digits) <= DIGITS_AND_PAUSE:
            raise ValueError("--dtmf: 0 to 9, *, #, A to D and commas expected")
        play = str(self["play"] or "")
        is_tone = play.startswith("tone:")
        if play:
            _check_sound(play)
        if self["hangup-when-done"] and (not (play or digits) or (play and (is_tone or self["loop"]))):
            raise ValueError("--hangup-when-done needs --play with an end, or --dtmf")
        microphone, loudspeaker = self._devices()
        if microphone and self["echo"]:
            raise ValueError("either --echo or --microphone, or --sound, which means that, too")
        if microphone and (is_tone or (play and self["loop"])):
            raise ValueError("--play has no end here: nothing would ever be heard of the --microphone")
        return Talk(
            play=play,
            times=None if is_tone or self["loop"] else 1,
            record=self["record"] or "",
            records_both=bool(self["record-both"]),
            echoes=bool(self["echo"]),
            digits=digits,
            digits_by=DigitWay(self["dtmf-by"]),
            hold_after=self.seconds_or_none("hold-after"),
            transfer_to=self["transfer-to"] or "",
            transfer_after=self.seconds("transfer-after"),
            hangup_after=self.seconds_or_none("hangup-after"),
            hangs_up_when_done=bool(self["hangup-when-done"]),
            follows=bool(self["follow"]),
            microphone=microphone,
            loudspeaker=loudspeaker,
        )

    def _devices(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give the commands of microphone and loudspeaker, each empty for none. Raises as `act` does."""
        from sipd.daemon.telephone.handset import loudspeaker_command, microphone_command

        found = []
        for option, read in (("microphone", microphone_command), ("speaker", loudspeaker_command)):
            used = option if self[option] is not None else "sound"
            try:
                found.append(() if self[used] is None else read(self[used]))
            except ValueError as error:
                raise ValueError(f"--{used}: {error}") from None
        return found[0], found[1]


def _check_sound(play: str) -> None:
    """Make sure that there is something to play.

    Raises:
        ValueError: there is not.
    """
    from sipd.errors import SoundError
    from sipd.media.endpoint.sources import sound_of

    try:
        sound_of(play)
    except SoundError as error:
        raise ValueError(f"--play: {error}") from None
    if not play.startswith(("tone:", "silence:")) and not Path(play).is_file():
        raise ValueError(f"--play: there is no file {play}")


def _host_of(proxy: str) -> str:
    from sipd.phone.account import read_place

    uri = read_place(proxy)
    return uri.host


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
