"""Whether the two ends of a call believe the same of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tests.phones.media import Stream, Understanding

#: A stream as one end sees it: what it said of it, and what it heard.
_Pair = tuple[Stream, Stream]


def disagreements(one: Understanding, other: Understanding, relay: str, ports: Collection[int]) -> Iterator[str]:
    """Say in what two ends of one call differ, once nothing is under way.

    Streams that are down count for nothing, and need not have the same places on both legs.

    Args:
        one: what one end believes.
        other: what the other end believes.
        relay: the address at which media are relayed.
        ports: the even port of each pair that is open there.
    """
    if not one.is_stable or not other.is_stable:
        yield "an offer was never answered"
    if one.local is None or other.local is None:
        yield "nothing was agreed on"
        return
    mine, theirs = _live(one), _live(other)
    if sorted(mine) != sorted(theirs):
        yield f"one end has {sorted(mine)}, the other {sorted(theirs)}"
    for kind in mine.keys() & theirs.keys():
        yield from (f"{kind}: {text}" for text in _differences(mine[kind], theirs[kind]))
    named = [remote for _, remote in (*mine.values(), *theirs.values())]
    for remote in named:
        if remote.host not in (relay, "0.0.0.0"):
            yield f"{remote.kind} does not go through the relay, but to {remote.host}"
        if remote.port not in ports:
            yield f"{remote.kind} goes to port {remote.port}, which is not open"
    if len({remote.port for remote in named}) < len(named):
        yield f"two streams go to one port: {[remote.port for remote in named]}"


def _live(understanding: Understanding) -> dict[str, _Pair]:
    local, remote = understanding.local, understanding.remote
    assert local is not None and remote is not None
    pairs = zip(local.streams, remote.streams, strict=True)
    return {pair[0].kind: pair for pair in pairs if all(stream.is_live for stream in pair)}


def _differences(mine: _Pair, theirs: _Pair) -> Iterator[str]:
    (my_local, my_remote), (their_local, their_remote) = mine, theirs
    # What one end would send, and the other end would take: an answer may say less than the offer that it crosses as.
    if _flow(*mine) != _flow(*theirs)[::-1]:
        yield (
            f"one end says {my_local.direction} and hears {my_remote.direction}, "
            f"the other says {their_local.direction} and hears {their_remote.direction}"
        )
    codecs, other_codecs = _common(mine), _common(theirs)
    if codecs != other_codecs:
        yield f"one end talks {sorted(codecs)}, the other {sorted(other_codecs)}"


def _flow(local: Stream, remote: Stream) -> tuple[bool, bool]:
    """Say whether an end sends, and whether it receives."""
    return local.sends and remote.receives, local.receives and remote.sends


def _common(pair: _Pair) -> set[str]:
    return set(pair[0].codecs) & set(pair[1].codecs)
