"""What the service asks of the shell around it: work to be done, files to be read, and what only the shell knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from aimds.gateway.identity import Identity


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the service asks of its shell.

    ``work``: there may be a batch to poll · ``unjudged``: verdicts with status error · ``forwards``: whether the
    playbook passes on a text with an action · ``denied``: note a denial · ``reload``: take up changed files, and say
    what was · ``state``: further members of ``/v1/admin/status`` · ``held``: sessions that are held and that an
    identity may see · ``release``: let one of a tenant go, for an identity; False where it is not held · ``gauges``:
    metrics are about to be read · ``ready``: there is something to judge with · ``alive``: there is, or can be again
    without starting this process anew · ``rest``: seconds for which requests may be left unread, as they would only
    wait.
    """

    work: Callable[[], None]
    unjudged: Callable[[pa.RecordBatch, str], pa.RecordBatch]
    forwards: Callable[[str], bool]
    denied: Callable[[dict[str, Any]], None] = lambda body: None
    reload: Callable[[], dict[str, Any]] = dict
    state: Callable[[], dict[str, Any]] = dict
    held: Callable[[Identity], list[dict[str, Any]]] = lambda identity: []
    release: Callable[[str | None, str, Identity], bool] = lambda tenant, session, identity: False
    gauges: Callable[[], None] = lambda: None
    ready: Callable[[], bool] = lambda: True
    rest: Callable[[], float] = lambda: 0.0
    alive: Callable[[], bool] = lambda: True
