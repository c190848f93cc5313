"""Samples in tokens with their labels."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from qlora.data.chat import conversation_ids, prompt_ids, text_ids
from qlora.data.samples import Conversation, Sample
from qlora.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Label of a token that does not count towards the loss.
IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """A sample in tokens.

    Attributes:
        input_ids: the tokens.
        labels: the token itself where it counts towards the loss, else `IGNORED`. The first token never counts,
            because nothing before it predicts it; so two samples can follow each other in one sequence.
        cut: whether the end was cut off.
    """

    input_ids: list[int]
    labels: list[int]
    cut: bool = False

    @property
    def trained_tokens(self) -> int:
        """How many tokens count towards the loss."""
        return len(self.labels) - self.labels.count(IGNORED)


class EncodedSamples(Sequence[Encoded]):
    """Many encoded samples, kept at 8 bytes a token (as lists of Python integers they would take about 45).

    Attributes:
        lengths: tokens of each sample.
        cut: how many samples lost their end at the greatest length.
        dropped: where those samples stand that had no trained token left and were left out.
    """

    def __init__(self, samples: Iterable[Encoded] = ()):
        self.lengths: list[int] = []
        self.cut = 0
        self.dropped: list[str] = []
        self._starts: list[int] = []
        self._ids, self._labels = array("i"), array("i")
        for sample in samples:
            self.append(sample)

    def append(self, sample: Encoded) -> None:
        """Add one at the end."""
        self._starts.append(len(self._ids))
        self.lengths.append(len(sample.input_ids))
        self.cut += sample.cut
        self._ids.extend(sample.input_ids)
        self._labels.extend(sample.labels)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...
    @overload
    def __getitem__(self, index: slice) -> list[Encoded]: ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        start = self._starts[index]
        end = start + self.lengths[index]
        return Encoded(self._ids[start:end].tolist(), self._labels[start:end].tolist())

    def contents(self) -> Iterable[bytes]:
        """All tokens and labels as bytes, from which a fingerprint is made."""
        return array("q", self.lengths).tobytes(), self._ids.tobytes(), self._labels.tobytes()

    def notices(self, max_length: int) -> list[str]:
        """A sentence for each thing a person should know: samples dropped, samples cut."""
        total, found = len(self) + len(self.dropped), []
        if self.dropped:
            shown = ", ".join(self.dropped[:3]) + (", …" if len(self.dropped) > 3 else "")
            found.append(
                f"{len(self.dropped)} of {total} samples were dropped: nothing to learn is left of them within "
                f"data.max_length = {max_length} tokens ({shown})."
            )
        if self.cut:
            found.append(f"{self.cut} of {total} samples were cut at data.max_length = {max_length} tokens.")
        return found


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    sample: Sample,
    max_length: int,
    system_prompt: str | None = None,
    loss_on: str = "completions",
) -> Encoded | None:
    """Encode a sample.

    A sample that is too long loses its end, and with it the token that ends the turn, which would teach to stop
    mid-sentence.

    Args:
        tokenizer: of the model.
        sample: a conversation, or a plain text, of which every token is trained.
        max_length: in tokens.
        system_prompt: as in `chat.conversation_ids`.
        loss_on: "completions" (what the assistant says) or "everything".

    Returns:
        None when no trained token is left within `max_length`.

    Raises:
        InputError: as `chat.conversation_ids`.
    """
    if isinstance(sample, Conversation):
        ids, answered = conversation_ids(tokenizer, sample, system_prompt, loss_on)
    else:
        ids = text_ids(tokenizer, sample.text)
        answered = [True] * len(ids)
    labels = [i if a and n else IGNORED for n, (i, a) in enumerate(zip(ids, answered, strict=True))]
    encoded = Encoded(ids[:max_length], labels[:max_length], cut=len(ids) > max_length)
    return encoded if encoded.trained_tokens else None


def encode_all(
    tokenizer: "PreTrainedTokenizerBase",
    samples: Iterable[Sample],
    max_length: int,
    system_prompt: str | None = None,
    loss_on: str = "completions",
) -> EncodedSamples:
    """Encode samples as `encode` does; those without a trained token are left out and listed in `dropped`.

    Raises:
        InputError: no sample is left, or the question of the first one has other tokens in training than in
            generation, which comes from a template that ends in a space.
    """
    encoded = EncodedSamples()
    checked = loss_on == "everything"
    for sample in samples:
        one = encode(tokenizer, sample, max_length, system_prompt, loss_on)
        if one is None:
            encoded.dropped.append(sample.where or f"sample {len(encoded) + len(encoded.dropped) + 1}")
            continue
        encoded.append(one)
        if not checked and isinstance(sample, Conversation) and sample.messages[0].role == "user":
            checked = True
            _check_prompt(tokenizer, sample, one, system_prompt)
    if not encoded:
        raise InputError(
            f"No sample has room for its answer within data.max_length = {max_length} tokens: raise it "
            f"(the first is {encoded.dropped[0] if encoded.dropped else 'missing'})."
        )
    return encoded


def _check_prompt(tokenizer, sample: Conversation, encoded: Encoded, system_prompt: str | None) -> None:
    prompt = prompt_ids(tokenizer, sample.messages[0].content, system_prompt)
    if encoded.input_ids[: len(prompt)] != prompt[: len(encoded.input_ids)]:
        raise InputError(
            f"{sample.where or 'The first sample'}: the question's tokens in training are others than in generation, "
            "so the model would be asked what it never saw. The chat template of the tokenizer probably ends its "
            "opening of an answer in a space: remove that."
        )
