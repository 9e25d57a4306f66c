import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.planted import Planted

from demur.attacks import attack
from demur.engines.base import Scored
from demur.evaluation import evaluator, verdicts
from demur.evaluation.evaluator import Arm, Evaluator
from demur.evaluation.items import score_items
from demur.interventions import ablate, add, chain, everywhere
from demur.judges.outcome import OutcomeJudge
from demur.prompts.builtin import builtin, builtin_items
from demur.runs import Journal
from demur.types import Conversation, Decoding, Message, Prompt, Verdict

HARMFUL, PLAIN = builtin("harmful", "test")[:7], builtin("plain", "test")[:6]
SETS = {
    "harmful": [attack(p, "direct") for p in HARMFUL],
    "attacked": [attack(p, name) for name in ("persona", "escalation") for p in HARMFUL[:3]],
    "plain": [attack(p, "direct") for p in PLAIN],
}
ROWS = 3 * sum(map(len, SETS.values()))


class Bf16(Planted):
    """Says that it computes in bf16."""

    @property
    def fingerprint(self):
        return replace(super().fingerprint, dtype="bf16")


class Mortal(Planted):
    """Dies at the n-th call of a method."""

    def __init__(self, method: str, at: int):
        super().__init__()
        self.method, self.at = method, at

    def _live(self, method: str) -> None:
        if method == self.method:
            self.at -= 1
            if self.at == 0:
                raise KeyboardInterrupt

    def generate(self, requests, decoding):
        self._live("generate")
        return super().generate(requests, decoding)

    def logprobs(self, pairs, intervention=None):
        self._live("logprobs")
        return super().logprobs(pairs, intervention)


class Stub:
    """A judge by any rule."""

    name = "stub"

    def __init__(self, rule: Callable[[Any], Any], version: int = 0):
        self.rule, self.version, self.judged = rule, version, 0

    def spec(self):
        return {"judge": "stub", "version": self.version}

    def judge(self, generations):
        self.judged += len(generations)
        return [Verdict(g.key, "stub", self.rule(g)) for g in generations]


def arms(engine: Planted) -> list[Arm]:
    off = ablate(engine.direction, everywhere(engine.n_layers))
    return [Arm("unsteered"), Arm("add", add(engine.direction, 1.5, True)), Arm("ablate", off)]


def shares(table) -> dict[tuple[str, str], list[str]]:
    return {place: [row.verdict.outcome for row in rows] for place, rows in table.items()}


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(evaluator, "BATCH", 8)
    monkeypatch.setattr(verdicts, "JUDGED", 8)


@pytest.fixture(scope="module")
def whole(judge, decoding):
    """The table of an undisturbed run."""
    engine = Planted()
    return Evaluator(engine, judge, decoding).run(arms(engine), SETS)


def test_every_arm_answers_every_prompt_of_every_set_in_order(whole):
    assert list(whole) == [(arm, name) for name in SETS for arm in ("unsteered", "add", "ablate")]
    for (arm, name), rows in whole.items():
        assert [row.generation.arm for row in rows] == [arm] * len(SETS[name])
        assert [row.generation.conversation.prompt for row in rows] == [c.prompt for c in SETS[name]]
        assert [row.verdict.generation for row in rows] == [row.generation.key for row in rows]


def test_the_outcomes_are_the_planted_ones(whole):
    found = shares(whole)
    assert set(found["unsteered", "harmful"]) == set(found["add", "plain"]) == {"refused"}
    assert set(found["add", "attacked"]) == {"refused"}
    assert not {"refused"} & {
        *found["unsteered", "attacked"],
        *found["unsteered", "plain"],
        *found["ablate", "harmful"],
    }


def test_a_rerun_makes_no_engine_call_and_gives_the_same_table(tmp_path, judge, decoding, whole):
    first, again = Planted(), Planted()
    with Journal(tmp_path / "j.sqlite") as journal:
        assert Evaluator(first, judge, decoding, journal).run(arms(first), SETS) == whole
    judged = judge.engine.calls.copy()
    with Journal(tmp_path / "j.sqlite") as journal:
        assert Evaluator(again, judge, decoding, journal).run(arms(again), SETS) == whole
    assert (first.answered, again.answered) == (ROWS, 0)
    assert not again.calls
    assert judge.engine.calls == judged


