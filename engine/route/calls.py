"""What is sent to a model and what comes back, whoever carries it; and how a provider can fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aimds.errors import AimdsError

KINDS = ("unreachable", "timeout", "rate_limited", "server", "refused", "malformed", "setup")
RETRIED = frozenset({"unreachable", "timeout", "rate_limited", "server", "malformed"})
"""Kinds that another try may mend; a request that was refused is refused again."""


@dataclass(frozen=True, slots=True)
class Call:
    """``messages`` as (role, content) in order; ``max_tokens`` bounds the answer."""

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer. Token counts are the provider's own, None where it gives none."""

    text: str
    input_tokens: int | None
    output_tokens: int | None


def whole(text: str) -> str:
    """``text`` with what is no character (half of a surrogate pair, which JSON can carry) as a question mark."""
    return text.encode("utf-8", "replace").decode()


class Adapter(Protocol):
    """One provider. `complete` blocks for at most ``timeout_s`` seconds and raises `ProviderError`, nothing else."""

    def complete(self, call: Call, *, timeout_s: float) -> Completion: ...


class ProviderError(AimdsError):
    """A provider did not answer: ``kind`` is one of KINDS, ``status`` the HTTP status if there was one,
    ``retry_after_s`` what it asked to wait. The text never holds what the provider said: it may repeat the prompt."""

    def __init__(
        self, tier: str, kind: str, reason: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        self.tier, self.kind, self.reason = tier, kind, reason
        self.status, self.retry_after_s = status, retry_after_s
        super().__init__(f"tier {tier!r}: {reason}")

    @property
    def retried(self) -> bool:
        """Whether another try may mend it."""
        return self.kind in RETRIED


class UnansweredError(AimdsError):
    """No tier answered: ``tried`` holds the name of each and why it did not, in order."""

    def __init__(self, tried: tuple[tuple[str, str], ...]) -> None:
        self.tried = tried
        told = "; ".join(f"{name}: {why}" for name, why in tried)
        super().__init__(f"no tier answered ({told})" if told else "no tier answered: there is none that may be asked")
