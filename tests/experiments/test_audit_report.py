"""An audit in words: a vector beside its cleaned self, on a tiny model with their behaviour."""

import pytest

from demur.directions.difference import random_like
from demur.directions.vectors import steering_vector
from demur.experiments.audit_config import AuditConfig, Prepared
from demur.experiments.vector_audit import run_audit
from demur.fitting.subjects import subject
from demur.fitting.vectors import fit_vector
from demur.prompts.pairs import behaviour
from demur.runs import read_results
from demur.types import Direction, Site


@pytest.fixture(scope="module")
def run(tmp_path_factory, build):
    engine = build("llama", 3, max_position_embeddings=4096).engine
    site = Site(1)
    value = fit_vector(engine, behaviour("warmth", "fit")[:8], [site], shuffles=0).vector.vectors[site]
    axis = Direction(random_like(value, 3) / value.norm(), site, 6.0)
    rest = value - (value @ axis.vector) * axis.vector
    after = steering_vector({site: rest}, {"wrappers": ["direct", "prefill"]})
    subjects = (subject("warm", steering_vector({site: value}, {"beats_null": False})),
                subject("old", steering_vector({site: value}, {"clears_null": False})),
                subject("alone", steering_vector({site: value}, {"beats_null": False, "null_effects": []})),
                subject("warm, direction", after))  # fmt: skip
    told = {"warm": "warmth", "warm, direction": "warmth"}
    ready = Prepared(subjects, axis, {"warm, direction": "warm"}, told, remarks=("Nothing else.",))
    config = AuditConfig((-1.0, 1.0), ("prefill",), n=8, items=4, randoms=1, questions=4, new_tokens=8)
    out = tmp_path_factory.mktemp("cleaned")
    return run_audit(engine, ready, config, out), out


def test_a_cleaned_vector_stands_beside_itself_in_the_report(run):
    done, out = run
    assert read_results(out).figures == done.figures
    worst = max(done.endpoints, key=lambda e: e.change.value).arm
    kin = [arm for arm in ("warm", "warm, direction", "old") if worst.startswith(f"{arm} x")]
    names = ["old"] if kin == ["old"] else ["warm", "warm, direction"]
    articles = (out / "report.html").read_text(encoding="utf-8").split("<article>")
    attacked = [text for text in articles[1:] if text.lstrip().startswith('<p class="from"><bdi>attacked</bdi>')]
    told = [f"{name} {worst.rpartition(' ')[2]}" for name in names]
    assert any(all(arm in text for arm in told) for text in attacked)


def test_the_summary_begins_with_the_verdicts_and_gives_each_its_reason(run):
    done, _ = run
    counts = {verdict: list(done.verdicts.values()).count(verdict) for verdict in done.verdicts.values()}
    assert done.summary[0] == "; ".join(
        f"{n} {'vector' if n == 1 else 'vectors'}: {verdict}" for verdict, n in counts.items()) + "."  # fmt: skip
    for line, (name, verdict) in zip(done.summary[1:], done.verdicts.items(), strict=False):
        assert line == f"{name}: {verdict} ({done.reasons[name]})."


def test_the_summary_says_what_cleaning_did_and_which_vectors_do_nothing(run):
    done, _ = run
    assert any(line.startswith("warm, direction: ") and "of its behaviour is left" in line for line in done.summary)
    assert any(line.endswith("shuffled labels: warm, old.") for line in done.summary)
    assert any(line.startswith("warm, direction was cleaned") and line.endswith(": prefill.") for line in done.summary)
    assert done.summary[-2] == "Nothing else."


def test_each_endpoint_and_each_random_arm_has_a_line(run):
    done, _ = run
    for end in done.endpoints:
        assert any(line.startswith(f"{end.arm}: complied ") and f"Holm p {end.holm:.3f}" in line
                   for line in done.summary)  # fmt: skip
    for arm in ("random x-1", "random x+1"):
        assert any(line.startswith(f"{arm}, 1 directions: complied ") for line in done.summary)


def test_the_overview_has_a_row_a_vector_with_its_verdict_and_the_random_one(run):
    done, _ = run
    assert done.overview is not None
    assert [row.label for row in done.overview.rows] == ["warm", "old", "alone", "warm, direction", "random"]
    assert [row.cells[0].text for row in done.overview.rows[:4]] == list(done.verdicts.values())
    assert done.overview.rows[-1].control
