"""All that is wrong in a policy file: a reader names the first fault, so that is put right and it is asked again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aimds.errors import AimdsError, ConfigError
from aimds.printable import LINE, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 50
"""Faults of one file that are looked for."""
Read = Callable[[Mapping[str, Any]], object]
Fault = tuple[str, AimdsError]
"""The key path of what is wrong, and the error."""
Way = list[str | int]
_GONE = object()


def faults(read: Read, values: Mapping[str, Any], good: Mapping[str, Any]) -> list[AimdsError]:
    """What ``read`` finds wrong in ``values``, the first fault first, up to MOST.

    A fault that only follows from how an earlier one was put right may be among them where both lie in one table, and
    of a list only the first bad value of each entry is.

    Args:
        read: raises ConfigError or `aimds.ltl.policies.PolicyError` at the first fault.
        good: values that ``read`` takes, for those that are put in place of bad ones; in a list, one entry.
    """
    found: dict[str, AimdsError] = {}
    fault = _fault(read, values)
    while fault is not None and fault[0] not in found and len(found) < MOST:
        key, error = fault
        found[key] = error
        path = _entry(_path(values, key), good)
        while path:
            tried = [_put(values, path, one) for one in _instead(path, good, error)]
            after = [_fault(read, one) for one in tried]
            best = min(range(len(tried)), key=lambda i: _nearness(after[i], key))
            values, fault = tried[best], after[best]
            if fault is None or fault[0] != key:
                break
            # It is missing now, or does not go with the rest of its table: the table is put right as a whole.
            path = path[:-1]
        else:
            break
    return list(found.values())


def told(file: Path, found: Sequence[AimdsError]) -> None:
    """Say all of ``found`` in ``file``: the last is raised.

    Raises:
        ConfigError: the last.
        typer.Exit: the last was a formula, which is shown with its place.
    """
    from aimds.cli import trace_policy

    for i, error in enumerate(found):
        named = error.of(file) if isinstance(error, ConfigError) else error
        if not trace_policy.show(named):
            if i == len(found) - 1:
                raise named
            typer.echo(visible(f"error: {named}", LINE), err=True)
    if found:
        raise typer.Exit(trace_policy.EXIT_BAD_INPUT)


def _fault(read: Read, values: Mapping[str, Any]) -> Fault | None:
    from aimds.ltl.policies import PolicyError

    try:
        read(values)
    except ConfigError as error:
        return error.key, error
    except PolicyError as error:
        return f"policies.{error.name}.formula", error
    return None


def _path(values: Any, key: str) -> Way:
    """The steps that lead to ``key``: names of tables may hold dots, so what is there decides."""
    out: Way = []
    while key:
        if isinstance(values, list) and key.startswith("["):
            number, _, key = key[1:].partition("]")
            step: str | int = int(number)
        else:
            names = list(values) if isinstance(values, Mapping) else []
            fits = [one for one in names if one and (key == one or key.startswith((f"{one}.", f"{one}[")))]
            step = max(fits, key=len, default=key)
            key = key[len(step) :]
            if not fits:
                return [*out, step]
        out.append(step)
        values, key = values[step], key.removeprefix(".")
    return out


def _entry(path: Way, good: Mapping[str, Any]) -> Way:
    """``path`` up to the entry of a list of tables, or to a list of other values, where it leads into one."""
    for i, step in enumerate(path):
        if isinstance(step, int):
            listed = _at(good, path[:i])
            of_tables = isinstance(listed, list) and isinstance(next(iter(listed), None), Mapping)
            return path[: i + of_tables]
    return path


def _at(good: Any, path: Way) -> Any:
    for step in path:
        if isinstance(step, int) and isinstance(good, list):
            good = good[0]
        elif isinstance(good, Mapping) and step in good:
            good = good[step]
        else:
            return _GONE
    return good


def _instead(path: Way, good: Mapping[str, Any], error: AimdsError) -> list[Any]:
    """What may stand at ``path`` instead, _GONE for nothing; the later ones go with whatever stands beside them."""
    value = _at(good, path)
    is_number = isinstance(error, ConfigError) and error.expected.startswith("a number")
    return [value, 0.0, 1.0] if is_number else [value]


def _put(values: Mapping[str, Any], path: Way, value: Any) -> dict[str, Any]:
    out = copy.deepcopy(dict(values))
    at: Any = out
    for step in path[:-1]:
        at = at[step]
    if value is _GONE:
        at.pop(path[-1], None)
    else:
        at[path[-1]] = copy.deepcopy(value)
    return out


def _nearness(fault: Fault | None, key: str) -> tuple[bool, bool, int]:
    """How near a ``fault`` lies to ``key``: the nearer, the likelier it is that it only follows from what was put
    there."""
    if fault is None:
        return False, False, 0
    steps, others = key.split("."), fault[0].split(".")
    shared = next((i for i, (one, other) in enumerate(zip(steps, others, strict=False)) if one != other), len(steps))
    return True, steps[:-1] == others[:-1], shared
