"""What several visitors ask for is made once, also when they ask at the same moment."""

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made = False
        self.value = None


def kept(most: int) -> Callable[[Callable[Arguments, Made]], Callable[Arguments, Made]]:
    """Keep what the function returned for the ``most`` arguments asked for last; they must be hashable.

    Who asks for what is being made waits for it. An error is not kept: the next who asks tries again.
    """

    def decorate(function: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
        slots = functools.lru_cache(maxsize=most)(lambda *arguments: _Slot())
        finding = threading.Lock()

        @functools.wraps(function)
        def call(*arguments):
            with finding:
                slot = slots(*arguments)
            with slot.lock:
                if not slot.made:
                    slot.value = function(*arguments)
                    slot.made = True
            return slot.value

        return call

    return decorate
