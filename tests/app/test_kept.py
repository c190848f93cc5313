"""What is kept is made once, and an error is not kept."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.tabs.kept import kept


def test_those_who_ask_at_the_same_moment_wait_for_one_another():
    made, together = [], threading.Barrier(8)

    @kept(4)
    def slow(key: int) -> list[int]:
        threading.Event().wait(0.05)
        made.append(key)
        return [key]

    def ask(key: int) -> list[int]:
        together.wait()
        return slow(key)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, [1, 2] * 4))
    assert sorted(made) == [1, 2]
    assert answers[0] is answers[2]


def test_the_one_that_was_not_asked_for_longest_is_made_again():
    made = []
    remember = kept(2)(made.append)
    for key in (1, 2, 1, 3, 1, 2):
        remember(key)
    assert made == [1, 2, 3, 2]


def test_an_error_is_not_kept():
    tried = []

    @kept(2)
    def fails_once(key: int) -> int:
        tried.append(key)
        if len(tried) == 1:
            raise ValueError("not yet")
        return key

    with pytest.raises(ValueError, match="not yet"):
        fails_once(1)
    assert fails_once(1) == 1