@pytest.mark.parametrize("dtype", [Planted, Bf16])
@pytest.mark.parametrize("at", [1, 2, 5, 7])
def test_a_killed_run_goes_on_where_it_was(tmp_path, small_batches, judge, decoding, whole, at, dtype):
    class Dying(Mortal, dtype):  # pyright: ignore[reportGeneralTypeIssues,reportUntypedBaseClass]
        """Of either dtype."""

    dying, healthy = Dying("generate", at), dtype()
    with Journal(tmp_path / "j.sqlite") as journal, pytest.raises(KeyboardInterrupt):
        Evaluator(dying, judge, decoding, journal).run(arms(dying), SETS)
    with Journal(tmp_path / "j.sqlite") as journal:
        table = Evaluator(healthy, judge, decoding, journal).run(arms(healthy), SETS)
    assert shares(table) == shares(whole)
    assert dying.answered == 8 * (at - 1)
    assert dying.answered + healthy.answered == ROWS


def test_a_run_killed_while_judging_generates_nothing_again(tmp_path, small_batches, judge, decoding, whole):
    dying, healthy = Mortal("logprobs", 4), Planted()
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(KeyboardInterrupt):
            Evaluator(healthy, OutcomeJudge(dying, judge.band, judge.others), decoding, journal).run(
                arms(healthy), SETS
            )
        calls = healthy.calls.copy()
        table = Evaluator(healthy, judge, decoding, journal).run(arms(healthy), SETS)
    assert shares(table) == shares(whole)
    assert healthy.calls == calls


def test_a_changed_judge_judges_anew_and_generates_nothing(tmp_path, judge, decoding, whole):
    engine = Planted()
    other = OutcomeJudge(Planted(), replace(judge.band, high=judge.band.high * 2), judge.others)
    with Journal(tmp_path / "j.sqlite") as journal:
        Evaluator(engine, judge, decoding, journal).run(arms(engine), SETS)
        rows = engine.answered
        table = Evaluator(engine, other, decoding, journal).run(arms(engine), SETS)
        assert engine.answered == rows
        assert isinstance(other.engine, Planted)
        assert other.engine.calls["logprobs"] > 0
        key = table["add", "plain"][0].generation.key
        assert len(journal.verdicts_of([key])[key]) == 2
    assert {p: [r.generation for r in rows] for p, rows in table.items()} == {
        p: [r.generation for r in rows] for p, rows in whole.items()
    }


