"""The one look-up, on a dictionary for a journal and rows that say which call made them."""

import pytest

from demur.evaluation.cached import cached


class Shelf:
    """A journal that keeps what it has, and a maker that counts its calls."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.made: list[list[str]] = []

    def look(self, rows: str, dtype: str) -> tuple[list[str], int]:
        """Each letter is a row; its value names the row and the call that made it."""

        def make(wanted, keys):
            assert len(wanted) == len(keys)
            self.made.append([rows[i] for i in wanted])
            return [f"{rows[i]}{len(self.made)}" for i in wanted]

        def store(fresh):
            self.kept = {**fresh, **self.kept}

        return cached(lambda i, batch: f"{rows[i]}@{batch}", len(rows), dtype, lambda keys: {
            key: self.kept[key] for key in keys if key in self.kept}, make, store)  # fmt: skip

    def lose(self, row: str) -> None:
        """Forget the one row of this letter."""
        (key,) = [key for key in self.kept if key.startswith(f"{row}@")]
        del self.kept[key]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_in_fp32_only_what_is_missing_is_made(shelf):
    assert shelf.look("abc", "fp32") == (["a1", "b1", "c1"], 3)
    assert shelf.look("bdc", "fp32") == (["b1", "d2", "c1"], 1)
    assert shelf.look("dcba", "fp32") == (["d2", "c1", "b1", "a1"], 0)
    assert shelf.made == [["a", "b", "c"], ["d"]]


def test_in_fp32_equal_rows_are_made_once_and_in_bf16_each_in_its_place(shelf):
    assert shelf.look("aba", "fp32") == (["a1", "b1", "a1"], 2)
    assert shelf.look("aba", "bf16") == (["a2", "b2", "a2"], 3)
    assert shelf.made == [["a", "b"], ["a", "b", "a"]]
    assert len(shelf.kept) == 2 + 3


def test_in_bf16_a_batch_that_lacks_a_row_is_made_whole_and_what_was_stored_wins(shelf):
    assert shelf.look("abc", "bf16") == (["a1", "b1", "c1"], 3)
    assert shelf.look("abc", "bf16") == (["a1", "b1", "c1"], 0)
    shelf.lose("b")
    assert shelf.look("abc", "bf16") == (["a1", "b2", "c1"], 3)
    assert shelf.made[-1] == ["a", "b", "c"]
    assert sorted(shelf.kept.values()) == ["a1", "b2", "c1"]


@pytest.mark.parametrize("other", ["ab", "bac", "abd", "abca"])
def test_in_bf16_rows_among_others_or_in_another_order_are_other_rows(shelf, other):
    shelf.look("abc", "bf16")
    assert shelf.look(other, "bf16")[1] == len(other)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_of_no_rows_nothing_is_made_and_nothing_stored(shelf, dtype):
    assert shelf.look("", dtype) == ([], 0)
    assert (shelf.made, shelf.kept) == ([], {})
