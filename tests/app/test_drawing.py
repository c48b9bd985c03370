"""A gateway whose policy draws actions: each draw is in the audit log with its propensity, and a block stays a block."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from desk import ATTACK, VERSIONS, Fake
from live import INSECURE, live

from aimds import data
from aimds.gateway.settings import Audit
from aimds.respond.policy import Policy


class Drawing(Fake):
    """Says ``at_block`` of an attack, or something stronger."""

    def __init__(self, at_block: str) -> None:
        super().__init__()
        values = tomllib.loads(data.read_bytes("policy.toml").decode())
        values["threats"]["direct_injection"] = {"at_block": at_block, "at_flag": "flag"}
        chances = {"flag": {"flag": 0.1, "sandwich": 0.1, "escalate": 0.7, "block": 0.1}}
        values["actions"] = {"learn": True, "threats": ["direct_injection"], "explore": 0.1, "seed": 1}
        values["actions"]["chances"] = {"direct_injection": chances}
        self.policy = Policy(values)
        self.policy.version = VERSIONS["policy"]


def recorded(folder: Path, at_block: str) -> list[dict[str, Any]]:
    folder.mkdir()
    settings = dataclasses.replace(INSECURE, audit=Audit(folder / "audit.log", None, "all"))
    with live(settings, Drawing(at_block)) as server:
        given = [server.screen(text)[1]["action"] for text in (ATTACK, "hello", ATTACK)]
    lines = [json.loads(line) for line in (folder / "audit.log").read_bytes().splitlines()]
    bodies = [one["body"] for one in lines if one["kind"] == "verdict"]
    assert [one["action"] for one in bodies] == given
    return bodies


def test_a_draw_is_recorded_with_its_propensity_and_a_block_stays_one(tmp_path: Path) -> None:
    first, plain, again = recorded(tmp_path / "flag", "flag")
    assert first == again
    assert (first["own"], first["drawn"]) == ("flag", first["action"])
    assert first["propensity"] == (0.7 if first["action"] == "escalate" else 0.1)
    assert "propensity" not in plain
    for body in recorded(tmp_path / "block", "block")[::2]:
        assert (body["own"], body["action"], body["propensity"]) == ("block", "block", 1.0)
