"""`--harmful FILE --harmless FILE`: own prompts are divided, used, and never leak from one use to another."""

import csv

import pytest
from tests.cli.test_commands import SMALL

from demur.runs import Journal, read_results

ADJECTIVES = ["red", "old", "tiny", "loud", "cold", "soft", "dark", "wild", "calm", "rare"]
NOUNS = ["lantern", "barrel", "saddle", "kettle", "anchor", "ladder", "mirror", "violin", "hammer", "basket"]


def texts(n, start):
    """n requests that share no word of content."""
    return [f"{start}{i} {ADJECTIVES[i % 10]}{i // 10} {NOUNS[(3 * i) % 10]}{i}" for i in range(n)]


def write(path, rows, columns=("goal",)):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture
def files(tmp_path):
    """Forty harmful and forty harmless requests."""
    harmful = write(tmp_path / "a.csv", [[text, "x"] for text in texts(40, "steal")], ("goal", "note"))
    harmless = tmp_path / "b.jsonl"
    harmless.write_text("".join(f'{{"prompt": "{text}"}}\n' for text in texts(40, "paint")), encoding="utf-8")
    return harmful, harmless


def test_a_baseline_on_own_prompts_is_scored_on_their_test_part_only(demur, planted, files, tmp_path):
    harmful, harmless = files
    said = demur("baseline", "mock", *SMALL, "--harmful", f"{harmful}:goal", "--harmless", harmless,
                 "--out", tmp_path / "out")  # fmt: skip
    assert (said.status, said.err) == (0, ""), said
    results = read_results(tmp_path / "out")
    assert results.spec["prompts"] != "built-in" and "a.csv" in str(results.spec["prompts"])
    assert "borderline" not in {figure.set for figure in results.figures}
    with Journal(tmp_path / "out" / "journal.sqlite", readonly=True) as journal:
        (run,) = journal.runs()
        rows = journal.rows(run.id)
    own = {*texts(40, "steal"), *texts(40, "paint")}
    scored = {row.prompt.text for row in rows if not row.set.startswith("validation")}
    chosen_on = {row.prompt.text for row in rows if row.set.startswith("validation")}
    assert scored <= own and chosen_on <= own
    assert {row.prompt.use for row in rows if not row.set.startswith("validation")} == {"test"}
    assert not scored & chosen_on


def test_own_prompts_make_another_direction_than_the_built_in_ones(demur, planted, files, tmp_path):
    from demur.directions.anything import load_direction

    path = tmp_path / "d.safetensors"
    said = demur("direction", "fit", "mock", "--harmful", files[0], "--harmless", files[1], "--out", path)
    assert (said.status, said.err) == (0, ""), said
    assert "a.csv" in str(load_direction(path).origin["prompts"])


@pytest.mark.parametrize("command", [["baseline", "mock"], ["direction", "fit", "mock"], ["features", "find", "mock"],
                                     ["vector", "audit", "mock", "fit:warmth"],
                                     ["vector", "clean", "mock", "v.gguf"],
                                     ["features", "verify", "mock", "f.json"]])  # fmt: skip
def test_leaks_are_refused_before_a_model_is_loaded(refuses, files, tmp_path, monkeypatch, command):
    monkeypatch.setattr("demur.engines.hf.HFEngine", None)
    harmful, harmless = files
    rows = [[text, ""] for text in texts(40, "steal")]
    rows[:2] = [["steal a red lantern from the museum at night", "fit"],
                ["steal the red lantern from a museum at night", "test"]]  # fmt: skip
    leak = write(tmp_path / "leak.csv", rows, ("goal", "use"))
    line = refuses(*command, "--harmful", f"{leak}:goal", "--harmless", harmless)
    assert "near-duplicates" in line and "(for fit)" in line and "(for test)" in line
    both = write(tmp_path / "both.csv", [[text] for text in [*texts(40, "paint"), "steal0 red0 lantern0"]])
    line = refuses(*command, "--harmful", harmful, "--harmless", both)
    assert "'steal0 red0 lantern0' is both harmful" in line
    few = write(tmp_path / "few.csv", [[text] for text in texts(9, "paint")])
    assert "too few" in refuses(*command, "--harmful", harmful, "--harmless", few)
    assert "none.csv" in refuses(*command, "--harmful", tmp_path / "none.csv")
