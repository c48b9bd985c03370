"""A red team's run: the target set up, each tool in its turn, what came kept as it comes, then tallied and drafted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import IO, Any

from aimds.detect.pii import Pii
from aimds.errors import DataError
from aimds.jobs.evaluate.disguise import CHARACTERS, ENCODINGS, Disguise
from aimds.jobs.redteam import drafting, material, others, proxied, stub_model
from aimds.jobs.redteam.findings import Attempt, Findings, LeftOut, Told, Tool, tallied
from aimds.jobs.redteam.wire import Target
from aimds.jobs.scan.durable import guarded, make_folder

OWN = "own"
TOOLS = (OWN, "garak", "pyrit")
ATTEMPTS, DRAFTS = "attempts.jsonl", "drafts"
_DISGUISES = (Disguise("plain", "plain", lambda text, _: text), *ENCODINGS, *CHARACTERS)
_PLANNED = {"garak": "probes", "pyrit": "attacks", OWN: "disguises"}

Say = Callable[[str], None]
Lines = Iterator[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. ``pythons``: the tools to use beside our own, and the Python of each · ``target``: a proxy that
    stands, or empty for one of our own, started with ``proxy``, options of `aimds proxy` · ``probes``: only these, of
    any tool · ``prompts``: most of one probe of garak · ``texts``: attacks of ours that are hidden · ``each_s``: of one
    attack of PyRIT · ``limit_s``: of one tool · ``ordinary``: texts no draft may find · ``pii``: what is masked."""

    output: Path
    pythons: dict[str, Path] = field(default_factory=dict)
    own: bool = True
    target: str = ""
    proxy: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    prompts: int = 25
    texts: int = 20
    turns: int = 10
    concurrent: int = 10
    each_s: float = 30.0
    limit_s: float = 300.0
    seed: int = 0
    ordinary: tuple[str, ...] = ()
    pii: Pii | None = None


