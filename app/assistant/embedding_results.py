"""What comes of the experiment with the embedding model in 4 bits, and the run that was recorded."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from qlora.errors import InputError

RECORDING = Path(__file__).parents[1] / "recordings" / "embedding_4bit.json"


@dataclass(frozen=True)
class Quality:
    """Of answerable questions: the share whose right passage is first, or among the first five, and the mean of one
    over its place (0 when it is not among the first ten)."""

    recall_at_1: float
    recall_at_5: float
    mean_reciprocal_rank: float


@dataclass(frozen=True)
class Row:
    """What came of one data type.

    ``linear_bytes`` are stored for the weights of the linear layers, ``model_bytes`` for the whole embedder.
    ``mean_cosine`` is that of every passage's and sentence's vector with the fp32 model's, ``least_cosine`` the
    smallest. ``dense`` is search by vectors alone, ``whole`` the ranking that the assistant uses.
    """

    data_type: str
    linear_bytes: int
    model_bytes: int
    mean_cosine: float
    least_cosine: float
    dense: Quality
    whole: Quality


@dataclass(frozen=True)
class Experiment:
    """The rows, fp32 first, and the conditions that they hold under."""

    rows: tuple[Row, ...]
    paper: str
    questions: int
    passages: int
    sentences: int
    block_size: int
    double_quantization: bool
    has_paper: bool
    device: str
    threads: int
    versions: dict[str, str]
    date: str
    command: str

    def record(self) -> dict:
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict) -> "Experiment":
        rows = [
            Row(**{**row, "dense": Quality(**row["dense"]), "whole": Quality(**row["whole"])}) for row in record["rows"]
        ]
        return cls(**{**record, "rows": tuple(rows)})

    def readable(self) -> str:
        head = f"{'':<10}{'MiB':>8}{'cosine':>9}{'vectors: first':>16}{'five':>8}{'MRR':>8}"
        head += f"{'whole: first':>14}{'five':>8}{'MRR':>8}"
        lines = [
            f"{row.data_type:<10}{row.model_bytes / 2**20:>8.1f}{row.mean_cosine:>9.4f}{row.dense.recall_at_1:>16.3f}"
            f"{row.dense.recall_at_5:>8.3f}{row.dense.mean_reciprocal_rank:>8.3f}{row.whole.recall_at_1:>14.3f}"
            f"{row.whole.recall_at_5:>8.3f}{row.whole.mean_reciprocal_rank:>8.3f}"
            for row in self.rows
        ]
        foot = f"{self.questions} questions, {self.passages} passages, {self.sentences} sentences"
        return "\n".join([head, *lines, foot])


def recorded(path: Path = RECORDING) -> Experiment:
    """The experiment as it was run for the repository.

    Raises:
        InputError: the file is missing or was damaged.
    """
    try:
        return Experiment.from_record(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The recording {path.name} cannot be used: {error}. Restore it from the project.") from error
