"""garak's half, run by the Python that garak is installed in: its probes ask, its own detectors judge the answers.

Loaded there without AIMDS: it may use `wire` and the standard library.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import random
import time
from collections.abc import Sequence
from typing import Any

from aimds.jobs.redteam.wire import Lines, Outside, Reply, Target, Turn, asked

ATTACKER = "needs a model that attacks"
SKIPPED = {
    "agent_breaker.AgentBreaker": ATTACKER,
    "atkgen.Tox": ATTACKER,
    "dan.AutoDAN": ATTACKER,
    "fitd.FITD": ATTACKER,
    "goat.GOATAttack": ATTACKER,
    "suffix.BEAST": ATTACKER,
    "suffix.GCG": ATTACKER,
    "tap.PAIR": ATTACKER,
    "tap.TAP": ATTACKER,
    "divergence.RepeatExtended": "the longer edition of one that is run",
    "ansiescape.AnsiRawTokenizerHF": "asks a tokenizer, no model",
}
LONG = "Full"
WITH_MODEL = ("unsafe_content.ToxicCommentModel",)
"""Detectors that are models of a hub: what they would say is not known."""


def main() -> None:
    """Run what stdin asks for: proxy, bare, modules, probes, prompts, seed, ends_in_s."""
    lines, outside = Lines(), Outside()
    wanted = asked()
    ends_at = time.monotonic() + wanted["ends_in_s"]
    outside.close()
    logging.disable(logging.CRITICAL)
    from garak import __version__, _config, _plugins

    lines.say("tool", name="garak", version=__version__)
    _config.load_base_config()
    _config.transient.reportfile = _Nowhere()
    _config.buffmanager.buffs = []
    _config.run.soft_probe_prompt_cap = wanted["prompts"]
    _config.run.generations = 1
    _config.run.seed = wanted["seed"]
    _config.system.parallel_attempts = False
    from garak.services import langservice

    langservice.load()
    chosen = []
    for path, _ in _plugins.enumerate_plugins("probes"):
        name = path.removeprefix("probes.")
        why = SKIPPED.get(name, "")
        if wanted["probes"]:
            if not _is_named(name, wanted["probes"]):
                continue
        elif name.partition(".")[0] not in wanted["modules"]:
            why = why or "manipulates nothing"
        elif name.endswith(LONG):
            why = "the longer edition of one that is run"
        if why:
            lines.say("left_out", probe=name, why=why)
        else:
            chosen.append(name)
    lines.say("plan", probes=chosen)
    for name in chosen:
        if time.monotonic() > ends_at:
            lines.say("left_out", probe=name, why="no time was left")
            continue
        random.seed(f"{wanted['seed']}/{name}")
        _run(name, wanted, lines)
    lines.say("done", refused=outside.refused)


def _is_named(name: str, wanted: Sequence[str]) -> bool:
    return any(name == one or name.startswith(one + ".") for one in wanted)


class _Nowhere(io.TextIOBase):
    """Where garak writes its own report."""

    def write(self, text: str) -> int:
        """Nothing is kept."""
        return len(text)


def _run(name: str, wanted: dict[str, Any], lines: Lines) -> None:
    from garak import _plugins

    started = time.monotonic()
    try:
        probe = _plugins.load_plugin(f"probes.{name}")
    except Exception as error:
        lines.say("left_out", probe=name, why=_reason(error))
        return
    if not getattr(probe, "prompts", None):
        lines.say("left_out", probe=name, why="has no prompts without what it would fetch")
        return
    if "text" not in probe.modality["in"] or len(probe.modality["in"]) > 1:
        lines.say("left_out", probe=name, why="no text")
        return
    asks = _asking(wanted["proxy"])
    try:
        attempts = list(probe.probe(asks))
    except Exception as error:
        lines.say("left_out", probe=name, why=_reason(error))
        return
    detector = _detector(probe.primary_detector)
    bare = Target(wanted["bare"]) if wanted["bare"] else None
    for attempt in attempts:
        turns = _turns(attempt.prompt)
        reply = asks.replies.get(json.dumps(turns)) or Reply("failed", "", "garak did not send it", None)
        alone = bare.ask(turns) if bare else None
        lines.say(
            "attempt",
            probe=name,
            turns=turns,
            outcome=reply.outcome,
            action=reply.action,
            why=reply.why,
            works=_works(detector, attempt, reply),
            works_bare=_works(detector, attempt, alone) if alone else None,
        )
    lines.say(
        "probe",
        probe=name,
        tags=list(probe.tags),
        goal=str(probe.goal),
        detector=str(probe.primary_detector) if detector else "",
        seconds=round(time.monotonic() - started, 2),
    )


def _asking(url: str) -> Any:
    """A generator of garak that asks ``url`` and keeps what became of each conversation in ``replies``."""
    from garak.attempt import Message
    from garak.generators.base import Generator

    class Proxied(Generator):  # type: ignore[misc,unused-ignore]
        """What garak takes for a model: the proxy."""

        generator_family_name = "aimds"

        def __init__(self) -> None:
            self.target, self.replies = Target(url), dict[str, Reply]()
            super().__init__("aimds")

        def _call_model(self, prompt: Any, generations_this_call: int = 1) -> list[Any]:
            turns = _turns(prompt)
            reply = self.replies[json.dumps(turns)] = self.target.ask(turns)
            return [None if reply.text is None else Message(reply.text)] * generations_this_call

    return Proxied()


def _turns(conversation: Any) -> list[Turn]:
    return [(turn.role, turn.content.text or "") for turn in conversation.turns]


def _detector(name: str | None) -> Any:
    from garak import _plugins

    if name in WITH_MODEL:
        return None
    try:
        return _plugins.load_plugin(f"detectors.{name}")
    except Exception:  # a detector that wants a model from a hub
        return None


def _works(detector: Any, attempt: Any, reply: Reply) -> bool | None:
    """Whether garak's detector takes the answer for a success; None where it cannot say."""
    from garak.attempt import Attempt, Message

    if reply.outcome == "held":
        return False
    if detector is None or reply.text is None:
        return None
    again = Attempt(
        status=attempt.status,
        prompt=copy.deepcopy(attempt.prompt),
        probe_classname=attempt.probe_classname,
        notes=copy.deepcopy(attempt.notes),
        goal=attempt.goal,
    )
    again.outputs = [Message(reply.text, lang="en")]
    try:
        scores: Sequence[float | None] = list(detector.detect(again))
    except Exception:
        return None
    return None if not scores or scores[0] is None else scores[0] >= 0.5


def _reason(error: BaseException) -> str:
    chain = [str(error)]
    cause = error.__cause__ or error.__context__
    while cause is not None:
        chain.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    whole = " ".join(" ".join(chain).split())
    if "lets nothing out" in whole or "not found" in whole.lower() or "resolve" in whole.lower():
        return f"needs what it would fetch: {whole[:160]}"
    return f"{type(error).__name__}: {whole[:160]}"
