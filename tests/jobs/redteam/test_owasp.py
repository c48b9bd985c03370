"""OWASP ids of 2023 as those of 2025."""

from __future__ import annotations

from aimds.jobs.redteam.owasp import FROM_2023, of_tags


def test_every_id_of_2023_has_one_of_2025() -> None:
    assert set(FROM_2023) == {f"llm{n:02}" for n in range(1, 11)}
    assert set(FROM_2023.values()) <= {f"LLM{n:02}:2025" for n in range(1, 11)}


def test_ids_that_moved_are_not_taken_by_their_number() -> None:
    assert of_tags(["owasp:llm02"]) == ("LLM05:2025",)
    assert of_tags(["owasp:llm06"]) == ("LLM02:2025",)
    assert of_tags(["owasp:llm07", "owasp:llm08"]) == ("LLM06:2025",)


def test_other_tags_are_left_out() -> None:
    assert of_tags(["avid-effect:security:S0403", "owasp:llm99", "OWASP:LLM01", "quality:x"]) == ("LLM01:2025",)
