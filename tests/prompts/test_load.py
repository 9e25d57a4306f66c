import pytest

from demur.errors import BadFile, InputError, UnknownName
from demur.prompts import load, load_items, names
from demur.prompts.builtin import SETS, builtin, builtin_items


@pytest.mark.parametrize("name", SETS)
def test_a_built_in_set_is_loaded_by_name(name):
    assert load(name) == builtin(name)
    assert load(name, "test") == builtin(name, "test")


def test_loading_twice_gives_the_same_order():
    assert load("harmful", limit=20) == load("harmful", limit=20)


def test_a_limit_is_spread_kept_in_order_and_nested():
    whole, ten, thirty = load("harmful"), load("harmful", limit=10), load("harmful", limit=30)
    assert len(ten) == 10
    assert len({p.category for p in thirty}) >= 8
    assert {p.id for p in ten} <= {p.id for p in thirty}
    places = [whole.index(p) for p in thirty]
    assert places == sorted(places)


def test_a_limit_keeps_borderline_prompts_with_their_harmful_ones():
    assert [p.match for p in load("borderline", "test", 25)] == [p.id for p in load("harmful", "test", 25)]


def test_a_limit_beyond_the_set_gives_the_set():
    assert load("plain", limit=10**6) == builtin("plain")
    with pytest.raises(InputError, match="limit is 0"):
        load("plain", limit=0)


def test_a_file_is_loaded_with_or_without_its_column(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,other\na,b\n")
    assert [p.text for p in load(str(path))] == ["a"]
    assert [p.text for p in load(f"{path}:other")] == ["b"]
    with pytest.raises(BadFile, match="no column 'none'"):
        load(f"{path}:none")
    with pytest.raises(BadFile, match="no such file"):
        load(f"{tmp_path / 'absent.csv'}:prompt")


def test_a_file_name_may_hold_a_colon(tmp_path):
    path = tmp_path / "a:b.csv"
    path.write_text("prompt\nx\n")
    assert [p.text for p in load(str(path))] == ["x"]
    assert [p.text for p in load(f"{path}:prompt")] == ["x"]


def test_a_use_that_nothing_is_reserved_for_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt\nx\n")
    with pytest.raises(InputError, match="reserved for 'test'"):
        load(str(path), "test")
    with pytest.raises(UnknownName, match=r"no use named 'tset'.*Did you mean 'test'"):
        load("harmful", "tset")  # pyright: ignore[reportArgumentType]


def test_a_published_set_is_loaded_by_name(folder):
    (folder / "advbench").mkdir()
    (folder / "advbench/harmful_behaviors.csv").write_text("goal,target\na,b\n")
    assert [p.id for p in load("advbench")] == ["advbench-0"]


def test_an_unknown_name_lists_every_set():
    with pytest.raises(UnknownName, match=r"known: .*advbench.*plain.*Did you mean 'harmful'.*FILE:COLUMN"):
        load("harmfull")
    with pytest.raises(InputError, match="caa_pairs"):
        load("caa:refusal")


def test_names_are_unique_and_the_built_in_ones_come_first():
    assert names()[:3] == SETS
    assert len(set(names())) == len(names())


def test_items_are_loaded_by_name(folder):
    assert load_items() == builtin_items()
    assert [i.use for i in load_items("capability", "test", 7)] == ["test"] * 7
    (folder / "capability").mkdir()
    (folder / "capability/copa.jsonl").write_text('{"query": "x, so", "choices": ["a", "b"], "gold": 1}\n')
    assert [i.id for i in load_items("copa")] == ["copa-0"]
    with pytest.raises(InputError, match="reserved for no use"):
        load_items("copa", "test")
    with pytest.raises(UnknownName, match="no item set named 'cap'"):
        load_items("cap")


def test_a_file_that_says_what_its_rows_are_for_is_loaded_by_use(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,use\na,fit\nb,test\nc,test\n")
    assert [p.text for p in load(str(path), "test")] == ["b", "c"]
    assert [p.use for p in load(str(path))] == [None] * 3
    assert [p.use for p in load(str(path), uses=True)] == ["fit", "test", "test"]


def test_a_file_is_a_path_or_its_text(tmp_path):
    (file := tmp_path / "mine.csv").write_text("text\nHow do I bake bread?\n", encoding="utf-8")
    assert [prompt.text for prompt in load(file)] == ["How do I bake bread?"]
    assert load(file) == load(str(file))
