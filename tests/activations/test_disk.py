import json
import os
import random
import subprocess
import sys

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


def test_a_flipped_bit_in_the_rows_is_found_before_they_are_used(tmp_path):
    rows = Rows(tmp_path, [A, B], 8, {})
    rows.append(some(4), 1)
    rows.append(some(5, 1), 1)
    path, dice = tmp_path / f"{B}.bf16", random.Random(0)
    clean = path.read_bytes()
    for _ in range(50):
        data, place = bytearray(clean), dice.randrange(len(clean))
        data[place] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        damaged = Rows(tmp_path, [A, B], 8, {})
        part = "0 to 3" if place < 4 * 16 else "4 to 8"
        for read in (lambda r=damaged: next(r.shuffled(B, 3, 0)), lambda r=damaged: r.moments(B)):
            with pytest.raises(BadFile, match=rf"2\.post\.bf16 is damaged in rows {part} \(sha256\)"):
                read()
        next(damaged.shuffled(A, 3, 0))


def test_a_file_that_was_cut_or_is_gone_is_refused(tmp_path):
    Rows(tmp_path, [A, B], 8, {}).append(some(4), 1)
    path = tmp_path / f"{B}.bf16"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadFile, match=r"has 63 bytes, 4 rows have 64: it was cut"):
        Rows(tmp_path, [A, B], 8, {})
    path.unlink()
    with pytest.raises(BadFile, match="has 0 bytes"):
        Rows(tmp_path, [A, B], 8, {})


def test_a_damaged_index_is_a_bad_file(tmp_path):
    Rows(tmp_path, [A, B], 8, {}).append(some(4), 1)
    path, dice = tmp_path / "rows.json", random.Random(0)
    clean = path.read_bytes()
    texts = [b"", b"[]", b"{}", b"[" * 100_000, clean.replace(b'"rows": 4', b'"rows": 3')]
    for _ in range(200):
        data = bytearray(clean)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        texts.append(bytes(data))
    for data in [*texts, *(clean[:n] for n in range(0, len(clean) - 1, 7))]:
        path.write_bytes(data)
        try:
            same = json.loads(data) == json.loads(clean)  # white space
        except (ValueError, RecursionError):
            same = False
        if same:
            continue
        with pytest.raises(BadFile, match="remove"):
            Rows(tmp_path, [A, B], 8, {})


def test_rows_are_on_disk_before_the_index_says_so(tmp_path, monkeypatch):
    order = []
    real = os.fsync

    def fsync(handle):
        order.append(os.readlink(f"/proc/self/fd/{handle}").rsplit("/", 1)[-1].rsplit(".", 1)[-1])
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    Rows(tmp_path, [A, B], 8, {}).append(some(4), 1)
    assert order == ["bf16", "bf16", "tmp"]


FULL = """
import resource, sys
import torch
from demur.activations.disk import Rows
from demur.errors import OutOfRoom
from demur.types import Site
A = Site(1, "post")
rows = Rows(sys.argv[1], [A], 8, {})
rows.append({A: torch.ones(100, 8)}, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    rows.append({A: torch.ones(100, 8)}, 1)
except OutOfRoom as error:
    print(error)
print(Rows(sys.argv[1], [A], 8, {}).count, rows.count, len(next(rows.shuffled(A, 100, 0))))
"""


def test_a_full_disk_keeps_the_rows_that_were_whole(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert done.stderr == "" and "no room to write" in done.stdout and done.stdout.endswith("100 100 100\n")
