"""Locks on files that end with the process that holds them, however that ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Inside, no other thread or process is inside with the same file."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def held_lock(path: Path, *, wait: bool = True) -> Iterator[int]:
    """A descriptor with an exclusive lock. Closing ours keeps the lock as long as a child has inherited it.

    Args:
        path: of the file, which is made if it is missing.
        wait: until nobody else holds it.

    Raises:
        BlockingIOError: somebody else holds it, and `wait` is false.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a process holds the exclusive lock on this file; False when there is no such file."""
    try:
        with path.open("rb") as file:
            # Shared, so that two who look at the same moment do not take each other for the holder.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
