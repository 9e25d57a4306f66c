import numpy as np
import pytest
import torch

from demur.activations.disk import Rows
from demur.errors import BadFile, InputError
from demur.types import Site

A, B = Site(1, "post"), Site(2, "post")


def some(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {site: torch.randn(n, 8, generator=generator) for site in (A, B)}


def test_what_was_written_comes_back_in_some_order_as_bf16(tmp_path):
    rows, parts = Rows(tmp_path, [A, B], 8, {}), [some(5), some(7, 1)]
    for part in parts:
        rows.append(part, 1)
    batches = rows.shuffled(B, 6, seed=3)
    found = torch.cat([next(batches), next(batches)])
    whole = torch.cat([part[B] for part in parts]).bfloat16().float()
    assert found.sort(0).values.equal(whole.sort(0).values)
    assert not found.equal(whole)


def test_a_second_opening_goes_on_behind_the_first(tmp_path):
    Rows(tmp_path, [A, B], 8, {}).append(some(5), 2)
    again = Rows(tmp_path, [A, B], 8, {})
    assert (again.count, again.passages) == (5, 2)
    again.append(some(3, 1), 1)
    assert Rows(tmp_path, [A, B], 8, {}).count == 8
    assert (tmp_path / "1.post.bf16").stat().st_size == 8 * 8 * 2


def test_rows_that_a_break_left_half_written_are_written_over(tmp_path):
    Rows(tmp_path, [A, B], 8, {}).append(some(4), 1)
    with (tmp_path / "1.post.bf16").open("ab") as file:
        file.write(b"torn")
    again = Rows(tmp_path, [A, B], 8, {})
    again.append(some(4, 1), 1)
    found = np.fromfile(tmp_path / "1.post.bf16", np.int16).reshape(8, 8)
    assert torch.from_numpy(found).view(torch.bfloat16)[4:].equal(some(4, 1)[A].bfloat16())


def test_skipping_batches_gives_what_reading_them_would(tmp_path):
    rows = Rows(tmp_path, [A, B], 8, {})
    rows.append(some(10), 1)
    whole = rows.shuffled(A, 3, seed=0)
    batches = [next(whole) for _ in range(8)]
    late = rows.shuffled(A, 3, seed=0, start=5)
    assert next(late).equal(batches[5])
    assert next(late).equal(batches[6])


def test_each_pass_has_another_order(tmp_path):
    rows = Rows(tmp_path, [A, B], 8, {})
    rows.append(some(6), 1)
    batches = rows.shuffled(A, 3, seed=0)
    first, second = torch.cat([next(batches), next(batches)]), torch.cat([next(batches), next(batches)])
    assert first.sort(0).values.equal(second.sort(0).values)
    assert not first.equal(second)


def test_another_spec_is_refused(tmp_path):
    Rows(tmp_path, [A, B], 8, {"text": "one"}).append(some(4), 1)
    with pytest.raises(BadFile, match="made otherwise"):
        Rows(tmp_path, [A, B], 8, {"text": "two"})


def test_too_few_rows_for_a_batch_are_an_error(tmp_path):
    rows = Rows(tmp_path, [A, B], 8, {})
    rows.append(some(4), 1)
    with pytest.raises(InputError, match="too few"):
        next(rows.shuffled(A, 5, 0))
