"""Device time of small operations, without launch gaps and without the cache."""

import statistics
from collections.abc import Callable, Sequence

import torch


def graph_microseconds(calls: Sequence[Callable[[], object]], replays: int = 20) -> float:
    """Median device time of one call, in µs.

    The calls (the same operation over different inputs, more of them than the L2 cache holds) are captured in one CUDA
    graph; the time of a replay is divided by their number, so that neither Python, nor launch gaps, nor a warm cache
    are measured.

    Args:
        calls: one for each set of inputs.
        replays: timed replays; the median counts.
    """
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(2):
            for call in calls:
                call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    for _ in range(3):
        graph.replay()
    times = []
    for _ in range(replays):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / len(calls))
    del graph
    return statistics.median(times)


def eager_microseconds(calls: Sequence[Callable[[], object]], repeats: int = 5) -> float:
    """Median time of one call in µs, for what cannot be captured in a graph: launch gaps and host work are in it.

    Args:
        calls: as in `graph_microseconds`.
        repeats: timed rounds over all calls; the median counts.
    """
    times = []
    for _ in range(repeats + 1):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for call in calls:
            call()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / len(calls))
    return statistics.median(times[1:])


def input_sets(bytes_of_one: int, cache_multiples: int = 6, most: int = 64) -> int:
    """How many input sets exceed the L2 cache `cache_multiples` times."""
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    return max(2, min(most, -(-cache_multiples * cache // max(1, bytes_of_one))))


def copy_bandwidth() -> float:
    """Bytes a second of a large device-to-device copy, read and written bytes counted: the ceiling of all operations
    that move memory. The copy is a kernel's: in a graph, `copy_` becomes a transfer node, which is slower."""
    source = torch.randint(0, 255, (2**30,), dtype=torch.uint8, device="cuda").view(torch.int32)
    target = torch.empty_like(source)
    return 2 * source.nbytes / (graph_microseconds([lambda: torch.bitwise_not(source, out=target)] * 4) * 1e-6)


def matmul_rate() -> float:
    """Floating-point operations a second of a large bf16 product on random data: the ceiling of matrix products."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / (graph_microseconds([lambda: a @ b] * 8) * 1e-6)
