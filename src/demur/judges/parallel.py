"""Work on several items at once, in threads that nothing has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def as_made(work: Callable[[A], B], items: Sequence[A], parallel: int) -> Iterator[tuple[int, B]]:
    """(place, work(item)) in the order in which they are done, at most `parallel` under way.

    After an error nothing more is begun; what was under way is still given, then the first error is raised. The threads
    are daemons: a program that is stopped does not wait for a reply.
    """
    places, lock, stop = iter(range(len(items))), threading.Lock(), threading.Event()
    done: SimpleQueue[tuple[int, list[B], BaseException | None] | None] = SimpleQueue()

    def worker() -> None:
        while not stop.is_set():
            with lock:
                place = next(places, None)
            if place is None:
                break
            try:
                done.put((place, [work(items[place])], None))
            except BaseException as error:
                stop.set()
                done.put((place, [], error))
        done.put(None)

    running = min(parallel, len(items))
    for _ in range(running):
        threading.Thread(target=worker, daemon=True).start()
    failed: BaseException | None = None
    try:
        while running:
            if (found := done.get()) is None:
                running -= 1
                continue
            place, value, error = found
            failed = failed or error
            for made in value:
                yield place, made
    finally:
        stop.set()
    if failed is not None:
        raise failed