class Numbered(Bf16):
    """Its answers end with the number of the call that made them: bf16 at its worst."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def _answer(self, c, steer):
        return [*super()._answer(c, steer)[:4], self.name]


def forget(path, key: str) -> None:
    with sqlite3.connect(path) as raw:
        assert raw.execute("DELETE FROM generations WHERE key = ?", [key]).rowcount == 1
    raw.close()


def test_in_bf16_a_missing_row_is_made_again_among_its_whole_batch_and_the_others_stay(
    tmp_path, small_batches, judge, decoding
):
    path, first, second = tmp_path / "j.sqlite", Numbered("first"), Numbered("second")
    with Journal(path) as journal:
        before = Evaluator(first, judge, decoding, journal).run(arms(first), SETS)
    lost = before["add", "harmful"][3].generation
    forget(path, lost.key)
    with Journal(path) as journal:
        after = Evaluator(second, judge, decoding, journal).run(arms(second), SETS)
        stored = journal.generations(row.generation.key for rows in after.values() for row in rows)
    assert second.answered == 8
    texts = {place: [row.generation.text for row in rows] for place, rows in after.items()}
    assert [text.endswith("second") for rows in texts.values() for text in rows].count(True) == 1
    assert texts["add", "harmful"][3].endswith("second")
    assert all(stored[row.generation.key].text == row.generation.text for rows in after.values() for row in rows)


def test_in_fp32_only_the_missing_row_is_made_again(tmp_path, judge, decoding, whole):
    path, engine = tmp_path / "j.sqlite", Planted()
    with Journal(path) as journal:
        Evaluator(engine, judge, decoding, journal).run(arms(engine), SETS)
    forget(path, whole["ablate", "plain"][2].generation.key)
    engine.answered = 0
    with Journal(path) as journal:
        assert Evaluator(engine, judge, decoding, journal).run(arms(engine), SETS) == whole
    assert engine.answered == 1


def test_in_bf16_a_row_among_others_is_another_row(tmp_path, judge, decoding):
    engine, few = Bf16(), {"harmful": SETS["harmful"][:3]}
    with Journal(tmp_path / "j.sqlite") as journal:
        for sets in (SETS, few, few):
            Evaluator(engine, judge, decoding, journal).run([Arm("unsteered")], sets)
    assert engine.answered == sum(map(len, SETS.values())) + 3


def ask(id: str, text: str) -> Conversation:
    return Conversation(Prompt(id, text, "s", "plain"), (Message("user", text),))


@pytest.mark.parametrize(("dtype", "made"), [(Planted, 2), (Bf16, 5)])
def test_equal_requests_are_generated_once_in_fp32_and_each_among_its_own_in_bf16(
    tmp_path, judge, decoding, dtype, made
):
    engine = dtype()
    sets = {"a": [ask("1", "bake bread"), ask("2", "a poem"), ask("3", "bake bread")], "b": [ask("4", "bake bread")]}
    with Journal(tmp_path / "j.sqlite") as journal:
        run = journal.start_run({"a": 1})
        arms = [Arm("unsteered")] + [Arm("nothing", chain())] * (dtype is Planted)
        own = Evaluator(engine, judge, decoding, journal, run_id=run)
        table = own.run(arms, sets | {"c": [ask("5", "a poem")]})
    assert engine.answered == made
    rows = [row for place in table.values() for row in place]
    assert {row.generation.arm for row in rows} == {arm for arm, _ in table}
    assert [row.generation.conversation.prompt.id for row in table["unsteered", "a"]] == ["1", "2", "3"]
    assert table["unsteered", "b"][0].generation.conversation.prompt.id == "4"


def test_equal_answers_have_one_verdict_in_the_first_run_as_in_every_later_one(tmp_path, small_batches, decoding):
    """Also when they stand in different batches and the judge would look at the prompt's id."""
    stub = Stub(lambda g: "refused" if g.conversation.prompt.id == "0" else "complied")
    sets = {"a": [ask(str(i), "bake bread" if i in (0, 19) else f"poem {i}") for i in range(20)]}
    with Journal(tmp_path / "j.sqlite") as journal:
        tables = [Evaluator(Planted(), stub, decoding, journal).run([Arm("unsteered")], sets) for _ in range(2)]
    assert shares(tables[0]) == shares(tables[1])
    assert shares(tables[0])["unsteered", "a"] == ["refused", *["complied"] * 18, "refused"]
    assert stub.judged == 19


def test_played_turns_are_kept_and_come_back_from_the_journal(tmp_path, judge, decoding):
    sets = {"turns": [attack(p, "escalation") for p in HARMFUL[:3]]}
    assert any(m.content is None for c in sets["turns"] for m in c.messages)
    engine = Planted()
    with Journal(tmp_path / "j.sqlite") as journal:
        first, again = (
            Evaluator(engine, judge, decoding, journal).run([Arm("unsteered")], sets)["unsteered", "turns"]
            for _ in range(2)
        )
    assert engine.answered == 3
    assert first == again
    assert all(m.content for row in first for m in row.generation.conversation.messages)


def test_the_run_knows_its_rows(tmp_path, judge, decoding, whole):
    engine = Planted()
    with Journal(tmp_path / "j.sqlite") as journal:
        run = journal.start_run({"a": 1})
        Evaluator(engine, judge, decoding, journal, run_id=run).run(arms(engine), SETS)
        rows = {(row.arm, row.set, row.position): row.generation for row in journal.rows(run)}
    assert rows == {(a, s, i): row.generation for (a, s), part in whole.items() for i, row in enumerate(part)}


