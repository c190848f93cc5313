"""Every operator beside the hardware's ceilings, and beside what others would use.

The others, measured in the same run over the same weights: the product with an unquantized weight ("bf16");
bitsandbytes where it is installed; and the plain table look-up, compiled by torch ("compiled look-up").
"""

import datetime
import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator
from dataclasses import dataclass

import torch

import qlora
from qlora.bench.timing import copy_bandwidth, eager_microseconds, graph_microseconds, input_sets, matmul_rate
from qlora.errors import InputError
from qlora.kernels import ops
from qlora.quantization.codebook import decision_thresholds

SHAPES = ((4096, 4096), (4096, 11008), (11008, 4096), (8192, 22016), (22016, 8192))
ROWS = (1, 4, 16, 32, 64, 512, 2048, 8192)


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        operator: "dequantize", "quantize", "linear" or "linear_backward" (the gradient for x).
        program: "qlora", "bf16" (the product with an unquantized weight), "bitsandbytes", "bitsandbytes, eager" (timed
            without a graph), or "compiled look-up".
        out_features, in_features, rows: shape of the weight; rows of x (0 where there is none).
        microseconds: device time of one call.
        least_bytes: that must move at least.
        share: of the ceiling: copy bandwidth for quantize and dequantize; for products the time that the packed bytes
            take at copy bandwidth, or the arithmetic at the matmul rate, whichever is longer, over the time taken.
    """

    operator: str
    program: str
    out_features: int
    in_features: int
    rows: int
    microseconds: float
    least_bytes: int
    share: float


def measure(shapes=SHAPES, row_counts=ROWS) -> tuple[dict, list[Row]]:
    """Measure all operators; returns the conditions (device, versions, date, ceilings) and the rows.

    Raises:
        InputError: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise InputError("qlora bench kernels measures GPU kernels, and torch finds no CUDA device on this machine.")
    conditions = {
        "device": torch.cuda.get_device_name(),
        "date": datetime.date.today().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "triton": importlib.import_module("triton").__version__,
            "qlora": qlora.__version__,
            **({"bitsandbytes": importlib.metadata.version("bitsandbytes")} if _bitsandbytes_runs() else {}),
        },
        "command": "qlora bench kernels",
        "method": "median of 20 CUDA-graph replays over input sets of six times the L2 cache",
        "copy_bytes_per_second": copy_bandwidth(),
        "matmul_flops_per_second": matmul_rate(),
    }
    rows: list[Row] = []
    for shape in shapes:
        rows += _memory_rows(shape, conditions)
        rows += _product_rows(shape, row_counts, conditions)
        torch.cuda.empty_cache()
    return conditions, rows


