"""A request whose texts are screened on their way in, and the texts of its answer on their way out."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field, replace
from typing import Any

from aimds.gateway.output import STRICTNESS, OutputConfig
from aimds.gateway.rows import Row
from aimds.integrations.outcome import Outcome, outcome, sound
from aimds.integrations.proxy.asking import Asking
from aimds.integrations.proxy.flow import Flow
from aimds.integrations.proxy.routing import Asked, Routing, Sent
from aimds.integrations.proxy.senders import Headers, Sender, forwarded
from aimds.integrations.proxy.shapes import CHAT, HELD, RESPONSES, Api, Refusal, folded
from aimds.integrations.proxy.stream import Stream, without_tokens
from aimds.integrations.proxy.texts import BodyError, Leaf, Shape, decoded, encoded, leaves
from aimds.integrations.proxy.track import TooLong, Track, Window, cleaned
from aimds.integrations.proxy.upstream import Answer, Upstream
from aimds.integrations.proxy.wire import BAD, Refused, Wire, plain

MOST_OPEN = 4096
"""Screened requests under way."""
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
        flow = Flow(functools.partial(self.window, wire, api, sender), self.take, stream, content)
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
