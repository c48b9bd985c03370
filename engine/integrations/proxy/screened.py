"""A request whose texts are screened on their way in, and the texts of its answer on their way out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

from aimds.gateway.output import STRICTNESS, OutputConfig
from aimds.gateway.rows import Row
from aimds.integrations.outcome import Outcome, outcome, sound
from aimds.integrations.proxy.asking import Asking
from aimds.integrations.proxy.routing import Asked, Routing, Sent
from aimds.integrations.proxy.senders import Headers, Sender, forwarded
from aimds.integrations.proxy.shapes import CHAT, HELD, RESPONSES, Api, Refusal, folded
from aimds.integrations.proxy.stream import Stream, without_tokens
from aimds.integrations.proxy.texts import BodyError, Leaf, Shape, decoded, encoded, leaves
from aimds.integrations.proxy.track import TooLong, Track, Window, cleaned
from aimds.integrations.proxy.upstream import Answer, Upstream, UpstreamError
from aimds.integrations.proxy.wire import BAD, Refused, Wire, plain

MOST_OPEN = 4096
"""Screened requests under way."""
AHEAD_BYTES = 1 << 20
"""Of a stream that may wait to be judged before no more is read."""
DIGESTS = frozenset({b"content-length", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"etag"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """``max_body_bytes`` of a request and of an answer that is no stream, ``max_texts`` in either, ``max_held_bytes``
    of all under way · ``whole``: nothing of a stream leaves before all of it was judged · ``system``: the
    instructions of the system are screened too."""

    max_body_bytes: int = 32 << 20
    max_held_bytes: int = 512 << 20
    max_texts: int = 4096
    whole: bool = False
    system: bool = False
    output: OutputConfig = field(default_factory=OutputConfig)


class Screened:
    """Carries requests of a screened path through."""

    def __init__(self, asking: Asking, upstream: Upstream, bounds: Bounds, routing: Routing | None = None) -> None:
        self._asking, self._upstream, self._bounds, self._routing = asking, upstream, bounds, routing
        self._open: set[Wire] = set()

    def _room(self) -> int:
        """Bytes of requests that may still be kept, or less than 0."""
        if len(self._open) > MOST_OPEN:
            return -1
        return self._bounds.max_held_bytes - sum(wire.held for wire in self._open)

    async def carry(self, wire: Wire, api: Api, sender: Sender) -> None:
        """Screen, ask the upstream, screen its answer.

        Raises:
            Refused, Problem, UpstreamError: it goes no further.
        """
        _readable(wire)
        self._open.add(wire)
        try:
            await self._carried(wire, api, sender)
        finally:
            self._open.discard(wire)

    async def _carried(self, wire: Wire, api: Api, sender: Sender) -> None:
        body = await wire.body(self._bounds.max_body_bytes, self._room)
        note: Headers = []
        headers = forwarded(wire.headers, drop=frozenset({b"accept-encoding", b"content-length"}))
        headers.append((b"accept-encoding", b"identity"))
        asked: Asked | None = None
        reading = wire.method.upper() == "GET"
        if reading or not body:
            # What is read again was a turn of its session when it was made.
            body, sender = b"", replace(sender, session=None)
            if not reading:
                headers.append((b"content-length", b"0"))
        else:
            body, action, asked = await self._request(wire, api, sender, body)
            headers.append((b"content-length", str(len(body)).encode()))
            note += [] if action == "allow" else [(b"aimds-action", action.encode())]
        async with contextlib.AsyncExitStack() as stack:
            sent: Sent | None = None
            # What only changes a stored answer goes to the server that stores it.
            asks = api is CHAT and folded(wire.path)[-1:] == ["completions"]
            if self._routing is not None and asked is not None and asks:
                answer, chosen = await stack.enter_async_context(self._routing.ask(asked, sender.tenant, headers))
                sent, tier = chosen, chosen.tier.name.encode("ascii", "replace")
                note = [*note, (b"aimds-tier", tier)]
            else:
                going = self._upstream.ask(wire.method, wire.target, headers, body)
                answer = await stack.enter_async_context(going)
            if not 200 <= answer.status < 300:
                await passed_on(wire, answer, note)
            elif answer.header(b"content-type").partition(b";")[0].strip() == b"text/event-stream":
                if sent is not None:
                    sent.settle(None)
                await self._stream(wire, api, sender, answer, note)
            else:
                await self._whole(wire, api, sender, answer, note, sent)

    async def _request(self, wire: Wire, api: Api, sender: Sender, body: bytes) -> tuple[bytes, str, Asked]:
        """The body to send on, the strictest action that was taken on it, and what a choice of the model needs."""
        try:
            document = decoded(body)
            if api is RESPONSES and any(name.lower() == "background" and value for name, value in document.items()):
                raise BodyError("background is set: its answer would not come by here")
            found = leaves(document, "request")
        except BodyError as error:
            raise Refused(Refusal(400, "malformed", f"{error}, so it cannot be screened")) from None
        kept = [leaf for leaf in found if self._bounds.system or leaf.channel != "system"]
        verdicts: list[dict[str, Any]] = []
        outcomes = await self._judged(wire, api, sender, kept, "request", verdicts)
        changed = False
        for leaf, one in zip(kept, outcomes, strict=True):
            if one.changed and one.text is not None:
                leaf.put(one.text)
                changed = True
        action = max((one.action for one in outcomes), key=STRICTNESS.index, default="allow")
        texts = [sound(leaf.text) for leaf in found]
        asked = Asked(document if isinstance(document, dict) else {}, verdicts, texts)
        return encoded(document) if changed else body, action, asked

    async def _judged(
        self,
        wire: Wire,
        api: Api,
        sender: Sender,
        found: list[Leaf],
        shape: Shape,
        noted: list[dict[str, Any]] | None = None,
    ) -> list[Outcome]:
        if len(found) > self._bounds.max_texts:
            what = f"{len(found)} texts, at most {self._bounds.max_texts} are screened at once"
            raise Refused(Refusal(413 if shape == "request" else 502, "too_large", f"the {shape} has {what}"))
        if not found:
            return []
        rows = [
            Row(
                text=sound(leaf.text),
                request_id=f"{wire.request_id}:{shape}:{i}",
                session_id=sender.session if leaf.new else None,
                tenant=sender.tenant,
                channel=leaf.channel,
            )
            for i, leaf in enumerate(found)
        ]
        verdicts, policy = await self._asking.verdicts(api.route, sender.identity, rows), self._asking.policy()
        if noted is not None:
            noted.extend(verdicts)
        out = []
        for leaf, row, verdict in zip(found, rows, verdicts, strict=True):
            one = outcome(policy, row.text, verdict, wrap=leaf.channel != "assistant")
            if not one.passes:
                raise Refused(_held(one, f"the {shape} at {leaf.place}"))
            if shape == "response" or leaf.json:
                text = cleaned(row.text, verdict, policy, json=leaf.json)
                one = outcome(policy, row.text, {**verdict, "mitigated_text": text})
            out.append(one)
        return out

    async def _whole(
        self, wire: Wire, api: Api, sender: Sender, answer: Answer, note: Headers, sent: Sent | None = None
    ) -> None:
        most, size, parts = self._bounds.max_body_bytes, 0, []
        async for piece in plain(answer.content(), answer.header(b"content-encoding"), most):
            size += len(piece)
            if size > most:
                raise Refused(Refusal(502, BAD, f"the answer of the upstream has more than {most} bytes"))
            parts.append(piece)
        body = b"".join(parts)
        drop = frozenset({b"content-encoding"})
        if body:
            try:
                document = decoded(body)
                found = leaves(document, "response")
            except BodyError as error:
                said = f"the answer of the upstream cannot be screened: {error}"
                raise Refused(Refusal(502, BAD, said)) from None
            if sent is not None:
                sent.settle(document)
            changed = False
            for leaf, one in zip(found, await self._judged(wire, api, sender, found, "response"), strict=True):
                if one.changed and one.text is not None:
                    leaf.put(one.text)
                    changed = True
            if changed:
                without_tokens(document)
                body, drop = encoded(document), drop | DIGESTS
                note = [*note, (b"aimds-changed", b"response")]
        drop = drop | {b"content-length"}
        headers = [*forwarded(answer.headers, drop=drop), (b"content-length", str(len(body)).encode()), *note]
        await wire.begin(answer.status, headers)
        await wire.send(body)
        await wire.end()

    async def _stream(self, wire: Wire, api: Api, sender: Sender, answer: Answer, note: Headers) -> None:
        headers = [*forwarded(answer.headers, drop=DIGESTS | {b"content-encoding"}), *note]
        # Compressed, a stream of any length may come out of it: what waits is bounded, not the sum.
        content = plain(answer.content(), answer.header(b"content-encoding"), 1 << 40)
        stream = Stream(self._bounds.output, whole=self._bounds.whole)
        flow = _Flow(self, wire, api, sender, stream, content)
        try:
            async with contextlib.aclosing(flow.pieces()) as pieces:
                async for out in pieces:
                    if not wire.status:
                        await wire.begin(answer.status, headers, streams=True)
                    await wire.send(out)
        except (BodyError, TooLong) as error:
            said = f"the answer of the upstream cannot be screened: {error}"
            raise Refused(Refusal(502, BAD, said)) from None
        if not wire.status:
            await wire.begin(answer.status, headers, streams=True)
        await wire.end()

    async def window(self, wire: Wire, api: Api, sender: Sender, number: int, track: Track, window: Window) -> Any:
        """The verdict on a window of a stream."""
        row = Row(
            text=window.text,
            request_id=f"{wire.request_id}:stream:{number}",
            # Windows overlap: as a turn of its session, a text counts once.
            session_id=sender.session if window.last and not track.again else None,
            tenant=sender.tenant,
            channel=track.channel,
        )
        return (await self._asking.verdicts(api.route, sender.identity, [row]))[0]

    def take(self, stream: Stream, track: Track, window: Window, verdict: dict[str, Any]) -> None:
        """Give a verdict to the stream.

        Raises:
            Refused: the answer ends there.
        """
        policy = self._asking.policy()
        if not stream.judged(track, window, verdict, policy):
            raise Refused(_held(outcome(policy, window.text, verdict), "the response"))


class _Flow:
    """Reads a streamed answer and has its windows judged meanwhile."""

    def __init__(
        self, by: Screened, wire: Wire, api: Api, sender: Sender, stream: Stream, content: AsyncIterator[bytes]
    ) -> None:
        self._by, self._whose, self._stream, self._content = by, (wire, api, sender), stream, content
        self._judging: dict[asyncio.Task[Any], tuple[Track, Window]] = {}
        self._reading: asyncio.Task[bytes | None] | None = None
        self._broken: UpstreamError | None = None
        self._count = 0

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What may leave, as soon as it may."""
        try:
            while not self._stream.finished:
                self._read_on()
                tasks: set[asyncio.Task[Any]] = {*self._judging, *([self._reading] if self._reading else [])}
                if not tasks:
                    raise Refused(Refusal(500, "internal", "a part of the answer was never judged"))
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                self._advance()
                if out := self._stream.take():
                    yield out
            if self._broken is not None:
                raise self._broken
        finally:
            left = [*self._judging, *([self._reading] if self._reading else [])]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _read_on(self) -> None:
        if self._reading is None and not self._stream.over and self._stream.size < AHEAD_BYTES + self._free():
            self._reading = asyncio.create_task(self._next())

    def _free(self) -> int:
        # While nothing is being judged, only more of the answer brings anything on.
        return 0 if self._judging else 1 << 40

    async def _next(self) -> bytes | None:
        return await anext(self._content, None)

    def _advance(self) -> None:
        for task in [task for task in self._judging if task.done()]:
            self._by.take(self._stream, *self._judging.pop(task), task.result())
        if self._reading is not None and self._reading.done():
            reading, self._reading = self._reading, None
            try:
                piece = reading.result()
            except UpstreamError as error:
                # What came before is judged and let go; then the client is told.
                self._broken, piece = error, None
            if piece is None:
                self._stream.end()
            else:
                self._stream.feed(piece)
        for track, window in self._stream.windows():
            task = asyncio.create_task(self._by.window(*self._whose, self._count, track, window))
            self._judging[task] = (track, window)
            self._count += 1


def _held(one: Outcome, where: str) -> Refusal:
    return Refusal(400, HELD, f"held back by AIMDS ({one.reason}): {where}")


def _readable(wire: Wire) -> None:
    """Whether the body is one that we and the upstream read alike.

    Raises:
        Refused: it is not.
    """
    if (encoding := wire.header(b"content-encoding")) not in (b"", b"identity"):
        said = f"content-encoding {encoding[:40].decode('latin-1')!r} is not taken; send it plain"
        raise Refused(Refusal(415, "unsupported_encoding", said))
    for part in wire.header(b"content-type").split(b";")[1:]:
        name, _, value = part.strip().partition(b"=")
        if name.strip() == b"charset" and value.strip(b' "') not in (b"utf-8", b"utf8", b"us-ascii"):
            said = f"charset {value[:40].decode('latin-1')!r} is not taken; send UTF-8"
            raise Refused(Refusal(415, "unsupported_encoding", said))


async def passed_on(wire: Wire, answer: Answer, note: Headers) -> None:
    """Give ``answer`` on as it comes."""
    await wire.begin(answer.status, [*forwarded(answer.headers), *note])
    async for piece in answer.content():
        await wire.send(piece)
    await wire.end()
