"""``sipd phone``: a telephone for people who debug. What it does is in `sipd.daemon.telephone`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from twisted.python import usage

from sipd.daemon.commands.base import Command, Parameters
from sipd.daemon.commands.phone_options import Act, Flags, PhoneOptions, RequestOptions, TalkOptions

_EXITS = "The exit status is 0 if that was done, 1 if it was refused, 3 if nobody has answered, 130 after Ctrl-C."


class Dial(TalkOptions):
    """Calls somebody."""

    name = "phone dial"
    synopsis = "[options] URI"
    longdesc = (
        "Calls somebody, plays, records, says digits, and says at the end how the media fared. While it rings or "
        "talks, a line that is typed is a command: h hang up, d123 or 123 digits, r hold and resume, m mute, i how "
        "the media fare, t TEXT message, s TEXT INFO, x ADDRESS transfer, q quit. " + _EXITS
    )
    optParameters: ClassVar[Parameters] = (
        ("ring-timeout", None, "60", "Seconds that it may ring."),
        ("caller", None, None, "Another From than the account's."),
        ("caller-name", None, None, "The display name in From."),
        ("privacy", None, None, "A value of Privacy: id, header, full."),
        ("repeat", None, "1", "Make so many calls, one after the other."),
    )

    def __init__(self) -> None:
        super().__init__()
        self._identities: list[str] = []

    def opt_identity(self, address: str) -> None:
        """Say that address in P-Asserted-Identity; may be given twice."""
        self._identities.append(address)

    def parseArgs(self, recipient: str) -> None:  # type: ignore[override]
        """See ``usage.Options``."""
        self._recipient = recipient

    def act(self) -> Act:
        """See `PhoneOptions`."""
        from sipd.daemon.telephone.dialer import DialWanted, dial
        from sipd.daemon.telephone.settings import places_of

        wanted = DialWanted(
            line=self.line(self.audio()),
            recipient=self._recipient,
            talk=self.talk(),
            ring_timeout=self.seconds("ring-timeout"),
            headers=tuple(self.headers),
            caller=self["caller"] or "",
            caller_name=self["caller-name"] or "",
            identities=tuple(self._identities),
            privacy=tuple([one.strip() for one in (self["privacy"] or "").split(";") if one.strip()]),
            count=self.count("repeat"),
        )
        places_of(wanted.line.account, wanted.recipient)
        return lambda desk: dial(desk, wanted)


class Answer(TalkOptions):
    """Takes calls."""

    name = "phone answer"
    synopsis = "[options]"
    longdesc = (
        "Takes the calls that come, or refuses them by --status, until Ctrl-C. --echo is a telephone for tests of "
        "sound; --once ends with the first call. Commands may be typed as for dial. " + _EXITS
    )
    optParameters: ClassVar[Parameters] = (
        ("ring-time", None, "0", "Seconds that a call rings before it is answered, or refused."),
        ("status", "s", "200", "The status of the answer; 300 to 699 refuses."),
        ("max-calls", None, "10", "Calls at the same time; further ones get 486."),
        ("expires", None, "1800", "Seconds to register for."),
    )
    optFlags: ClassVar[Flags] = (
        ("register", None, "Register before."),
        ("once", None, "End when the first call is over."),
    )

    def parseArgs(self) -> None:
        """See ``usage.Options``."""

    def act(self) -> Act:
        """See `PhoneOptions`."""
        from sipd.daemon.telephone.answerer import AnswerWanted, answer

        status = self.count("status")
        if not 200 <= status <= 699:
            raise ValueError("--status: 200 to 699 expected")
        line = self.line(self.audio())
        if self["register"] and line.account is None:
            raise ValueError("--register needs --account")
        wanted = AnswerWanted(
            line=line,
            talk=self.talk(),
            ring_time=self.seconds("ring-time"),
            status=status,
            headers=tuple(self.headers),
            registers=bool(self["register"]),
            is_once=bool(self["once"]),
            max_calls=self.count("max-calls"),
        )
        return lambda desk: answer(desk, wanted)


class Register(PhoneOptions):
    """Registers."""

    name = "phone register"
    synopsis = "--account URI [options]"
    longdesc = (
        "Registers, keeps that up until Ctrl-C, and unregisters then. --once just finds out whether it can. " + _EXITS
    )
    optParameters: ClassVar[Parameters] = (("expires", "e", "1800", "Seconds to register for, 60 at least."),)
    optFlags: ClassVar[Flags] = (
        ("once", None, "Unregister again at once."),
        ("unregister-all", None, "Remove every contact of the account, those of other phones, too."),
    )

    def parseArgs(self) -> None:
        """See ``usage.Options``."""

    def act(self) -> Act:
        """See `PhoneOptions`."""
        from sipd.daemon.telephone.registering import RegisterWanted, stay_registered

        line = self.line()
        if not (self["account"] or self["user"]):
            raise ValueError("--account is required")
        wanted = RegisterWanted(line=line, is_once=bool(self["once"]), removes_all=bool(self["unregister-all"]))
        return lambda desk: stay_registered(desk, wanted)


class Message(RequestOptions):
    """Sends a message."""

    name = "phone message"
    synopsis = "[options] URI TEXT"
    longdesc = "Sends a message (RFC 3428). " + _EXITS
    optParameters: ClassVar[Parameters] = (("content-type", None, "text/plain;charset=UTF-8", "What the text is."),)

    def parseArgs(self, recipient: str, text: str) -> None:  # type: ignore[override]
        """See ``usage.Options``."""
        self._recipient, self._text = recipient, text

    def act(self) -> Act:
        """See `PhoneOptions`."""
        from sipd.daemon.telephone.asking import AskWanted, send_message
        from sipd.daemon.telephone.settings import places_of

        wanted = AskWanted(
            line=self.line(),
            recipient=self._recipient,
            headers=tuple(self.headers),
            text=self._text,
            content_type=self["content-type"],
        )
        places_of(wanted.line.account, wanted.recipient)
        return lambda desk: send_message(desk, wanted)


class Ask(RequestOptions):
    """Asks what somebody can."""

    name = "phone options"
    synopsis = "[options] URI"
    longdesc = "Asks by OPTIONS what somebody can, and whether anybody is there. " + _EXITS

    def parseArgs(self, recipient: str) -> None:  # type: ignore[override]
        """See ``usage.Options``."""
        self._recipient = recipient

    def act(self) -> Act:
        """See `PhoneOptions`."""
        from sipd.daemon.telephone.asking import AskWanted, ask_options
        from sipd.daemon.telephone.settings import places_of

        wanted = AskWanted(line=self.line(), recipient=self._recipient, headers=tuple(self.headers))
        places_of(wanted.line.account, wanted.recipient)
        return lambda desk: ask_options(desk, wanted)


class PhoneCommand(Command):
    """The commands of the telephone."""

    name = "phone"
    synopsis = "dial|answer|register|message|options [options]"
    longdesc = "A telephone for people who debug. Each command has a --help of its own."
    subCommands: ClassVar[tuple[tuple[str, None, type[PhoneOptions], str], ...]] = (
        ("dial", None, Dial, "Call somebody; play, record, say digits."),
        ("answer", None, Answer, "Take the calls that come, or refuse them."),
        ("register", None, Register, "Register, and stay so."),
        ("message", None, Message, "Send a message."),
        ("options", None, Ask, "Ask what somebody can."),
    )

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """See ``usage.Options``. Options after the command's name are the command's."""
        usage.Options.parseOptions(self, options)

    def postOptions(self) -> None:
        """See ``usage.Options``."""
        if self.subCommand is None:
            raise usage.UsageError(f"sipd phone {self.synopsis}: which?")

    def run(self) -> int:
        """See `Command`."""
        command = self.subOptions
        assert isinstance(command, Command)
        return command.run()
