"""How many steps a run takes, and the learning rate of each."""

import math

from qlora.config import RunConfig


def total_steps(config: RunConfig, batches_per_epoch: int) -> int:
    """Optimizer steps of the run: `training.steps`, or as many as `training.epochs` passes over the data take."""
    if config.training.epochs is None:
        return config.training.steps
    return max(1, math.ceil(config.training.epochs * batches_per_epoch / config.training.accumulation))


def learning_rate(config: RunConfig, step: int, steps: int) -> float:
    """The learning rate of `step` (from 1) of `steps`: a linear rise over the warm-up, then the schedule, which ends at
    0 one step after the last unless it is constant."""
    training, highest = config.training, config.optimizer.learning_rate
    if step <= training.warmup_steps:
        return highest * step / training.warmup_steps
    progress = (step - 1 - training.warmup_steps) / max(1, steps - training.warmup_steps)
    factor = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return highest * factor[training.schedule]
