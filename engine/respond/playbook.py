"""The playbook: what each action does, as data. A step is a name that the gateway or job knows how to carry out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError
from aimds.respond.settings import Section
from aimds.schema import ACTIONS, SESSION_ACTIONS

ENDINGS = ("forward", "refuse", "hold")
"""What becomes of the request; each action has exactly one, as its last step."""
STEPS = ("audit", "notify", "review", "redact", "sandwich", "rate_limit", "quarantine", *ENDINGS)
REQUIRED = {
    "allow": ("forward",),
    "flag": ("audit", "forward"),
    "redact": ("redact", "forward"),
    "sandwich": ("sandwich", "forward"),
    "block": ("audit", "refuse"),
    "escalate": ("audit", "review"),
}
"""Steps without which an action would not be what its name says."""
ONLY_IN = {"redact": ("redact", "sandwich"), "sandwich": ("sandwich",)}
"""Steps that change the text belong to the actions that write a mitigated text."""


@dataclass(frozen=True, slots=True)
class Playbook:
    """``steps`` per action, in the order they are taken."""

    steps: dict[str, tuple[str, ...]]

    @classmethod
    def read(cls, section: Section) -> Playbook:
        """The playbook in ``section``: one table per action with a list ``steps``.

        Raises:
            ConfigError: an action or a required step is missing, a step is unknown, or the ending is not one and last.
        """
        for name in section.values:
            if name not in ACTIONS:
                expected = "no such key; known here: " + ", ".join(ACTIONS)
                raise ConfigError(section.key(name), section.values[name], expected)
        return cls({action: _steps(section.section(action), action) for action in ACTIONS})

    def forwards(self, action: str) -> bool:
        """Whether a text with ``action`` is passed on."""
        return self.steps[action][-1] == "forward"

    @property
    def session_actions(self) -> npt.NDArray[np.int8]:
        """Code into SESSION_ACTIONS per action code, int8 (A,)."""
        codes = [
            max((SESSION_ACTIONS.index(step) for step in self.steps[action] if step in SESSION_ACTIONS), default=0)
            for action in ACTIONS
        ]
        return np.array(codes, np.int8)


def _steps(section: Section, action: str) -> tuple[str, ...]:
    steps = section.names("steps", STEPS)
    section.end()
    key = section.key("steps")
    if [step for step in steps if step in ENDINGS] != list(steps[-1:]):
        raise ConfigError(key, list(steps), "exactly one of " + ", ".join(ENDINGS) + ", as the last step")
    for step in REQUIRED[action]:
        if step not in steps:
            raise ConfigError(key, list(steps), f"a list with {', '.join(REQUIRED[action])}")
    for step, actions in ONLY_IN.items():
        if step in steps and action not in actions:
            raise ConfigError(key, list(steps), f"a list without {step}, which belongs to {' and '.join(actions)}")
    return steps
