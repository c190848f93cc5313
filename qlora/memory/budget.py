"""Whether a run fits into a device, from its settings and the model's shape alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from qlora.config import RunConfig
from qlora.memory.estimate import EstimateOptions, MemoryEstimate, estimate
from qlora.memory.shapes import Shape

#: What the estimate may be off by.
MARGIN = 0.05
_FEWEST_TOKENS = 8  # that data.max_length may be


def run_options(
    config: RunConfig,
    *,
    rows: int,
    tokens: int,
    compute_dtype: str,
    adapter_dtype: str,
    checkpointed_layers: int | None = None,
    offloaded: bool = False,
) -> EstimateOptions:
    """What a run does with a batch, as options of `estimate`.

    Args:
        config: of the run.
        rows: sequences of the batch. Several are taken to differ in length, so that attention has a mask.
        tokens: of the longest of them, and of the longest target where there are targets.
        compute_dtype, adapter_dtype: names such as "bfloat16".
        checkpointed_layers, offloaded: as in `EstimateOptions`.

    Raises:
        InputError: as `EstimateOptions`.
    """
    return EstimateOptions(
        block_size=config.quantization.block_size,
        double_quantization=config.quantization.double_quantization,
        adapter=config.adapter,
        adapter_dtype=adapter_dtype,
        optimizer=f"paged-adamw-{config.optimizer.state_bits}bit",
        batch_size=rows,
        sequence_length=tokens,
        masked=rows > 1 or config.data.packing,
        checkpointed_layers=checkpointed_layers,
        offloaded=offloaded,
        compute_dtype=compute_dtype,
        loss_chunk_tokens=config.training.loss_chunk_tokens,
    )


@dataclass(frozen=True)
class Fit:
    """A run's largest batch beside what the device has.

    Args:
        config: of the run.
        shape: of the model.
        options: of the largest batch, as `run_options` makes them.
        budget_bytes: what may be on the device.
        can_offload: whether there is another memory that inputs of layers can wait in.
    """

    config: RunConfig
    shape: Shape
    options: EstimateOptions
    budget_bytes: int
    can_offload: bool = False

    @property
    def result(self) -> MemoryEstimate:
        """The whole estimate."""
        return estimate(self.shape, self.options)

    @property
    def share(self) -> float:
        """Of the budget, what the peak takes with all optimizer pages out; the pager cannot bring it lower."""
        return self.result.peak_bytes_paged_out / self.budget_bytes

    @property
    def weight_bytes(self) -> int:
        """Of the base model, which no setting of a run changes."""
        parts = self.result.components
        return sum(parts[name] for name in ("base_weights", "quantization_constants", "unquantized_weights"))

    def largest_components(self, count: int = 3) -> list[tuple[str, int]]:
        """What most of the peak is, all optimizer pages out: names and bytes, the largest first."""
        result = self.result
        parts = result.moments[result.peak_moment] | {"optimizer_states": 0}
        return sorted(parts.items(), key=lambda part: -part[1])[:count]

    def remedies(self) -> Iterator[str]:
        """Settings that make the peak smaller, in the order in which to try them, each with how far it has to go to be
        enough alone, if it can be."""
        options, data = self.options, self.config.data
        if self.result.peak_moment == "loss" and self.shape.task == "causal" and options.loss_chunk_tokens > 1:
            enough = self._most(1, options.loss_chunk_tokens, lambda n: replace(options, loss_chunk_tokens=n))
            yield f"lower training.loss_chunk_tokens{enough}"
        if options.sequence_length > _FEWEST_TOKENS:
            length = "data.max_length and data.packed_length" if data.packed_length else "data.max_length"
            enough = self._most(_FEWEST_TOKENS, options.sequence_length, lambda n: replace(options, sequence_length=n))
            yield f"shorten {length}{enough}"
        if options.batch_size > 1:
            enough = self._most(1, options.batch_size, lambda n: replace(options, batch_size=n))
            yield f"lower training.batch_size{enough} and raise training.accumulation"
        if options.checkpointed_layers is not None:
            yield f"set training.activations to checkpoint{self._enough(replace(options, checkpointed_layers=None))}"
        elif self.can_offload and not options.offloaded:
            yield f"set training.activations to offload{self._enough(replace(options, offloaded=True))}"
        adapter = self.config.adapter
        if adapter.r > 1:
            enough = self._most(1, adapter.r, lambda n: replace(options, adapter=replace(adapter, r=n)))
            yield f"lower adapter.r{enough}"

    def _most(self, low: int, high: int, changed: Callable[[int], EstimateOptions]) -> str:
        """The largest number from low to high with which it fits, in words; nothing when the lowest is too much."""
        if not self._fits(changed(low)):
            return ""
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(changed(middle)) else (low, middle - 1)
        return f" (to {low} is enough)"

    def _enough(self, options: EstimateOptions) -> str:
        return " (is enough)" if self._fits(options) else ""

    def _fits(self, options: EstimateOptions) -> bool:
        return replace(self, options=options).share <= 1
