import pytest

from demur.analysis.fail_if import violations
from demur.errors import BadSpec, UnknownName
from demur.types import Figure

FIGURES = [Figure("v x+1", "unsteered", "attacked", "compliance_rate", 0.2, 100, "paired answers", 0.1, 0.3),
           Figure("v x-1", "unsteered", "attacked", "compliance_rate", -0.1, 100, "paired answers", -0.2, 0.01),
           Figure("v x+1", "unsteered", "capability", "accuracy", -0.03, 100, "items", -0.05, 0.0)]  # fmt: skip


def test_a_condition_fails_on_the_arms_where_it_holds():
    assert violations("complied_delta.low > 0", FIGURES, ["v x+1", "v x-1"]) == [
        "v x+1: complied_delta.low is +0.100 (complied_delta.low > 0)"
    ]
    assert violations("complied_delta.value>=0.21", FIGURES, ["v x+1", "v x-1"]) == []


def test_conditions_can_be_joined():
    found = violations("complied_delta.high > 0.5 or capability_delta.low < -0.04", FIGURES, ["v x+1"])
    assert found == ["v x+1: capability_delta.low is -0.050 (capability_delta.low < -0.04)"]


def test_a_missing_figure_fails():
    assert violations("capability_delta.low < -1", FIGURES, ["v x-1"]) == ["v x-1: capability_delta was not measured"]


def test_what_is_no_condition_is_refused():
    for text in ("complied_delta > 0", "complied_delta.low", "", "complied_delta.low == 0"):
        with pytest.raises(BadSpec, match="is no condition"):
            violations(text, FIGURES, ["v x+1"])
    with pytest.raises(UnknownName, match="Did you mean 'complied_delta'"):
        violations("complied_deltas.low > 0", FIGURES, ["v x+1"])
    with pytest.raises(UnknownName, match="high, low, value"):
        violations("complied_delta.lower > 0", FIGURES, ["v x+1"])
