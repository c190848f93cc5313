"""The typed events of a run and their log, one JSON object a line.

The training loop yields these and reports through nothing else: the progress bar, the log, the live charts, the
notebooks and the recorded runs all read the same stream.
"""

from qlora.events.kinds import (
    EVENT_TYPES,
    CheckpointSaved,
    Evaluated,
    Event,
    Notice,
    PageMoved,
    PageReached,
    RunEnded,
    RunResumed,
    RunStarted,
    SampleGenerated,
    StepFinished,
    StepSkipped,
)
from qlora.events.log import (
    ADAPTER_FOLDER,
    CHECKPOINTS_FOLDER,
    CONFIG_NAME,
    LOG_NAME,
    STOP_NAME,
    EventReader,
    EventWriter,
    from_json,
    to_json,
)

__all__ = [
    "ADAPTER_FOLDER",
    "CHECKPOINTS_FOLDER",
    "CONFIG_NAME",
    "EVENT_TYPES",
    "LOG_NAME",
    "STOP_NAME",
    "CheckpointSaved",
    "Evaluated",
    "Event",
    "EventReader",
    "EventWriter",
    "Notice",
    "PageMoved",
    "PageReached",
    "RunEnded",
    "RunResumed",
    "RunStarted",
    "SampleGenerated",
    "StepFinished",
    "StepSkipped",
    "from_json",
    "to_json",
]
