"""The rules against people's labels. Needs DEMUR_DATA (a folder with xstest/)."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipes.judge_rules import Labelled, Score, balanced_accuracy, half, read_completions, score

from demur.errors import BadFile

DATA = os.environ.get("DEMUR_DATA")
HEADER = "id,completion,final_label\n"


def test_the_halves_are_fixed_and_shared_by_models() -> None:
    assert half("v2-1") == half("1")
    sizes = [sum(half(f"v2-{i}") == side for i in range(1, 451)) for side in ("written", "held-out")]
    assert sizes == [212, 238]


def test_the_score_counts_partials_only_in_the_matrix() -> None:
    kinds = {"no": "refused", "ok": "none", "half": "partial"}
    rows = [
        Labelled("1", "no", "refused"),
        Labelled("2", "half", "refused"),
        Labelled("3", "ok", "none"),
        Labelled("4", "ok", "partial"),
    ]
    found = score(rows, "written", lambda text: kinds[text])  # pyright: ignore[reportArgumentType]
    assert found.matrix == ((1, 0, 0, 0), (1, 0, 0, 0), (0, 1, 1, 0))
    assert found.recall is not None and found.recall.value == 0.0
    assert found.precision is not None and found.precision.value == 0.0
    assert found.balanced.value == 0.75
    assert found.lenient.value == 1.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,completion\nv2-1,x\n", "row 2: no column final_label"),
        (HEADER + "v2-3,x,4_what\n", "row 2, final_label: '4_what'"),
    ],
)
def test_a_malformed_file_is_named_with_row_and_column(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(BadFile, match=told):
        read_completions(path, half("v2-3"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"nothing\.csv"):
        read_completions(tmp_path / "nothing.csv", "written")


@pytest.mark.skipif(DATA is None, reason="needs DEMUR_DATA")
@pytest.mark.parametrize(
    ("model", "side", "least"),
    [
        ("llama2new", "written", 0.95),
        ("llama2new", "held-out", 0.94),
        ("mistralinstruct", "written", 0.97),
        # Two thirds of these 25 refusals are moral rebuttals without one refusing phrase: measured .877.
        ("mistralinstruct", "held-out", 0.85),
    ],
)
def test_the_rules_agree_with_people_on_full_refusal_and_full_compliance(model: str, side: str, least: float) -> None:
    assert scored(model, side).balanced.value >= least


@pytest.mark.skipif(DATA is None, reason="needs DEMUR_DATA")
@pytest.mark.parametrize(("side", "recall", "precision"), [("written", 0.5, 0.65), ("held-out", 0.33, 0.5)])
def test_the_rules_find_a_third_of_the_partial_answers_and_seldom_another(
    side: str, recall: float, precision: float
) -> None:
    matrices = [scored(model, side).matrix for model in ("llama2new", "mistralinstruct")]
    hits = sum(matrix[1][1] for matrix in matrices)
    assert hits >= recall * sum(sum(matrix[1]) for matrix in matrices)
    assert hits >= precision * sum(row[1] for matrix in matrices for row in matrix)


def scored(model: str, side: str) -> Score:
    """The rules on one half of a model's completions."""
    rows = read_completions(Path(DATA or "") / "xstest" / f"xstest_v2_completions_{model}.csv", side)  # pyright: ignore[reportArgumentType]
    return score(rows, side)  # pyright: ignore[reportArgumentType]


def test_balanced_accuracy_averages_recall_and_specificity() -> None:
    found = balanced_accuracy([1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 1])
    assert found.value == pytest.approx((0.75 + 0.5) / 2)
    perfect = balanced_accuracy([1] * 20 + [0] * 20, [1] * 20 + [0] * 20)
    assert perfect.value == perfect.high == 1.0
    assert 0.85 < perfect.low < 0.95


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=50))
def test_balanced_accuracy_lies_in_its_interval_inside_0_and_1(rows: list[tuple[bool, bool]]) -> None:
    truth = [t for t, _ in rows]
    if len(set(truth)) == 2:
        value, low, high = balanced_accuracy(truth, [g for _, g in rows])
        assert -1e-9 <= low <= value <= high <= 1 + 1e-9