def test_sampled_answers_to_equal_requests_are_drawn_one_by_one(tmp_path, judge):
    engine, sets = Planted(), {"a": [ask("1", "bake bread"), ask("2", "bake bread")]}
    with Journal(tmp_path / "j.sqlite") as journal:
        for seed in (0, 0, 1):
            decoding = Decoding(max_new_tokens=8, temperature=1.0, seed=seed)
            Evaluator(engine, judge, decoding, journal).run([Arm("unsteered")], sets)
    assert engine.answered == 4


def test_progress_names_its_phase_and_ends_at_the_total(judge, decoding, small_batches):
    seen: list[tuple[str, int, int]] = []
    engine = Planted()
    watched = Evaluator(engine, judge, decoding, progress=lambda *at: seen.append(at))
    watched.run([Arm("unsteered")], {"a": SETS["harmful"], "b": SETS["plain"]})
    watched.score([Arm("unsteered")], builtin_items("test")[:3])
    assert [step for step in seen if step[0] == "generating"] == [("generating", n, 13) for n in (0, 8, 13)]
    assert seen[3:] == [*(("judging", n, 13) for n in (0, 8, 13)), *(("scoring arms on items", n, 1) for n in (0, 1))]


ITEMS = builtin_items("test")[:12]


@pytest.mark.parametrize("batch", [5, 192])
def test_scores_are_kept_and_the_likeliest_choice_counts(tmp_path, monkeypatch, judge, decoding, batch):
    monkeypatch.setattr(evaluator, "BATCH", batch)
    engine = Planted()
    lone = [replace(item, id=f"lone-{i}", choices=(item.choices[item.gold],), gold=0) for i, item in enumerate(ITEMS)]
    expected = {
        tuple(ITEMS): [
            max(c, key=lambda s: s.total) is c[i.gold] for i, c in zip(ITEMS, score_items(engine, ITEMS), strict=True)
        ],
        tuple(lone): [c[0].greedy for c in score_items(engine, lone)],
    }
    engine.calls.clear()
    with Journal(tmp_path / "j.sqlite") as journal:
        for items, right in expected.items():
            found = Evaluator(engine, judge, decoding, journal).score(arms(engine), items)
            assert found == {"unsteered": right, "add": right, "ablate": right}
            assert 0 < sum(right) < len(right)
            calls = engine.calls.copy()
            assert Evaluator(engine, judge, decoding, journal).score(arms(engine), items) == found
            assert engine.calls == calls


def test_an_arm_killed_while_scoring_goes_on(tmp_path, monkeypatch, judge, decoding):
    monkeypatch.setattr(evaluator, "BATCH", 5)

    class Dying(Planted):
        """Dies at its third batch."""

        def logprobs(self, pairs, intervention=None):
            if self.calls["logprobs"] == 2:
                raise KeyboardInterrupt
            return super().logprobs(pairs, intervention)

    healthy = Planted()
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(KeyboardInterrupt):
            Evaluator(Dying(), judge, decoding, journal).score([Arm("unsteered")], ITEMS)
        found = Evaluator(healthy, judge, decoding, journal).score([Arm("unsteered")], ITEMS)
    assert healthy.calls["logprobs"] == 1
    assert found == Evaluator(healthy, judge, decoding).score([Arm("unsteered")], ITEMS)


@pytest.mark.parametrize(("dtype", "calls"), [(Planted, 1), (Bf16, 2)])
def test_in_bf16_an_item_among_others_is_scored_again(tmp_path, judge, decoding, dtype, calls):
    engine = dtype()
    with Journal(tmp_path / "j.sqlite") as journal:
        for items in (ITEMS, ITEMS[:4], ITEMS[:4]):
            Evaluator(engine, judge, decoding, journal).score([Arm("unsteered")], items)
    assert engine.calls["logprobs"] == calls


def test_of_equally_likely_choices_the_first_counts(judge, decoding):
    class Torn(Planted):
        """Finds all choices alike."""

        def logprobs(self, pairs, intervention=None):
            return [Scored((-1.0,), False) for _ in pairs]

    right = Evaluator(Torn(), judge, decoding).score([Arm("unsteered")], ITEMS)["unsteered"]
    assert right == [item.gold == 0 for item in ITEMS]
