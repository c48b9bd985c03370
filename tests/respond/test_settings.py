from __future__ import annotations

import math

import pytest

from aimds.errors import ConfigError
from aimds.respond.settings import Section


@pytest.mark.parametrize("value", [10**400, -(10**400), math.nan, math.inf, -math.inf, True, "1", None, 1.0000001])
def test_number_outside_its_range_or_of_another_kind_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Section({"block": value}, "thresholds").number("block", 0.0, 1.0)
    assert caught.value.key == "thresholds.block"


@pytest.mark.parametrize("value", [0, 1, 0.5])
def test_number_inside_its_range_is_a_float(value: float) -> None:
    found = Section({"block": value}, "").number("block", 0.0, 1.0)
    assert (found, type(found)) == (value, float)
