"""Which follow-up work is done next: earliest deadline first within priority classes, with admission."""

from __future__ import annotations

from aimds.respond.scheduling.order import CLASSES, COUNTERS, CRITICAL_WITHIN_NS, Order, classes
from aimds.respond.scheduling.worker import Job, SchedulingConfig, Task, Worker

__all__ = [
    "CLASSES",
    "COUNTERS",
    "CRITICAL_WITHIN_NS",
    "Job",
    "Order",
    "SchedulingConfig",
    "Task",
    "Worker",
    "classes",
]
