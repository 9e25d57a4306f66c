"""Work on several items at once."""

import threading
import time

import pytest

from demur.judges.parallel import as_made


def test_all_is_done_at_most_so_many_at_once():
    under_way, most, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.005)
        with lock:
            under_way -= 1
        return item * item

    found = dict(as_made(work, range(20), 4))
    assert found == {i: i * i for i in range(20)}
    assert 2 <= most <= 4
    assert list(as_made(work, [], 4)) == []


def test_what_is_done_first_comes_first():
    first = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert first.wait(5)
        else:
            first.set()
        return item

    assert [place for place, _ in as_made(work, range(2), 2)] == [1, 0]


def test_after_an_error_nothing_is_begun_and_what_was_under_way_still_comes():
    begun, failing = [], threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            failing.set()
            raise ValueError("one")
        assert failing.wait(5)
        time.sleep(0.05)
        return item

    found = []
    with pytest.raises(ValueError, match="one"):
        found.extend(as_made(work, range(50), 2))
        raise AssertionError
    assert len(begun) <= 3
    given: list[int] = []
    begun.clear()
    failing.clear()
    with pytest.raises(ValueError):
        for place, _ in as_made(work, range(50), 2):
            given.append(place)
    assert given == [item for item in begun if item != 1]


def test_who_stops_looking_stops_the_work():
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.005)
        return item

    found = as_made(work, range(1000), 2)
    next(found)
    found.close()  # pyright: ignore[reportAttributeAccessIssue]
    time.sleep(0.05)
    assert len(begun) < 20