class Run:
    """One run. ``clock`` gives seconds, ``say`` gets a line of progress."""

    def __init__(
        self, options: Options, *, now: datetime, clock: Callable[[], float] = time.monotonic, say: Say
    ) -> None:
        self._options, self._now, self._clock, self._say = options, now, clock, say
        self._attempts: list[Attempt] = []
        self._told: list[Told] = []
        self._left_out: list[LeftOut] = []
        self._tools: list[Tool] = []

    def run(self) -> Findings:
        """All of it. Ctrl-C ends it with what was done.

        Raises:
            DataError: the folder cannot be written, or nothing answers at the target.
            ProxyError: our own proxy did not start.
        """
        options, started = self._options, self._clock()
        make_folder(options.output)
        path = options.output / ATTEMPTS
        stopped = False
        with guarded(path, "write"), ExitStack() as stack:
            bare = "" if options.target else stack.enter_context(stub_model.serving())
            where = options.target or stack.enter_context(proxied.serving(bare, options.proxy))
            # What an earlier run left stands until something answers.
            reach(where)
            kept = stack.enter_context(path.open("w", encoding="utf-8"))
            try:
                if options.own:
                    self._take(OWN, self._own(where), kept)
                for tool, python in options.pythons.items():
                    asked = self._wanted(tool, where, bare)
                    self._take(tool, others.lines(tool, python, asked, limit_s=options.limit_s), kept)
            except KeyboardInterrupt:
                stopped = True
                self._say("interrupted: what was done is kept")
        return self._found(options.target, stopped, started)

    def _take(self, tool: str, lines: Lines, kept: IO[str]) -> None:
        began, version, problem = self._clock(), "", ""
        refused: dict[str, int] = {}
        planned: list[str] = []
        done = 0
        try:
            with closing(lines):  # type: ignore[type-var]
                for line in lines:
                    match line["kind"]:
                        case "tool":
                            version = str(line["version"])
                        case "plan":
                            planned = list(line["probes"])
                            self._say(f"{tool} {version}: {len(planned)} {_PLANNED[tool]}".replace("  ", " "))
                        case "attempt":
                            one = Attempt.read(tool, line)
                            self._attempts.append(one)
                            print(json.dumps(asdict(one)), file=kept, flush=True)
                        case "probe":
                            done += 1
                            self._told.append(_told(tool, line))
                            self._say(f"{tool} {done} of {len(planned)}: {line['probe']}")
                        case "left_out":
                            self._left_out.append(LeftOut(tool, str(line["probe"]), str(line["why"])))
                        case "done":
                            refused = dict(line["refused"])
        except others.ToolError as error:
            problem = error.problem
            self._say(str(error))
        finally:
            tested = tool == OWN or version == others.TESTED[tool]
            self._tools.append(Tool(tool, version, tested, self._clock() - began, refused, problem))

    def _wanted(self, tool: str, where: str, bare: str) -> dict[str, Any]:
        options = self._options
        common = {"proxy": where, "probes": options.probes, "seed": options.seed, "ends_in_s": options.limit_s}
        if tool == "garak":
            return common | {"bare": bare, "modules": list(material.MODULES), "prompts": options.prompts}
        return common | {
            "texts": material.attacks(options.concurrent, options.seed),
            "small_talk": material.SMALL_TALK,
            "turns": options.turns,
            "concurrent": options.concurrent,
            "each_s": options.each_s,
        }

    def _own(self, where: str) -> Lines:
        """Our own attacks, plain and in every disguise, in the lines that the tools speak."""
        options = self._options
        texts = material.attacks(options.texts, options.seed)
        chosen = [one for one in _DISGUISES if not options.probes or one.name in options.probes]
        ends_at = self._clock() + options.limit_s
        yield {"kind": "tool", "version": ""}
        yield {"kind": "plan", "probes": [one.name for one in chosen]}
        with ThreadPoolExecutor(options.concurrent) as pool, ExitStack() as stack:
            targets = [stack.enter_context(closing(Target(where))) for _ in range(options.concurrent)]

            def share(number: int, hidden: Sequence[str]) -> list[dict[str, Any]]:
                return [_line(targets[number], text) for text in hidden]

            for one in chosen:
                if self._clock() > ends_at:
                    yield {"kind": "left_out", "probe": one.name, "why": "no time was left"}
                    continue
                began = self._clock()
                hidden = [
                    one.hide(text, Random(f"{options.seed}/{one.name}/{k}"))
                    for k, text in enumerate(texts)
                    if one.fits(text)
                ]
                parts = [hidden[k :: options.concurrent] for k in range(options.concurrent)]
                for lines in pool.map(share, range(options.concurrent), parts):
                    for line in lines:
                        yield line | {"kind": "attempt", "probe": one.name}
                told = {"tags": [], "goal": "", "detector": "", "seconds": round(self._clock() - began, 2)}
                yield {"kind": "probe", "probe": one.name, **told}
        yield {"kind": "done", "refused": {}}

    def _found(self, target: str, stopped: bool, started: float) -> Findings:
        options = self._options
        threats = {(one.tool, one.probe): material.threat_of(one.tool, one.probe) for one in self._attempts}
        self._say("tallying and drafting")
        probes = drafting.described(
            tallied(self._attempts, self._told, threats), self._attempts, options.ordinary, options.pii
        )
        drafting.write(options.output / DRAFTS, probes)
        drafting.confirmed(options.output, self._attempts, threats, self._now)
        return Findings(
            target=target or "aimds proxy in front of a stub model that decodes and obeys",
            tools=self._tools,
            probes=probes,
            left_out=self._left_out,
            spared=len(options.ordinary),
            stopped=stopped,
            seconds=self._clock() - started,
        )


def reach(where: str) -> None:
    """Whether a chat server answers at ``where``.

    Raises:
        DataError: none does.
    """
    with closing(Target(where)) as target:
        reply = target.ask([("user", "Hello!")])
    if reply.outcome == "failed":
        raise DataError(where, f"no chat server answers there ({reply.why}); aimds proxy --help says how to start one")


def _line(target: Target, text: str) -> dict[str, Any]:
    reply = target.ask([("user", text)])
    said = {"outcome": reply.outcome, "action": reply.action, "why": reply.why}
    return {"turns": [("user", text)], "works": None, "works_bare": None, **said}


def _told(tool: str, line: dict[str, Any]) -> Told:
    tags = tuple(str(tag) for tag in line["tags"])
    return Told(tool, str(line["probe"]), tags, str(line["goal"]), str(line["detector"]), float(line["seconds"]))
