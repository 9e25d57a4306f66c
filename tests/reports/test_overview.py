import pytest

from demur.reports import Column, Overview, Row, Ruling
from demur.reports.overview import audit_overview, baseline_overview, evaluation_overview, points, proof_overview
from demur.types import Figure


def figure(arm, name, metric, value, versus="", low=None, high=None):
    low, high = value if low is None else low, value if high is None else high
    return Figure(arm, versus, name, metric, value, 20, "answers", low, high, "rules")


def test_a_row_needs_a_cell_a_column():
    with pytest.raises(ValueError, match="'a' has 1 cells for 2 columns"):
        Overview("arm", [Column("x"), Column("y")], [Row("a", ["1"])])


def test_figures_are_listed_column_by_column_and_once():
    one, two, three = (figure("a", "s", "refusal_rate", value) for value in (0.1, 0.2, 0.3))
    rows = [Row("a", [one, two]), Row("b", [three, one]), Row("c", ["", "words"])]
    table = Overview("arm", [Column("x"), Column("y", drawn=True)], rows)
    assert table.figures() == [one, three, two]
    assert table.figures(drawn=True) == [two, one]


BASELINE = [
    figure("unsteered", "harmful", "refusal_rate", 0.9),
    figure("unsteered", "attacked", "compliance_rate", 0.53),
    figure("unsteered", "borderline", "refusal_rate", 0.25),
    figure("unsteered", "capability", "accuracy", 0.83),
    figure("add", "harmful", "refusal_rate", 1.0),
    figure("add", "harmful", "refusal_rate", 0.1, "unsteered"),
    figure("random ablate", "harmful", "refusal_rate", 0.85),
    figure("null", "harmful", "refusal_rate", 0.9),
]


def test_a_baseline_has_a_row_an_arm_and_leaves_out_what_was_not_measured():
    table = baseline_overview(BASELINE)
    assert [(column.label, column.under) for column in table.columns] == [
        ("refused", "harmful"),
        ("complied", "attacked"),
        ("refused", "borderline"),
        ("capability", "items"),
    ]
    assert [(row.label, row.under, row.control) for row in table.rows] == [
        ("unsteered", "", False),
        ("direction added", "add", False),
        ("random ablated", "random ablate", True),
    ]
    assert list(table.rows[0].cells) == BASELINE[:4]
    assert list(table.rows[1].cells) == [BASELINE[4], "", "", ""]


def test_partial_and_undecided_answers_are_said_where_there_are_any():
    none = [figure("unsteered", "harmful", "partial_rate", 0.0), figure("add", "harmful", "undecided_rate", 0.0)]
    some = [figure("unsteered", "harmful", "partial_rate", 0.1), figure("add", "attacked", "undecided_rate", 0.25)]
    labels = [column.label for column in evaluation_overview([*BASELINE, *some]).columns]
    assert labels == ["refused", "partial", "complied", "undecided"]
    assert {"partial", "undecided"}.isdisjoint(column.label for column in evaluation_overview(BASELINE + none).columns)
    caption = baseline_overview([*BASELINE, *some]).caption
    assert caption.endswith("at most: partial 10% (unsteered, harmful), undecided 25% (add, attacked).")
    assert "at most" not in baseline_overview(BASELINE + none).caption


def test_an_evaluation_has_a_row_an_arm_and_set():
    table = evaluation_overview(BASELINE)
    assert [(row.label, row.under) for row in table.rows][:3] == [
        ("unsteered", "harmful"),
        ("unsteered", "attacked"),
        ("unsteered", "borderline"),
    ]
    assert [column.label for column in table.columns] == ["refused", "complied"]


AUDIT = [
    figure("warm x-1.5", "attacked", "compliance_rate", 0.12, "unsteered", 0.05, 0.2),
    figure("warm x+1.5", "attacked", "compliance_rate", -0.3, "unsteered", -0.4, -0.2),
    figure("warm x+1.5", "borderline", "refusal_rate", 0.5, "unsteered", -0.1, 0.9),
    figure("warm x+1.5", "plain", "refusal_rate", 0.2, "unsteered", 0.1, 0.3),
    figure("warm x-0.75", "plain", "refusal_rate", 0.8, "unsteered", 0.7, 0.9),
    figure("warm", "geometry", "cosine_to_refusal", 0.21),
    figure("clamp x+1", "attacked", "compliance_rate", 0.0, "unsteered"),
    figure("random x-1.5", "attacked", "compliance_rate", 0.01, "unsteered"),
]
ENDS = {
    "warm": {-1.5: "warm x-1.5", 1.5: "warm x+1.5"},
    "clamp": {1.0: "clamp x+1"},
    "random": {-1.5: "random x-1.5", 1.5: "random x+1.5"},
}


def test_an_audit_has_a_row_a_vector_with_its_verdict_its_ends_and_its_costs():
    broken = {"warm x-1.5": 0.01, "warm x+1.5": 0.031}
    table = audit_overview(AUDIT, {"warm": "raises compliance", "clamp": "safe"}, ENDS, broken)
    warm, clamp, random = table.rows
    assert list(warm.cells) == [Ruling("raises compliance", "bad"), AUDIT[0], AUDIT[1], AUDIT[3], "+3", AUDIT[5]]
    assert list(clamp.cells) == [Ruling("safe", "good"), "", AUDIT[6], "", "", ""]
    assert list(random.cells) == ["", AUDIT[7], "", "", "", ""] and random.control and not warm.control


def test_the_ends_are_called_by_their_multiplier_where_all_share_it():
    table = audit_overview(AUDIT, {}, ENDS, {})
    assert [column.under for column in table.columns if column.drawn] == ["at \u22121.5", "high end"]


def test_a_proof_has_a_row_a_claim_and_marks_its_controls():
    figures = [
        figure("suppress", "harmful", "compliance_rate", 0.7, "unsteered"),
        figure("suppress", "capability", "accuracy", -0.02, "unsteered"),
        figure("random suppress", "harmful", "compliance_rate", 0.01, "unsteered"),
        figure("suppress", "harmful", "compliance_rate", 0.69, "random suppress"),
        figure("clamp", "attacked", "refusal_rate", 0.4, "unsteered"),
        figure("random clamp", "attacked, a share", "refusal_rate", 0.03, "unsteered"),
    ]
    table = proof_overview(figures, {"suppress": -0.004})
    assert [(row.under, row.control) for row in table.rows] == [
        ("suppress", False),
        ("random suppress", True),
        ("clamp", False),
        ("random clamp", True),
    ]
    assert list(table.rows[0].cells) == [figures[0], "", "+0", figures[1]]
    assert list(table.rows[2].cells) == ["", figures[4], "", ""]


@pytest.mark.parametrize("share, said", [(0.031, "+3"), (-0.031, "\u22123"), (-0.001, "+0")])
def test_points_have_a_sign_and_no_negative_zero(share, said):
    assert points(share) == said