def _memory_rows(shape: tuple[int, int], conditions: dict) -> Iterator[Row]:
    numel = shape[0] * shape[1]
    sets = input_sets(2 * numel)
    weights = [torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
    quantized = [qlora.quantize(w) for w in weights]
    least = 2 * numel + quantized[0].nbytes
    out = [torch.empty_like(w) for w in weights]
    thresholds, order = decision_thresholds("nf4")

    def both(w):
        _, absmax = ops.quantize(w, thresholds, order, 64)
        ops.quantize_absmax(absmax)

    calls = {
        ("dequantize", "qlora"): [lambda q=q: q.dequantize(torch.bfloat16) for q in quantized],
        ("quantize", "qlora"): [lambda w=w: both(w) for w in weights],
    }
    compiled = torch.compile(_plain_look_up, dynamic=False)
    calls["dequantize", "compiled look-up"] = [lambda q=q: compiled(*q.tensors(), q.shape) for q in quantized]
    if _bitsandbytes_runs():
        from bitsandbytes import functional

        theirs = [functional.quantize_4bit(w, quant_type="nf4", compress_statistics=True) for w in weights]
        calls["dequantize", "bitsandbytes"] = [
            lambda c=c, s=s, o=o: functional.dequantize_4bit(c, s, out=o) for (c, s), o in zip(theirs, out, strict=True)
        ]
        # Its quantization cannot be captured in a graph: it waits for the host.
        calls["quantize", "bitsandbytes, eager"] = [
            lambda w=w: functional.quantize_4bit(w, quant_type="nf4", compress_statistics=True) for w in weights
        ]
    for (operator, program), each in calls.items():
        microseconds = (eager_microseconds if program.endswith("eager") else graph_microseconds)(each)
        share = least / conditions["copy_bytes_per_second"] / (microseconds * 1e-6)
        yield Row(operator, program, *shape, 0, microseconds, least, share)


def _plain_look_up(packed, absmax, nested_absmax, offset, nested_codebook, codebook, shape):
    """Decoding as one would write it down, for torch's compiler: what our kernel has to beat."""
    codes = torch.stack((packed >> 4, packed & 15), dim=-1).view(-1, 64).int()
    scale = nested_codebook[absmax.int()].view(-1, 256) * nested_absmax[:, None] + offset
    return (codebook[codes] * scale.view(-1, 1)).to(torch.bfloat16).view(shape)


def _bitsandbytes_runs() -> bool:
    return importlib.util.find_spec("bitsandbytes") is not None


def _product_rows(shape: tuple[int, int], row_counts, conditions: dict) -> Iterator[Row]:
    out_features, in_features = shape
    sets = min(8, input_sets(out_features * in_features // 2))
    weights = [torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
    quantized = [qlora.quantize(w) for w in weights]
    theirs = []
    if _bitsandbytes_runs():
        import bitsandbytes

        options = {"quant_type": "nf4", "compress_statistics": True}
        theirs = [bitsandbytes.functional.quantize_4bit(w, **options) for w in weights]
    for rows in row_counts:
        x = [torch.randn(rows, in_features, device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
        grad = [torch.randn(rows, out_features, device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
        calls = {
            ("linear", "qlora"): [
                lambda v=v, q=q: ops.quantized_linear(v, *q.tensors(), 64, out_features, q.quant_type)
                for v, q in zip(x, quantized, strict=True)
            ],
            ("linear", "bf16"): [lambda v=v, w=w: v @ w.T for v, w in zip(x, weights, strict=True)],
            ("linear_backward", "qlora"): [
                lambda g=g, q=q: g @ q.dequantize(torch.bfloat16) for g, q in zip(grad, quantized, strict=True)
            ],
            ("linear_backward", "bf16"): [lambda g=g, w=w: g @ w for g, w in zip(grad, weights, strict=True)],
        }
        if theirs:
            calls["linear", "bitsandbytes"] = [
                lambda v=v, c=c, s=s: bitsandbytes.matmul_4bit(v, c.t(), quant_state=s)
                for v, (c, s) in zip(x, theirs, strict=True)
            ]
        for (operator, program), each in calls.items():
            stored = 2 * out_features * in_features if program == "bf16" else quantized[0].nbytes
            least = stored + 2 * rows * (in_features + out_features)
            floor = max(
                least / conditions["copy_bytes_per_second"],
                2 * rows * out_features * in_features / conditions["matmul_flops_per_second"],
            )
            microseconds = graph_microseconds(each)
            yield Row(operator, program, *shape, rows, microseconds, least, floor / (microseconds * 1e-6))


def table(conditions: dict, rows: list[Row]) -> str:
    """The rows as text, the ratio to bf16 beside each product."""
    plain = {(r.operator, r.out_features, r.in_features, r.rows): r.microseconds for r in rows if r.program == "bf16"}
    lines = [
        f"{conditions['device']}, torch {conditions['versions']['torch']}, triton {conditions['versions']['triton']}, "
        f"{conditions['date']}; copy {conditions['copy_bytes_per_second'] / 1e9:,.0f} GB/s, bf16 product "
        f"{conditions['matmul_flops_per_second'] / 1e12:,.0f} TFLOP/s; {conditions['method']}",
        f"{'operator':16}{'program':21}{'out x in':>14}{'rows':>7}{'µs':>10}{'of limit':>10}{'to bf16':>9}",
    ]
    for r in rows:
        base = plain.get((r.operator, r.out_features, r.in_features, r.rows))
        ratio = f"{r.microseconds / base:.2f}x" if base else ""
        lines.append(
            f"{r.operator:16}{r.program:21}{f'{r.out_features}x{r.in_features}':>14}{r.rows or '':>7}"
            f"{r.microseconds:>10.1f}{r.share:>10.1%}{ratio:>9}"
        )
    return "\n".join(lines)
