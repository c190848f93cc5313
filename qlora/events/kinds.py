"""What can happen in a run: one dataclass for each kind of event."""

import dataclasses
import time
from typing import ClassVar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """What every event carries.

    Attributes:
        time: seconds since the epoch at which the event was made.
    """

    kind: ClassVar[str]
    time: float = dataclasses.field(default_factory=time.time)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """First event: what is trained, on what, with what.

    Attributes:
        config: the whole configuration as plain data.
        device: name of the device; `emulated_device` says that optimizer pages move between two arenas in main
            memory because there is no GPU.
        versions: of python, torch, transformers and qlora.
        steps: optimizer steps that the run will take.
        samples: training samples after those that are too long to use were dropped.
        parameters, trainable_parameters: counts, of the base model and of the adapters.
        memory_bytes: by component: base_model, adapters, gradients, optimizer (all pages, wherever they are).
        pages, page_bytes: optimizer pages and the size of one.
        device_budget_bytes: what may be on the (emulated) device, or None for no limit.
    """

    kind: ClassVar[str] = "run_started"
    config: dict
    device: str
    emulated_device: bool
    versions: dict[str, str]
    steps: int
    samples: int
    parameters: int
    trainable_parameters: int
    memory_bytes: dict[str, int]
    pages: int
    page_bytes: int
    device_budget_bytes: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    """One optimizer step.

    Attributes:
        step: from 1.
        epoch: passes over the data so far, fractional.
        loss: mean over the step's trained tokens, in nats a token.
        learning_rate: that the step used.
        gradient_norm: before clipping.
        tokens: in the step's batches, padding not counted; trained_tokens of them count towards the loss.
        step_seconds: wall-clock time; tokens_per_second = tokens / step_seconds.
        seconds_left: estimate from the median of the latest steps.
        memory_bytes: by component at the step's fullest moment: base_model, adapters, gradients, activations,
            optimizer (pages on the device only). On a GPU `peak` is what the allocator measured.
        pages_on_device: at the fullest moment of the step; pages_in and pages_out: moves in this step.
    """

    kind: ClassVar[str] = "step"
    step: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    trained_tokens: int
    step_seconds: float
    tokens_per_second: float
    seconds_left: float
    memory_bytes: dict[str, int]
    pages_on_device: int
    pages_in: int
    pages_out: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepSkipped(Event):
    """A step whose loss or gradient was not finite: nothing was updated."""

    kind: ClassVar[str] = "step_skipped"
    step: int
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageMoved(Event):
    """An optimizer page changed place.

    Attributes:
        step: during which it moved (0: before the first).
        page: its number, from 0.
        direction: "in" (host to device) or "out".
        reason: in: "prefetch" (the optimizer will need it) or "update" (it needs it now). Out, which is to say evicted:
            "activations" (room for a batch's activations), "budget" (room for another page) or "out of memory".
        bytes: moved.
        milliseconds: the copy took.
    """

    kind: ClassVar[str] = "page"
    step: int
    page: int
    direction: str
    reason: str
    bytes: int
    milliseconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageReached(Event):
    """The optimizer reached a page that had been evicted.

    Attributes:
        step: of the update.
        page: its number, from 0.
        hit: it had been prefetched and was there; otherwise it was late, and the update waited.
        bytes: of the page.
        milliseconds: that the update waited. On an emulated device 0, because copies are not made beside it.
    """

    kind: ClassVar[str] = "prefetch"
    step: int
    page: int
    hit: bool
    bytes: int
    milliseconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated(Event):
    """The loss over samples that are not trained on.

    Attributes:
        step: after which.
        loss: mean over their trained tokens, in nats a token; perplexity = e^loss.
        samples, trained_tokens: that were counted.
        seconds: it took.
    """

    kind: ClassVar[str] = "evaluation"
    step: int
    loss: float
    perplexity: float
    samples: int
    trained_tokens: int
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResumed(Event):
    """The run goes on after `step`, from the checkpoint in `path`; `steps` is how many it will have taken in all."""

    kind: ClassVar[str] = "run_resumed"
    step: int
    steps: int
    path: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleGenerated(Event):
    """An answer of the model to a prompt of the configuration.

    Attributes:
        step: after which it was generated; 0 is the base model, whose adapter is still zero.
        new_tokens: generated; seconds: it took.
    """

    kind: ClassVar[str] = "sample"
    step: int
    prompt: str
    text: str
    new_tokens: int
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointSaved(Event):
    """Something was written to `path`.

    Attributes:
        step: after which.
        resumable: a checkpoint that the run can be resumed from; otherwise the finished adapter.
    """

    kind: ClassVar[str] = "checkpoint"
    step: int
    path: str
    resumable: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something a person should know that is no error, in one sentence."""

    kind: ClassVar[str] = "notice"
    message: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """Last event.

    Attributes:
        outcome: "finished", "stopped" (somebody asked) or "failed".
        step: the last finished one.
        message: one sentence for a person.
    """

    kind: ClassVar[str] = "run_ended"
    outcome: str
    step: int
    message: str


EVENT_TYPES: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        RunStarted,
        StepFinished,
        StepSkipped,
        PageMoved,
        PageReached,
        Evaluated,
        RunResumed,
        SampleGenerated,
        CheckpointSaved,
        Notice,
        RunEnded,
    )
}
