"""Measuring the tensors that a computation holds, on machines whose allocator does not count."""

import functools
import weakref
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LiveTensorBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside the context for as long as they live.

    This is what `torch.cuda.memory_allocated` counts on a GPU, for the CPU: every storage that an operator returns is
    added when it is made and subtracted when it is freed, whoever holds it (the caller, or autograd for the backward
    pass). Scratch memory inside an operator is not seen.

    Attributes:
        live_bytes: now.
        peak_bytes: the most since the context was entered or `reset_peak` was called.

    Args:
        on_growth: called after each growth with the live bytes.
    """

    def __init__(self, on_growth: Callable[[int], None] = lambda live: None):
        super().__init__()
        self.live_bytes = 0
        self.peak_bytes = 0
        self._on_growth = on_growth
        self._known: dict[int, weakref.ref] = {}

    def reset_peak(self) -> None:
        """Forget the peak so far."""
        self.peak_bytes = self.live_bytes

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if _returns_aliases(func):  # a view, or an operation in place: no storage is new
            return result
        before = self.live_bytes
        for item in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(item, torch.Tensor):
                self._track(item.untyped_storage(), args)
        if self.live_bytes > before:
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)
            self._on_growth(self.live_bytes)
        return result

    def _track(self, storage: torch.UntypedStorage, args: tuple) -> None:
        key = storage._cdata
        # A few operators (`_unsafe_view`, `_to_copy` to the same dtype) return an argument's storage unannounced.
        if key in self._known or any(isinstance(a, torch.Tensor) and a.untyped_storage()._cdata == key for a in args):
            return
        size = storage.nbytes()

        def freed(_):
            del self._known[key]
            self.live_bytes -= size

        self._known[key] = weakref.ref(storage, freed)
        self.live_bytes += size


@functools.cache
def _returns_aliases(func) -> bool:
    return any(value.alias_info is not None for value in func._schema.returns)
