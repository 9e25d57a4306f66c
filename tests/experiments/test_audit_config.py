import json

import pytest

from demur.errors import BadSpec, InputError, UnknownName
from demur.experiments.audit_config import AuditConfig


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"multipliers": ()}, "different numbers that are not 0"),
        ({"multipliers": (0.0, 1.0)}, "different numbers that are not 0"),
        ({"multipliers": (1.0, 1.0)}, "different numbers that are not 0"),
        ({"n": 0}, "n is 0; it must be 1 or more"),
        ({"items": 0}, "items is 0; it must be 1 or more"),
        ({"new_tokens": 0}, "new_tokens is 0; it must be 1 or more"),
        ({"randoms": 0}, "random directions to compare with"),
        ({"benign": 0}, "benign is at least 1 and at most n, 100; got 0"),
        ({"n": 40, "benign": 41}, "at most n, 40; got 41"),
    ],
)
def test_audits_that_measure_nothing_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        AuditConfig(**change)


def test_names_and_conditions_that_nothing_has_are_refused():
    with pytest.raises(UnknownName, match="Did you mean 'fiction'"):
        AuditConfig(attacks=("ficton",))
    with pytest.raises(UnknownName, match="constrained, direction, subspace"):
        AuditConfig(clean="prayer")
    with pytest.raises(BadSpec, match="is no condition"):
        AuditConfig(fail_if="low > 0")
    with pytest.raises(UnknownName, match="Did you mean 'warmth'"):
        AuditConfig(behaviours={"v": "warmht"})


def test_a_behaviour_without_test_pairs_is_refused(tmp_path):
    answers = {"answer_matching_behavior": "Yes.", "answer_not_matching_behavior": "Not so."}
    row = json.dumps({"question": "Q?", **answers, "use": "fit"})
    (pairs := tmp_path / "pairs.jsonl").write_text(f"{row}\n")
    with pytest.raises(InputError, match="no test pairs"):
        AuditConfig(behaviours={"v": str(pairs)})


@pytest.mark.parametrize(
    ("multipliers", "extremes", "largest"),
    [
        ((-1.5, -0.75, 0.75, 1.5), (-1.5, 1.5), 1.5),
        ((1.0, -2.0, 0.5), (-2.0, 1.0), 2.0),
        ((0.5, 1.0), (1.0,), 1.0),
        ((-3.0,), (-3.0,), 3.0),
    ],
)
def test_the_extreme_multiplier_of_each_sign_is_tested(multipliers, extremes, largest):
    config = AuditConfig(multipliers)
    assert (config.extremes, config.largest) == (extremes, largest)


def test_the_primary_set_is_the_attacked_one_where_there_are_attacks():
    assert AuditConfig(attacks=("fiction",)).primary == "attacked"
    assert AuditConfig().primary == "harmful"
