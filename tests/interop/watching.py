"""Telephones for SIPp that watch, are watched, and publish (RFC 6665, RFC 3903)."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from tests.interop.script import Callee, Caller, Check, has

_WHOM = "sip:[service]@[remote_ip]:[remote_port]"


class Watcher(Caller):
    """A telephone that watches.

    Args:
        name: of the scenario.
        event: the event package.
    """

    def __init__(self, name: str, event: str) -> None:
        super().__init__(name)
        self._event = event
        self._labels = 0

    def watch(self, *, challenged: bool, seconds: int = 600) -> None:
        """Subscribe, with credentials if they are asked for, and be accepted."""
        fields = (f"Event: {self._event}", f"Expires: {seconds}")
        self.ask("SUBSCRIBE", "", *fields, uri=_WHOM)
        if challenged:
            self._take('response="407" auth="true"', 'response_txn="t1"', ())
            self.ask("SUBSCRIBE", "", "[authentication]", *fields, uri=_WHOM)
        self.get(200, has(f"{seconds}", "Expires"))

    def see(self, *checks: Check, state: str = "active;expires=") -> None:
        """Take a NOTIFY."""
        self.expect("NOTIFY", has(f"^ *{self._event}", "Event"), has(state, "Subscription-State"), *checks)
        self.answer()

    def see_until(self, pattern: str) -> None:
        """Take NOTIFY until the body of one matches."""
        again, on = self._labels + 1, self._labels + 2
        self._labels += 2
        seen = f"seen{again}"
        self._variables.add(seen)
        self._steps.append(f'<label id="{again}"/>\n')
        self.expect("NOTIFY")
        action = f'<ereg regexp={quoteattr(pattern)} search_in="body" assign_to="{seen}"/></action>'
        self._steps[-1] = self._steps[-1].replace("</action>", action)
        self.answer()
        self._steps[-1] = self._steps[-1].replace("<send ", f'<send next="{on}" test="{seen}" ', 1)
        self._steps.append(f'<nop next="{again}"/>\n<label id="{on}"/>\n')

    def leave(self, *checks: Check) -> None:
        """Unsubscribe; the last NOTIFY says so."""
        self.ask("SUBSCRIBE", "", f"Event: {self._event}", "Expires: 0")
        self.get(200)
        self.see(*checks, state="terminated;reason=timeout")


class Watched(Callee):
    """A telephone that is watched.

    Args:
        name: of the scenario, and the user part that is subscribed to.
        event: the event package.
    """

    def __init__(self, name: str, event: str) -> None:
        super().__init__(name)
        self._event = event

    def be_watched(self, seconds: int = 600) -> None:
        """Take a SUBSCRIBE, the first or a later one."""
        self.expect("SUBSCRIBE", has(f"^ *{self._event}", "Event"), has(f"{seconds}", "Expires"))
        self.answer(200, "", f"Expires: {seconds}")

    def show(self, body: str, kind: str, state: str = "active;expires=600") -> None:
        """Send a NOTIFY, get its 200."""
        fields = (
            f"Contact: <sip:{self.contact}@[local_ip]:[local_port];transport=[transport]>",
            f"Event: {self._event}",
            f"Subscription-State: {state}",
            f"Content-Type: {kind}",
        )
        self.ask("NOTIFY", body, *fields)
        self.get(200)


class Publisher(Caller):
    """A telephone that publishes.

    Args:
        name: of the scenario.
        event: the event package.
        kind: the type of the states.
    """

    def __init__(self, name: str, event: str, kind: str) -> None:
        super().__init__(name)
        self._fields = (f"Event: {event}", f"Content-Type: {kind}")

    def publish(self, body: str, *fields: str) -> None:
        """Publish, with credentials, and be given an entity-tag."""
        self.ask("PUBLISH", body, *self._fields, *fields, uri=_WHOM)
        self._take('response="407" auth="true"', f'response_txn="t{self._cseq}"', ())
        self.ask("PUBLISH", body, "[authentication]", *self._fields, *fields, uri=_WHOM)
        self.get(200)
        self._steps[-1] = self._steps[-1].replace("<action>", f"<action>{self._assign('tag_of_entity', 'SIP-ETag')}", 1)

    def remove(self) -> None:
        """Take back what was published last."""
        self.publish("", "SIP-If-Match:[$tag_of_entity]", "Expires: 0")
