"""Whether the two ends of a call believe the same of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tests.phones.media import Stream, Understanding


def disagreements(one: Understanding, other: Understanding, relay: str, ports: Collection[int]) -> Iterator[str]:
    """Say in what two ends of one call differ, once nothing is under way.

    Args:
        one: what one end believes.
        other: what the other end believes.
        relay: the address at which media are relayed.
        ports: the even port of each pair that is open there.
    """
    if not one.is_stable or not other.is_stable:
        yield "an offer was never answered"
    if one.local is None or one.remote is None or other.local is None or other.remote is None:
        yield "nothing was agreed on"
        return
    streams = list(zip(one.local.streams, one.remote.streams, strict=True))
    others = list(zip(other.local.streams, other.remote.streams, strict=True))
    named: list[int] = []
    for index in range(max(len(streams), len(others))):
        # One end may know of refused streams that the other has never heard of.
        if index >= min(len(streams), len(others)):
            if any(_is_live(pair) for pair in (*streams[index:], *others[index:])):
                yield f"stream {index} is there for one end only"
            break
        yield from (f"stream {index}: {text}" for text in _differences(streams[index], others[index]))
        for _, remote in (streams[index], others[index]):
            if remote.is_live:
                named.append(remote.port)
                if remote.host not in (relay, "0.0.0.0"):
                    yield f"stream {index} does not go through the relay: {remote.host}"
                if remote.port not in ports:
                    yield f"stream {index} goes to port {remote.port}, which is not open"
    if len(set(named)) < len(named):
        yield f"two streams go to one port: {named}"


def _differences(mine: tuple[Stream, Stream], theirs: tuple[Stream, Stream]) -> Iterator[str]:
    if _is_live(mine) is not _is_live(theirs):
        yield f"up for one end, down for the other: {_places(mine)}, {_places(theirs)}"
        return
    if not _is_live(mine):
        return
    (my_local, my_remote), (their_local, their_remote) = mine, theirs
    if my_local.direction != their_remote.direction or my_remote.direction != their_local.direction:
        yield (
            f"one end says {my_local.direction} and hears {my_remote.direction}, "
            f"the other says {their_local.direction} and hears {their_remote.direction}"
        )
    codecs, other_codecs = _common(mine), _common(theirs)
    if codecs != other_codecs:
        yield f"one end talks {sorted(codecs)}, the other {sorted(other_codecs)}"


def _is_live(pair: tuple[Stream, Stream]) -> bool:
    return all(one.is_live for one in pair)


def _common(pair: tuple[Stream, Stream]) -> set[str]:
    return set(pair[0].codecs) & set(pair[1].codecs)


def _places(pair: tuple[Stream, Stream]) -> str:
    return "/".join(str(one.port) for one in pair)
