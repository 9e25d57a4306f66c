import pytest
from tests.hashed import rows

from demur.analysis.endpoints import endpoints, holm_figures
from demur.types import Outcome

TABLE = {
    ("unsteered", "attacked"): rows("c" * 10),
    ("add", "attacked"): rows("r" * 10),
    ("unsteered", "harmful"): rows("r" * 10),
    ("ablate", "harmful"): rows("rrrrrrr..o"),
}
PRIMARY: tuple[tuple[str, str, Outcome], ...] = (("add", "attacked", "refused"), ("ablate", "harmful", "complied"))


def test_primary_endpoints_are_corrected_for_being_two():
    adding, ablating = endpoints(TABLE, PRIMARY)
    assert (adding.arm, adding.set, adding.outcome) == ("add", "attacked", "refused")
    assert adding.p < 0.01
    assert adding.holm == pytest.approx(2 * adding.p)
    assert (ablating.p, ablating.holm) == (1.0, 1.0)
    (alone,) = endpoints(TABLE, PRIMARY[:1])
    assert alone.holm == alone.p == adding.p


def test_an_endpoint_has_the_change_of_its_outcome_and_of_broken_answers():
    adding, ablating = endpoints(TABLE, PRIMARY)
    assert (adding.change.metric, adding.change.value, adding.change.versus) == ("refusal_rate", 1.0, "unsteered")
    assert (ablating.change.metric, ablating.change.value) == ("compliance_rate", 0.0)
    assert (adding.broken, ablating.broken) == (0.0, pytest.approx(0.3))


def test_their_corrected_p_values_are_figures():
    found = endpoints(TABLE, PRIMARY)
    assert [(f.arm, f.set, f.metric, f.value, f.n) for f in holm_figures(found)] == [
        ("add", "attacked", "holm_p", found[0].holm, 10),
        ("ablate", "harmful", "holm_p", 1.0, 10),
    ]
