"""A gateway put together from its settings: screener, worker, service, access, sockets; from start to drain."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from aimds.analyze.sessions import Sessions as Conversations
from aimds.analyze.watch import Watch
from aimds.console.local import NAMES, threaded
from aimds.console.sessions import Sessions
from aimds.console.site import Answer, Run, Site
from aimds.errors import AimdsError, ConfigError, DataError
from aimds.gateway import datagrams, server
from aimds.gateway.auth import Auth, Credentials
from aimds.gateway.batching import Batcher
from aimds.gateway.certificates import Chains
from aimds.gateway.follow_ups import FollowUps
from aimds.gateway.frames import Setup
from aimds.gateway.headers import Head
from aimds.gateway.http import App, Twin
from aimds.gateway.identity import Identity, Peer
from aimds.gateway.judge_process import screener_of
from aimds.gateway.judges import COMMAND, Judges
from aimds.gateway.keys import Keys
from aimds.gateway.limits import Failures, Rates
from aimds.gateway.notifications import Notifications
from aimds.gateway.pieces import Piece
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Access, Everybody, Hooks, Service
from aimds.gateway.reviewing import Reviewing, reviewed
from aimds.gateway.settings import SHIPPED, Ray, Review, Screening, Settings
from aimds.gateway.tokens import MAX_JWKS, Jwks, Tokens
from aimds.gateway.traced import TracedService
from aimds.gateway.tracing import traces
from aimds.gateway.upkeep import Upkeep
from aimds.gateway.worker import Worker
from aimds.ltl.policies import TracePolicies
from aimds.metrics import Metrics
from aimds.record.audit import AuditLog, Rotation
from aimds.record.keys import load_key, load_signing_key
from aimds.respond.carry_out import Queue as Hands
from aimds.respond.carry_out import Responder
from aimds.respond.notify import NotifyFile
from aimds.respond.policy import Policy
from aimds.respond.review import Queue
from aimds.screener import Screener

if TYPE_CHECKING:
    from aimds.actors.cluster import Cluster

FETCH_S = 10.0
Say = Callable[[str], None]


class Gateway:
    """A gateway in this process.

    Args:
        settings: checked ones.
        reread: gives the settings anew on a reload.
        build: makes the screener; another one in tests, as ``judge``, the command that starts a process that judges.
        warm: texts that make such a process ready to work.
        queue: takes the rows that go to people.
        front: makes an ASGI application that stands before the one over TCP.
        say: told what a person should know.
        clock: monotonic seconds; ``wall``: seconds since 1970.

    Raises:
        AimdsError: a file that the settings name cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reread: Callable[[], Settings] | None = None,
        build: Callable[[Screening], Any] = screener_of,
        judge: Sequence[str] = COMMAND,
        warm: Sequence[str] = (),
        queue: Hands | None = None,
        front: Callable[[App, Gateway], Any] | None = None,
        say: Say = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings.check()
        self._reread, self._build, self._say = reread or (lambda: settings), build, say
        self._clock, self._wall, self._front = clock, wall, front
        self.audit = _audit(settings)
        self.metrics = Metrics()
        self.follow_ups = FollowUps(self.metrics, say=say)
        notify = settings.notify
        self._told = None if notify is None else Notifications(NotifyFile(notify), self.follow_ups, say)
        self.responder = Responder(queue, self._told)
        self._upkeep = Upkeep(
            self.follow_ups, self.metrics, self.responder, self.audit, clock=clock, wall=wall, say=say
        )
        self._last_reload: dict[str, Any] = {}
        access: Access = Everybody()
        self._auth: Auth | None = None
        if not settings.insecure:
            failures = Failures(settings.failures_per_minute)
            credentials = self._credentials(settings)
            access = self._auth = Auth(credentials, settings.admin_allow, wall=wall, failures=failures)
        self._warm, workers = tuple(warm), settings.screening.workers or 0
        self._judges: Judges | None = None
        self._cluster: Cluster | None = None
        if settings.ray is not None:
            self._judges, workers = self._on_ray(settings, settings.ray)
        elif workers:
            self._judges = Judges(Setup(settings.screening, self._warm), workers, judge)
        batch = replace(settings.batch, slots=workers) if workers else settings.batch
        self._reviewing: Reviewing | None = None
        self._site: Site | None = None
        self._pool: ThreadPoolExecutor | None = None
        if settings.review is not None:
            self._reviewing = self._review(settings, settings.review)
            self._site = self._console(self._reviewing.target, access, settings)
        self.worker = Worker(
            build(settings.screening),
            slots=batch.slots,
            judges=self._judges,
            record=self._recorder(settings),
            sessions=_sessions(settings),
            watch=_watch(settings),
            responder=self.responder,
            clock=clock,
            wall=wall,
        )
        self._traces = traces(settings.traces, os.environ)
        service: Callable[..., Service] = Service
        if self._traces is not None:
            service = functools.partial(TracedService, self._traces)
        self.service = service(
            Batcher(batch, settings.weights),
            Hooks(
                self.worker.work,
                self.worker.unjudged,
                self._denied,
                self._reload_soon,
                self._state,
                self._held,
                self._release,
                self._gauges,
            ),
            access=access,
            limits=settings.limits,
            output=settings.output,
            rates=Rates(settings.rate, settings.burst),
            metrics=self.metrics,
            pages=self._site,
        )
        self._context = _context(settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self._twin: Twin | None = None
        self.quic: server.Server | None = None
        self._run: Run | None = None
        self.port = 0
        """TCP port, once started."""

    def policy(self) -> Policy:
        """The policy in force."""
        found: Policy = self.worker.screener.policy
        return found

    def _on_ray(self, settings: Settings, on: Ray) -> tuple[Judges, int]:
        """Judges in a cluster, and how many there are to begin with.

        Raises:
            ClusterError: it cannot be reached.
            ConfigError: Ray is not installed, or there is no room for the actors that are asked for.
        """
        from aimds.actors.cluster import connect
        from aimds.actors.scaling import Bounds
        from aimds.actors.topology import shares
        from aimds.gateway.cluster_judges import ClusterJudges

        # A Ray of this machine leaves the gateway the core that processes would leave it.
        self._cluster = connect(on.address, cpus=max(1, settings.screening.workers or 1))
        room, share = shares(self._cluster.nodes())
        least = min(room, on.least or room)
        bounds = Bounds(least, max(least, on.most or least))
        judges = ClusterJudges(
            Setup(settings.screening, self._warm),
            bounds,
            share,
            waiting=lambda: self.service.batcher.waiting_batches,
            on_change=self._slots,
            clock=self._clock,
        )
        self._say(f"Ray: {room} places for actors, {bounds.least} to {bounds.most} of them judge")
        return judges, least

    def _slots(self, ready: int) -> None:
        """As many batches may be under way as there are actors; admission counts with them."""
        self.service.batcher.config = replace(self.service.batcher.config, slots=max(1, ready))

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address cannot be used.
            JudgeError: a process that judges cannot be started.
        """
        self.worker.attach(self.service)
        if self._judges is not None:
            await self._judges.start()
        listening = _listening(self.settings.host, self.settings.port)
        self.port = listening.getsockname()[1]
        # What stands before speaks HTTP/1.1, so nobody is to be led to HTTP/3.
        alt_svc = self._listen_quic() if self._front is None else None
        self._open_console()
        connections = self.metrics.connections.labels("tcp")
        app = App(self.service, self._clock, alt_svc=alt_svc)
        self._twin = Twin(
            app if self._front is None else self._front(app, self),
            context=self._context,
            counted=connections.inc,
            grace_s=self.settings.drain_s,
        )
        # What stands before may pass on answers that have a date of their own.
        self._twin.config.date_header = self._front is None
        self._keep(asyncio.create_task(self._twin.serve([listening])))
        jwt = self.settings.jwt
        kept = None if self.settings.audit is None else self.settings.audit.keep_days
        self._upkeep.begin(self.service, self.worker, self._reviewing, None if jwt is None else jwt.refresh_s, kept)
        self.follow_ups.attach()
        while not self._twin.started:
            await asyncio.sleep(0.005)
            if any(task.done() for task in self._tasks):
                raise ConfigError("listen", f"{self.settings.host}:{self.settings.port}", "an address to listen on")

    def _listen_quic(self) -> str | None:
        """Listen for HTTP/3 on the same port; gives what Alt-Svc says of it, None where there is no certificate."""
        if self.settings.certificate is None or self.settings.key is None:
            return None
        try:
            sock = datagrams.bound(self.settings.host, self.port)
        except OSError as error:
            raise ConfigError(
                "listen", f"{self.settings.host}:{self.port}", f"free for UDP ({error.strerror})"
            ) from error
        asked = self.settings.certificates is not None
        self.quic = server.Server(self.service, sock, _quic(self.settings), ask_certificate=asked)
        return f'h3=":{self.port}"; ma=3600'

    async def stop(self) -> None:
        """Take nothing new, finish what is under way, for at most ``drain_s``, and let go of everything."""
        self.service.drain(self._clock())
        until = self._clock() + self.settings.drain_s
        while not self.service.idle and self._clock() < until:
            await asyncio.sleep(0.01)
        if self.quic is not None:
            self.quic.close()
        if self._twin is not None:
            self._twin.should_exit = True
            while self._twin.started and any(not task.done() for task in self._tasks):
                await asyncio.sleep(0.01)
                if self._clock() > until + 1:
                    break
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.worker.close()
        await self.follow_ups.close(asyncio.get_running_loop().time() + self.settings.drain_s)
        if self._judges is not None:
            await self._judges.close()
        if self._cluster is not None:
            self._cluster.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        if self._reviewing is not None:
            self._reviewing.close()
        if self.audit is not None:
            self.audit.close()
        if self._traces is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._traces.close)

    async def reload(self) -> None:
        """Take up changed certificates, keys, key sets, weights, policy, patterns and what was learnt. What cannot be
        used is said, and all stays as it was."""
        at = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="seconds")
        try:
            settings = self._reread().check()
            credentials = None if self._auth is None or settings.insecure else self._credentials(settings)
            screener = await asyncio.get_running_loop().run_in_executor(None, self._build, settings.screening)
            actions = None if self._reviewing is None else _reviewed(settings.screening)
            watch = _watch(settings, self.worker.follower.watch)
            quic = None if self.quic is None else _quic(settings)
            if self._judges is not None:
                await self._judges.replace(Setup(settings.screening, self._warm))
            if self._context is not None:
                _load_certificates(self._context, settings)
            if self.quic is not None and quic is not None:
                self.quic.use(quic)
        except (AimdsError, OSError, ssl.SSLError) as error:
            self._last_reload = {"at": at, "error": str(error)}
            self._say(f"reload failed, everything stays as it was: {error}")
            return
        if credentials is not None and self._auth is not None:
            self._auth.credentials = credentials
        self.worker.replace(screener)
        self.worker.follower.watch = watch
        if self._reviewing is not None and actions is not None:
            self._reviewing.actions = actions
        self.service.batcher.weights = dict(settings.weights)
        self._last_reload = {"at": at, "error": None}
        self._say("reloaded")

    def _reload_soon(self) -> dict[str, Any]:
        self._keep(asyncio.create_task(self.reload()))
        return {"reload": "started"}

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _credentials(self, settings: Settings) -> Credentials:
        chains, clients, required = None, {}, False
        if settings.certificates is not None:
            chains = Chains(_content(settings.certificates.client_ca))
            clients, required = settings.certificates.clients, settings.certificates.required
        tokens = None
        if settings.jwt is not None:
            remote = settings.jwt.jwks.startswith("https://")
            read = functools.partial(fetch if remote else _content, settings.jwt.jwks)
            jwks = Jwks(read, remote=remote)
            if not remote:
                jwks.refresh(self._clock())
            self._upkeep.use_keys(jwks)
            tokens = Tokens(settings.jwt.config, jwks, self._wall)
        keys = None if settings.keys is None else Keys.load(settings.keys)
        return Credentials(chains, clients, tokens, keys, required)

    def _denied(self, body: dict[str, Any]) -> None:
        self._upkeep.note("denied", body)

    def _held(self, identity: Identity) -> list[dict[str, Any]]:
        rows = []
        for kind, holds in self.responder.listed(self._wall()).items():
            for (tenant, session, sender), hold in holds:
                if identity.tenant in (None, tenant):
                    at = datetime.fromtimestamp(hold.since, UTC).isoformat(timespec="seconds")
                    left = None if math.isinf(hold.until) else round(hold.until - self._wall())
                    whose = {"tenant": tenant, "session_id": session, "sender": sender}
                    times = {"since": at, "seconds_left": left, "request_id": hold.request_id}
                    rows.append({"session_action": kind, **whose, **times})
        return rows

    def _release(self, tenant: str | None, session_id: str, identity: Identity) -> bool:
        released = self.responder.release(tenant, session_id, self._wall())
        if released:
            try:
                whose: dict[str, Any] = {"tenant": tenant, "session_id": session_id, "identity": identity.name}
                self._upkeep.record("released", whose)
            except AimdsError as error:
                raise Problem("internal", f"the session was let go, but that could not be recorded: {error}") from error
        return released

    def _gauges(self) -> None:
        responder = self.responder
        self.responder.listed(self._wall())
        for kind, n in responder.counts.items():
            self.metrics.held.labels(kind).set(n)
        lost = responder.lost + (0 if self._told is None else self._told.lost)
        for name, n in (("review", responder.enqueued), ("notify", responder.notified), ("lost", lost)):
            self.metrics.handed.labels(name).set(n)
        watch = self.worker.follower.watch
        if watch is not None:
            for name in watch.names:
                self.metrics.broken.labels(name).set(watch.broken[name])
                self.metrics.unfollowed.labels(name).set(watch.unjudged[name])
        self.follow_ups.gauges()

    def _recorder(self, settings: Settings) -> Callable[[pa.RecordBatch, pa.RecordBatch, list[Piece]], None] | None:
        log = self.audit
        steps: list[Callable[[pa.RecordBatch, pa.RecordBatch, list[Piece]], None]] = []
        if log is not None and settings.audit is not None and settings.audit.verdicts != "none":
            everything, digests = settings.audit.verdicts == "all", settings.audit.key is not None
            steps.append(functools.partial(_record, log, everything, digests))
        if self._reviewing is not None:
            steps.append(self._reviewing.record)
        if len(steps) < 2:
            return steps[0] if steps else None
        first, second = steps

        def both(requests: pa.RecordBatch, verdicts: pa.RecordBatch, pieces: list[Piece]) -> None:
            # A verdict that is not recorded is not given, so that nobody is to review it.
            first(requests, verdicts, pieces)
            second(requests, verdicts, pieces)

        return both

    def _review(self, settings: Settings, review: Review) -> Reviewing:
        keep = None if review.keep_days is None else timedelta(days=review.keep_days)
        return Reviewing(
            Queue(review.path, create=True),
            _reviewed(settings.screening),
            keep=keep,
            wall=self._wall,
            counted=lambda outcome, rows: self.metrics.review.labels(outcome).inc(rows),
            say=self._say,
        )

    def _console(self, queue: Queue, access: Access, settings: Settings) -> Site:
        secure = settings.certificate is not None

        def denied(problem: Problem, head: Head, peer: Peer) -> None:
            self.service.deny(problem, head.method, head.path, peer)

        sessions = Sessions("aimds-review", secure=secure)
        return Site(queue, access, self._aside, sessions, secure=secure, denied=denied, wall=self._wall)

    def _open_console(self) -> None:
        if self._site is None:
            return
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="aimds-console")
        self._run = threaded(self._pool, asyncio.get_running_loop())
        if not self.settings.certificate:
            names = (*NAMES, "[::1]")
            self._site.hosts = frozenset(f"{one}:{self.port}" for one in names)

    def _aside(self, work: Callable[[], Answer], done: Callable[[Answer], None]) -> None:
        assert self._run is not None
        self._run(work, done)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"last_reload": self._last_reload}
        screener = self.worker.screener
        if isinstance(screener, Screener):
            state |= {"profile": screener.profile, "versions": screener.versions, "config_hash": screener.config_hash}
        return state


def _record(
    log: AuditLog,
    everything: bool,
    digests: bool,
    requests: pa.RecordBatch,
    verdicts: pa.RecordBatch,
    pieces: list[Piece],
) -> None:
    """Record verdicts durably: all, or those that were not allowed; a text as its digest, where the log has a key."""
    names = (
        "request_id",
        "session_id",
        "tenant",
        "channel",
        "action",
        "threat_type",
        "score",
        "status",
        "policy_version",
    )
    columns = [verdicts.column(name).to_pylist() for name in names]
    senders = [piece.identity.name for piece in pieces for _ in range(piece.count)]
    bodies = []
    for row, values in enumerate(zip(*columns, strict=True)):
        body = {**dict(zip(names, values, strict=True)), "identity": senders[row]}
        if everything or body["action"] != "allow" or body["status"] == "error":
            if digests:
                text = requests.column("text").slice(row, 1).cast(pa.large_binary())[0].as_py()
                body["text"] = None if text is None else log.digest(text)
            bodies.append(body)
    if bodies:
        log.append_many("verdict", bodies)
        log.flush()


def _sessions(settings: Settings) -> Conversations | None:
    if settings.sessions is None:
        return None
    return Conversations(capacity=settings.sessions.capacity, max_age_s=settings.sessions.max_age_s)


def _watch(settings: Settings, now: Watch | None = None) -> Watch | None:
    """``now`` where it has the policies that the settings name; raises AimdsError where they cannot be used."""
    following = settings.sessions
    if following is None or following.policies is None:
        return None
    policies = TracePolicies.load(None if following.policies == SHIPPED else following.policies)
    if now is not None and policies.version == now.policies.version:
        return now
    return Watch(policies, capacity=following.capacity, max_age_s=following.max_age_s)


def _reviewed(screening: Screening) -> tuple[str, ...]:
    return reviewed(Policy.load(screening.policy).playbook)


def _audit(settings: Settings) -> AuditLog | None:
    if settings.audit is None:
        return None
    found = settings.audit
    key = None if found.key is None else load_key(found.key)
    signing = None if found.signing_key is None else load_signing_key(found.signing_key)
    rotation = Rotation(segment_bytes=int(found.segment_mb * 1e6), segment_s=found.segment_hours * 3600)
    return AuditLog(found.path, key=key, signing=signing, rotation=rotation)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError("listen", f"{host}:{port}", f"a free address of this machine ({error.strerror})") from error
    listening.setblocking(False)
    return listening


def _context(settings: Settings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    if settings.certificates is not None:
        context.verify_mode = ssl.CERT_REQUIRED if settings.certificates.required else ssl.CERT_OPTIONAL
    _load_certificates(context, settings)
    return context


def _load_certificates(context: ssl.SSLContext, settings: Settings) -> None:
    """Put the certificate, and the CA of clients, into ``context``; new connections see them.

    Raises:
        DataError: they cannot be read, or do not fit each other.
    """
    try:
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.key)
        if settings.certificates is not None:
            context.load_verify_locations(settings.certificates.client_ca)
    except (OSError, ssl.SSLError) as error:
        raise DataError(settings.certificate, f"and its key cannot be used: {error.strerror or error}") from error


def _quic(settings: Settings) -> Any:
    try:
        return server.configuration(_content(settings.certificate or ""), _content(settings.key or ""))
    except (ValueError, TypeError) as error:
        raise DataError(settings.certificate, f"and its key cannot be used: {error}") from error


def _content(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        return None


def fetch(address: str) -> bytes:
    """What lies at an https ``address``, which is not left for another one.

    Raises:
        DataError: it cannot be fetched.
    """
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(address, timeout=FETCH_S) as answer:
            return bytes(answer.read(MAX_JWKS + 1))
    except (OSError, ValueError) as error:
        raise DataError(address, f"cannot be fetched: {error}") from error
