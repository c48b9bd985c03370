"""A streamed answer: events in, windows to judge out, and those events that may leave, in their order.

An event leaves when all texts in it were judged and are let go. Texts grow by deltas, each kind of delta of each
choice, content block or item on a track of its own; what is no delta is judged as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aimds.gateway.output import OutputConfig
from aimds.integrations.outcome import sound
from aimds.integrations.proxy.events import Event, Events
from aimds.integrations.proxy.texts import Leaf, decoded, encoded, leaves
from aimds.integrations.proxy.track import TooLong, Track, Window
from aimds.respond.policy import Policy

MOST_TRACKS = 4096
MOST_WAITING = 64 << 20
DONE = b"[DONE]"
AT_ONCE = frozenset({"name", "title", "url"})
"""Keys of a delta that come whole."""
ENDS = frozenset({"message_delta", "message_stop", "error", "response.completed", "response.incomplete"}) | {
    "response.failed"
}
"""Types of events after which no text goes on."""
PLACES = ("output_index", "content_index", "summary_index")
Key = tuple[str | int, ...]


@dataclass(slots=True)
class _Part:
    leaf: Leaf
    track: Track
    start: int
    end: int


@dataclass(slots=True)
class _Waiting:
    event: Event
    document: dict[str, Any] | None = None
    parts: list[_Part] = field(default_factory=list)

    @property
    def free(self) -> bool:
        return all(part.track.released >= part.end for part in self.parts)


class Stream:
    """State of one answer. `feed` and `end` take it in, `windows` gives what to judge, `judged` takes verdicts,
    `take` gives the bytes that may leave.

    Args:
        config: as for `/v1/screen/output`.
        whole: nothing leaves before all of it was judged.
    """

    def __init__(self, config: OutputConfig | None = None, *, whole: bool = False) -> None:
        self._config, self._whole = config or OutputConfig(), whole
        self._events = Events()
        self._tracks: dict[Key, Track] = {}
        self._groups: dict[int, Key] = {}
        self._single: list[Track] = []
        self._waiting: deque[_Waiting] = deque()
        self.size = 0
        """Bytes that wait."""
        self.over = False
        """The answer is complete; something may still wait."""
        self.actions: set[str] = set()

    @property
    def finished(self) -> bool:
        """All of it has left."""
        return self.over and not self._waiting

    def feed(self, content: bytes) -> None:
        """More of the answer.

        Raises:
            BodyError: an event cannot be read.
            TooLong: a text, or what waits, passes its limit.
        """
        for event in self._events.feed(content):
            self._add(event)

    def end(self) -> None:
        """The answer is complete.

        Raises:
            BodyError, TooLong: as `feed`.
        """
        for event in self._events.end():
            self._add(event)
        self.over = True
        self._close()

    def windows(self) -> Iterator[tuple[Track, Window]]:
        """What to judge now; each is given once."""
        for track in (*self._tracks.values(), *self._single):
            window = track.window()
            if window is not None:
                yield track, window

    def judged(self, track: Track, window: Window, verdict: Mapping[str, Any], policy: Policy) -> bool:
        """Take a verdict; False where the answer ends there.

        Raises:
            TooLong: a finding is too long to be held back.
        """
        self.actions.add(str(verdict["action"]))
        track.judged(window, verdict, policy)
        return not track.blocked

    def take(self) -> bytes:
        """What may leave now."""
        return b"".join(event.raw for event in self.events())

    def events(self) -> list[Event]:
        """The same, as events."""
        if self._whole and not (self.over and all(one.free for one in self._waiting)):
            return []
        out = []
        while self._waiting and self._waiting[0].free:
            one = self._waiting.popleft()
            self.size -= len(one.event.raw)
            out.append(_left(one))
        self._single = [track for track in self._single if track.pending]
        return out

    def _add(self, event: Event) -> None:
        self.size += len(event.raw)
        if self.size > MOST_WAITING:
            raise TooLong("what waits", MOST_WAITING)
        if event.data is None or not event.data.strip() or event.data.strip() == DONE:
            if event.data is not None and event.data.strip() == DONE:
                self._close()
            self._waiting.append(_Waiting(event))
            return
        document = decoded(event.data)
        one = _Waiting(event, document)
        self._waiting.append(one)
        for leaf in leaves(document, "response"):
            one.parts.append(self._part(document, leaf))
        self._ends(document)

    def _part(self, document: dict[str, Any], leaf: Leaf) -> _Part:
        text = sound(leaf.text)
        key, group = _key(document, leaf)
        if leaf.names or not _grows(leaf.path) or "citation" in key or "annotations" in key or key[-1] in AT_ONCE:
            track = Track(leaf.channel, self._config, json=leaf.json, whole=self._whole)
            # Its deltas over, an answer of items gives each text whole, in up to four events.
            track.again = bool(self._tracks) and _kind(document).startswith("response.")
            track.feed(text)
            track.close()
            self._single.append(track)
            return _Part(leaf, track, 0, track.stop)
        before = self._groups.get(group)
        if before is not None and before != key:
            # Texts of a choice come one after the other: the one before is complete, for all one knows.
            self._tracks[before].close()
        self._groups[group] = key
        if key not in self._tracks:
            if len(self._tracks) >= MOST_TRACKS:
                raise TooLong("the number of texts", MOST_TRACKS)
            called = leaf.json or "arguments.delta" in _kind(document)
            self._tracks[key] = Track(leaf.channel, self._config, json=called, whole=self._whole)
        track = self._tracks[key]
        start = track.stop
        track.feed(text)
        return _Part(leaf, track, start, track.stop)

    def _ends(self, document: dict[str, Any]) -> None:
        kind = _kind(document)
        if kind == "content_block_stop":
            self._close(document.get("index"))
        elif kind in ENDS:
            self._close()
        elif kind.startswith("response.") and kind.endswith(".done"):
            self._close(document.get("output_index"))
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("finish_reason") is not None:
                self._close(choice.get("index"))

    def _close(self, group: Any = None) -> None:
        for key, track in self._tracks.items():
            if group is None or key[0] == group:
                track.close()


def _key(document: dict[str, Any], leaf: Leaf) -> tuple[Key, int]:
    """Names the track of a text: its path, where the places in lists are the ``index`` that the items name; where an
    event is one delta, its type and places."""
    kind = _kind(document)
    if kind.startswith("response."):
        places = [place if type(place := document.get(name)) is int else -1 for name in PLACES]
        return (places[0], kind, *places, *leaf.path), places[0]
    at: Any = document
    found: list[str | int] = []
    for part in leaf.path:
        at = at[part]
        own = at.get("index") if isinstance(at, dict) and isinstance(part, int) else None
        found.append(own if type(own) is int else part)
    places = [part for part in found if type(part) is int]
    index = document.get("index")
    group = index if type(index) is int else places[0] if places else 0
    return (group, *found), group


def _left(one: _Waiting) -> Event:
    changed = False
    for part in one.parts:
        text = part.track.part(part.start, part.end)
        if text is not None:
            part.leaf.put(text)
            changed = True
    for part in one.parts:
        part.track.forget(part.end)
    if not changed or one.document is None:
        return one.event
    without_tokens(one.document)
    data = encoded(one.document)
    return Event(one.event.having(data), data)


def _kind(document: dict[str, Any]) -> str:
    kind = document.get("type")
    return kind if isinstance(kind, str) else ""


def _grows(path: Key) -> bool:
    """Whether a text at ``path`` of an event is the next part of one."""
    return "delta" in path or (path[:1] == ("choices",) and path[2:] == ("text",))


def without_tokens(document: dict[str, Any]) -> None:
    """Take out the tokens of a text that was changed: they spell what was taken out."""
    left: list[Any] = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if value.get("logprobs") is not None:
                value["logprobs"] = [] if isinstance(value["logprobs"], list) else None
            left += value.values()
        elif isinstance(value, list):
            left += value
