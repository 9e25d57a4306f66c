import gzip

import pytest

from demur.errors import BadFile, InputError
from demur.sae_training.data import chats, collect, passages, read_text
from demur.types import Site

TEXT = "How do I bake bread with yeast, flour and warm water?\nWrite a short poem about the sea.\n" * 12


def test_text_is_read_packed_or_not(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    with gzip.open(tmp_path / "a.txt.gz", "wt") as file:
        file.write(TEXT)
    assert read_text(tmp_path / "a.txt") == read_text(tmp_path / "a.txt.gz") == TEXT
    (tmp_path / "b.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(BadFile, match="no readable text"):
        read_text(tmp_path / "b.txt.gz")


def test_chats_carry_the_models_own_answers(tiny, talk):
    engine = tiny("llama").engine
    rows = chats(engine, [talk("Write a short poem"), talk("Hi")])
    assert [row.prompt_length < len(row.tokens) for row in rows] == [True, True]


def test_with_nothing_to_read_there_is_an_error(tiny):
    with pytest.raises(InputError, match="nothing to read"):
        passages(tiny("llama").engine, [], [], "fit")


def test_collecting_goes_on_where_it_was_broken_off(tiny, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(TEXT)
    engine, sites = tiny("llama").engine, [Site(0, "post"), Site(1, "post")]
    rows = passages(engine, [tmp_path / "a.txt"], [], "fit")["text"]
    monkeypatch.setattr("demur.engines.passages.TOKENS", 256)
    whole = collect(engine, rows, sites, tmp_path / "whole", 10_000)

    class Break(Exception):
        pass

    def stop(*_):
        raise Break

    with pytest.raises(Break):
        collect(engine, rows, sites, tmp_path / "broken", 10_000, stop)
    again = collect(engine, rows, sites, tmp_path / "broken", 10_000)
    assert again.count == whole.count == sum(len(row.tokens) - 1 for row in rows)
    for site in sites:
        assert next(again.shuffled(site, 32, 0)).equal(next(whole.shuffled(site, 32, 0)))


def test_collecting_ends_with_enough_tokens(tiny, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(TEXT)
    engine = tiny("llama").engine
    monkeypatch.setattr("demur.engines.passages.TOKENS", 256)
    rows = passages(engine, [tmp_path / "a.txt"], [], "fit")["text"]
    stored = collect(engine, rows, [Site(1, "post")], tmp_path / "few", 100)
    assert 100 <= stored.count < 500
