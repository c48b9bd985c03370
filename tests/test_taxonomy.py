"""The taxonomy file: unique names, well-formed ids, every threat a verdict can carry."""

import pytest

from aimds import taxonomy
from aimds.errors import ConfigError

LLM_2025 = {f"LLM{number:02d}:2025" for number in range(1, 11)}
AITG_APP = {f"AITG-APP-{number:02d}" for number in range(1, 15)}


def test_codes_are_places_and_names_are_unique() -> None:
    threats = taxonomy.load()
    assert [threat.code for threat in threats] == list(range(len(threats)))
    assert len({threat.name for threat in threats}) == len(threats)
    assert taxonomy.THREATS[0] == "none"


def test_ids_belong_to_the_taxonomies_they_name() -> None:
    for threat in taxonomy.load():
        assert set(threat.owasp_llm) <= LLM_2025, threat.name
        assert set(threat.owasp_aitg) <= AITG_APP, threat.name
        for technique in threat.atlas:
            prefix, _, number = technique.removeprefix("AML.").partition(".")
            assert technique.startswith("AML.T"), technique
            assert len(prefix) == 5, technique
            assert prefix[1:].isdigit(), technique
            assert number == "" or (len(number) == 3 and number.isdigit()), technique


def test_every_attack_has_an_owasp_llm_id_and_an_impact() -> None:
    for threat in taxonomy.load():
        if threat.name not in ("none", "harmful_request"):
            assert threat.owasp_llm, threat.name
            assert 0 < threat.impact <= 1


def test_an_unknown_threat_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="expected one of none, direct_injection"):
        taxonomy.get("bogus")
