"""Kernels with one piece of their text made wrong: the tests of each must notice.

All mutants of a kernel are compiled together, each in a namespace of its own, since compiling takes longer than running.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from host import COMPILER, ORDERS, Host

from aimds.kernels.cuda import source
from aimds.kernels.cuda.launch import Launch

QUICK = '#pragma GCC optimize("O0")\n'
KERNEL = re.compile(r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(')

Pairs = tuple[tuple[str, str], ...]


@dataclass
class Mutant(Host):
    """A host for the mutant of that ``number``."""

    number: int = 0

    def launch(self, launch: Launch, *arguments: Any) -> None:
        super().launch(replace(launch, kernel=f"{launch.kernel}_{self.number}"), *arguments)


@functools.cache
def joined(stem: str, pairs: Pairs) -> str:
    """One text of all mutants: (right, wrong) of ``pairs``, the right one once in the kernel with its headers."""
    text = source.text(stem)
    names = "|".join(KERNEL.findall(text))
    parts = [QUICK]
    for number, (right, wrong) in enumerate(pairs):
        assert text.count(right) == 1, f"{right!r} stands {text.count(right)} times in {stem}.cu"
        changed = re.sub(rf"\b({names})\(", rf"\1_{number}(", text.replace(right, wrong))
        parts.append(f"namespace mutant_{number} {{\n{changed}\n}}\n")
    parts.extend(f"using namespace mutant_{number};\n" for number in range(len(pairs)))
    return "".join(parts)


def refused(stem: str, pairs: Pairs, pair: tuple[str, str], check: Callable[[Host], None]) -> None:
    """Assert that ``check`` fails with the mutant ``pair`` of ``pairs`` in one of the orders of threads."""
    sources, number = {stem: joined(stem, pairs)}, pairs.index(pair)
    problems = (_problem(check, Mutant(order, sources, number=number)) for order in ORDERS)
    problem = next(filter(None, problems), "")
    assert problem, f"{pair} passes"
    assert COMPILER not in problem, "a mutant is to fail by what it does"
    assert "has no kernel" not in problem


def _problem(check: Callable[[Host], None], host: Host) -> str:
    try:
        check(host)
    except AssertionError as problem:
        return repr(problem)
    return ""
