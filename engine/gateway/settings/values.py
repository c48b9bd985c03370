"""What `aimds serve` can be told: checked values, each with its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aimds.errors import ConfigError
from aimds.gateway.auth import LOOPBACK
from aimds.gateway.batching import BatchConfig
from aimds.gateway.identity import Identity
from aimds.gateway.limits import FAILURES
from aimds.gateway.output import OutputConfig
from aimds.gateway.packets.probing import LEAST
from aimds.gateway.pieces import Limits
from aimds.gateway.places import CONNECTIONS
from aimds.gateway.tokens import TokenConfig
from aimds.gateway.tracing import Tracing
from aimds.gateway.unread import UNREAD_S


@dataclass(frozen=True, slots=True)
class Screening:
    """How the screener is built; folders and files as `Screener.default` takes them.

    ``workers``: processes that judge; 0: threads of the gateway's own · ``backend``: auto, cpu or cuda.
    """

    profile: str = "cascade"
    policy: Path | None = None
    patterns: Path | None = None
    calibration: Path | None = None
    learned: Path | None = None
    threads: int = 1
    cache_bytes: int = 64 << 20
    workers: int | None = None
    backend: str = "auto"


@dataclass(frozen=True, slots=True)
class Ray:
    """Judge on a Ray cluster: its ``address`` (None: RAY_ADDRESS, else one of this machine), and how many actors at
    ``least`` (None: as many as it has room for) and at ``most`` (None: no more than that). ``sessions`` is the number
    of shards that keep sessions, 0: the gateway's own process does; gateways with the same ``group`` share them."""

    address: str | None = None
    least: int | None = None
    most: int | None = None
    sessions: int = 0
    group: str | None = None


SHIPPED = Path("shipped")
"""In the place of a file: the one that comes with aimds."""


@dataclass(frozen=True, slots=True)
class Following:
    """Follow sessions over their turns: ``capacity`` at once, each until it was not seen for ``max_age_s`` seconds.
    ``policies`` is a file of policies over sessions, or SHIPPED; None: sessions are judged by none. ``attractor``: say
    how each moves. ``joined``: judge turns together with those before them too. ``snapshot`` is the file in which they
    outlive a restart."""

    capacity: int = 100_000
    max_age_s: int = 86_400
    policies: Path | None = None
    attractor: bool = False
    joined: bool = False
    snapshot: Path | None = None


@dataclass(frozen=True, slots=True)
class Certificates:
    """mTLS: ``client_ca`` signs clients, ``clients`` says whom a name in a certificate stands for."""

    client_ca: Path
    required: bool
    clients: dict[str, Identity]


@dataclass(frozen=True, slots=True)
class Jwt:
    """Tokens: what they must say, and ``jwks``, a file or an https address read every ``refresh_s``."""

    config: TokenConfig
    jwks: str
    refresh_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Audit:
    """Which verdicts are recorded, where, with which key, signed by whom. A file is closed at ``segment_mb`` or after
    ``segment_hours``; closed ones stay ``keep_days``, None: for ever."""

    path: Path
    key: Path | None
    verdicts: str
    signing_key: Path | None = None
    segment_mb: float = 256.0
    segment_hours: float = 24.0
    keep_days: float | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """The queue of verdicts for people, in a file or at the URL of a PostgreSQL database; their texts stay
    ``keep_days``, None: for ever."""

    where: Path | str
    keep_days: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All of the file. ``insecure`` is no key of it: only the command line can say it."""

    host: str = "127.0.0.1"
    port: int = 8443
    certificate: Path | None = None
    key: Path | None = None
    certificates: Certificates | None = None
    jwt: Jwt | None = None
    keys: Path | None = None
    admin_allow: tuple[str, ...] = LOOPBACK
    failures_per_minute: float = FAILURES
    rate: float = 0.0
    burst: float | None = None
    weights: dict[str, float] = field(default_factory=dict)
    batch: BatchConfig = field(default_factory=BatchConfig)
    limits: Limits = field(default_factory=Limits)
    output: OutputConfig = field(default_factory=OutputConfig)
    screening: Screening = field(default_factory=Screening)
    ray: Ray | None = None
    sessions: Following | None = None
    audit: Audit | None = None
    notify: Path | None = None
    holds: Path | None = None
    review: Review | None = None
    tiers: Path | None = None
    traces: Tracing | None = None
    drain_s: int = 30
    connections_per_address: int = CONNECTIONS
    unread_s: float = UNREAD_S
    datagram_bytes: int = LEAST
    processes: int = 0
    """That speak QUIC; 0: the gateway's own does."""
    insecure: bool = False

    @property
    def has_identity(self) -> bool:
        """Whether any kind of credential is set."""
        return self.certificates is not None or self.jwt is not None or self.keys is not None

    def check(self) -> Settings:
        """These settings, if they may be served.

        Raises:
            ConfigError: no identity and not insecure, insecure on an address that others reach, or no certificate; or
                shards of sessions with what they cannot do, or bounds that do not go together.
        """
        self.limits.check()
        self._check_shards()
        if self.processes and self.certificate is None:
            raise ConfigError("listen.processes", self.processes, "0 without a certificate, since QUIC needs one")
        if self.insecure:
            if self.host not in ("127.0.0.1", "::1", "localhost"):
                raise ConfigError("listen.host", self.host, "127.0.0.1 or ::1 with --insecure-local")
            if self.has_identity:
                raise ConfigError("auth", "set", "nothing with --insecure-local: nobody is asked who they are")
            return self
        if not self.has_identity:
            raise ConfigError("auth", None, "certificates, jwt or keys; --insecure-local is the only way without")
        if self.certificate is None or self.key is None:
            raise ConfigError("tls.certificate", None, "a certificate and its key; aimds certs makes them")
        return self

    def _check_shards(self) -> None:
        ray, sessions = self.ray, self.sessions
        if ray is None:
            return
        if ray.group is not None and not ray.sessions:
            raise ConfigError("ray.group", ray.group, "a name only where ray.sessions is 1 or more")
        if ray.sessions and sessions is None:
            raise ConfigError("ray.sessions", ray.sessions, "0, since there is no [sessions] that says what to follow")
        if ray.sessions and self.holds is not None:
            raise ConfigError("respond.holds", self.holds, "nothing where ray.sessions is 1 or more")
        if ray.sessions and sessions is not None:
            for name in ("joined", "snapshot"):
                if getattr(sessions, name):
                    value = getattr(sessions, name)
                    raise ConfigError(f"sessions.{name}", value, "nothing where ray.sessions is 1 or more")
