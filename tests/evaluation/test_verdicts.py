"""Verdicts through the journal, of one judge and of several."""

from dataclasses import replace

import pytest
from tests.hashed import rows
from tests.keywords import Keywords

from demur.errors import InputError
from demur.evaluation.verdicts import beside, in_words, judged, planned_calls
from demur.judges.base import Estimate
from demur.judges.rubric import RubricJudge
from demur.runs import Journal
from demur.types import Generation

TABLE = {("unsteered", "s"): rows("rrc"), ("add", "s"): rows("ccc", arm="add")}


def answers(n: int = 5) -> list[Generation]:
    return [replace(row.generation, text="sorry" if i % 2 else "fine") for i, row in enumerate(rows("c" * n))]


class Counting(Keywords):
    """Counts, and says when its weights are in memory."""

    held: list[str] = []

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.asked = name, 0

    def judge(self, generations):
        if self.name not in self.held:
            self.held.append(self.name)
        assert self.held == [self.name]
        self.asked += len(generations)
        return super().judge(generations)

    def release(self) -> None:
        self.held[:] = [name for name in self.held if name != self.name]


def test_verdicts_are_in_order_and_are_not_made_twice(tmp_path):
    judge = Counting("keywords")
    with Journal(tmp_path / "j.sqlite") as journal:
        first = judged(judge, answers(), journal, lambda *_: None)
        assert [verdict.outcome for verdict in first] == ["complied", "refused", "complied", "refused", "complied"]
        assert judged(judge, answers()[::-1], journal, lambda *_: None) == first[::-1]
    assert judge.asked == 5
    judge.release()


def test_what_a_model_said_before_it_failed_is_kept_and_it_is_seen_how_far_it_is(tmp_path):
    class Failing(Counting):
        def judge(self, generations):
            if self.asked >= 64:
                raise RuntimeError("out of memory")
            return super().judge(generations)

    seen, judge, n = [], Failing("held"), 100
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(RuntimeError):
            judged(judge, answers(n), journal, lambda *at: seen.append(at))
        judge.release()
        again = Counting("held")
        assert len(judged(again, answers(n), journal, lambda *_: None)) == n
    again.release()
    assert again.asked == n - 64
    assert seen == [("judging, held", done, n) for done in (0, 32, 64)]


def test_each_judge_has_its_own_verdicts_and_one_of_their_models_is_in_memory_at_a_time(tmp_path):
    judges = [Counting("a"), Counting("b")]
    with Journal(tmp_path / "j.sqlite") as journal:
        found = beside(judges, TABLE, journal, lambda *_: None)
        again = beside(judges, TABLE, journal, lambda *_: None)
    assert Counting.held == []
    assert [one.judge.name for one in found] == ["a", "b"]
    for one, same in zip(found, again, strict=True):
        assert one.table == same.table and one.table.keys() == TABLE.keys()
        for place, some in one.table.items():
            assert [row.generation for row in some] == [row.generation for row in TABLE[place]]
            assert {row.verdict.judge for row in some} == {one.judge.name}
    assert [judge.asked for judge in judges] == [6, 6]


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(1, 100, 20), "1 call, about 100 tokens in and 20 or more out"),
        (Estimate(2400, 1_100_000, 48_000, 1.234), "2400 calls, about 1,100,000 tokens in and 48,000 or more out, "
         "about $1.23"),
        (Estimate(3, 1, 1, 0.0), "3 calls, about 1 tokens in and 1 or more out, about $0.00"),
    ],
)  # fmt: skip
def test_what_it_will_take_in_words(estimate, said):
    assert in_words(estimate) == said


def test_a_run_says_what_its_judges_will_cost_before_there_is_an_answer():
    paid = RubricJudge("https://host/v1", "m", name="paid", price=(1.0, 2.0))
    (line,) = planned_calls(["rules", Keywords(), paid], 240, 48)
    assert line.startswith("paid: up to 240 calls, about ") and "$" in line
    assert planned_calls(None, 240, 48) == []
    shorter = planned_calls(paid, 240, 8)[0]
    assert line != shorter


@pytest.mark.parametrize(
    ("places", "said"),
    [((0, 1), "gave 2 verdicts on 3 answers"), ((0, 1, 1), "verdict on answer 1 of 3"), ((0, 7), "answer 7 of 3")],
)
def test_a_judge_that_asks_somebody_gives_one_verdict_an_answer(places, said):
    class Uneven(Keywords):
        def each(self, generations):
            made = self.judge(generations)
            yield from ((place, made[place % 3]) for place in places)

        def estimate(self, generations):
            return Estimate(len(generations), 1, 1)

    with pytest.raises(InputError, match=said):
        judged(Uneven(), answers(3), None, lambda *_: None)
