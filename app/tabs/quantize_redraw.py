"""The Quantize tab's listeners: from where the controls stand to what the panels show."""

from typing import NamedTuple

import gradio as gr

from app.charts import markup
from app.tabs import (
    quantize_journey,
    quantize_measures,
    quantize_outlier,
    quantize_panels,
    quantize_sources,
    quantize_story,
    quantize_weights,
)
from app.tabs.quantize_sources import Chosen
from app.text import quantize as text
from app.text import quantize_journey as journey_text
from app.text import quantize_sources as source_text
from app.text import quantize_story as story_text
from qlora.errors import InputError

FIRST_MATRIX = "feed-forward: up"


class Choice(NamedTuple):
    """Where the controls stand that all panels depend on, in the order of the listeners' inputs."""

    model: str
    layer: int
    matrix: str
    uploaded: str | None
    tensor: str | None
    numbers: str | None
    data_type: str
    block_size: int
    double_quantization: bool
    narrow: bool

    @classmethod
    def of(cls, values: tuple) -> tuple["Choice", tuple]:
        """The choice and a panel's own controls, which stand before the last value."""
        common = len(cls._fields) - 1
        return cls(*values[:common], values[-1]), values[common:-1]

    def weights(self) -> Chosen:
        """The chosen weights, which can be read and scaled.

        Raises:
            InputError: they cannot.
        """
        layer, matrix = int(self.layer), self.matrix
        if self.model in quantize_weights.MODELS:
            *_, layer, matrix = _fit(self.model, layer, matrix)
        chosen = quantize_sources.choose(self.model, layer, matrix, self.uploaded, self.tensor, self.numbers)
        quantize_sources.weights(chosen)
        return chosen

    def setting(self) -> tuple[str, int]:
        """Data type and block size."""
        return self.data_type, int(self.block_size)


def _fit(model: str, layer: int, matrix: str) -> tuple[int, list[str], int, str]:
    """How many layers a model has, its matrices, and the chosen ones of both, or the first where it has none of those.

    Raises:
        InputError: its file cannot be read.
    """
    known = quantize_weights.matrices(model)
    last = max(number for number, _ in known)
    names = [name for name in text.MATRICES if (1, name) in known]
    return last, names, layer if layer <= last else 1, matrix if matrix in names else FIRST_MATRIX


def offer(model: str, layer: int, matrix: str, uploaded: str | None) -> tuple[dict, dict, dict, dict, dict]:
    """Show the controls of the chosen source, fitted to what it has; what is wrong with it is said by `draw_levels`."""
    packaged = model in quantize_weights.MODELS
    layers, matrices, tensor = {"visible": packaged}, {"visible": packaged}, {"visible": False, "choices": []}
    try:
        if packaged:
            last, names, *fitting = _fit(model, layer, matrix)
            # What fits is left alone: the visitor may have moved it meanwhile.
            layers |= {"maximum": last} | ({} if fitting[0] == layer else {"value": fitting[0]})
            matrices |= {"choices": names} | ({} if fitting[1] == matrix else {"value": fitting[1]})
        elif model == source_text.UPLOAD and uploaded:
            found = quantize_sources.offered(uploaded)
            tensor = {"visible": True, "choices": found, "value": found[0][1]}
    except InputError:
        pass
    return (
        gr.update(**layers),
        gr.update(**matrices),
        gr.update(visible=model == source_text.UPLOAD),
        gr.update(**tensor),
        gr.update(visible=model == source_text.TYPE),
    )


def draw_construction(bits: int, step: str, narrow: bool) -> tuple[str, dict, dict]:
    """One step of NormalFloat's construction, and whether there is one before and after it."""
    place = story_text.STEPS.index(step) + 1
    drawn = quantize_story.draw_step(int(bits), place, bool(narrow))
    return drawn, gr.update(interactive=place > 1), gr.update(interactive=place < len(story_text.STEPS))


def draw_journey(*values) -> tuple[str, dict]:
    """One weight's way into four bits and back; the slider of runs is fitted to the tensor.

    Args:
        values: a `Choice` with the run before its last field.
    """
    choice, (run,) = Choice.of(values)
    try:
        chosen = choice.weights()
        last, run = quantize_journey.runs(chosen), int(run)
        drawn = quantize_journey.draw_journey(
            chosen, *choice.setting(), bool(choice.double_quantization), run, bool(choice.narrow)
        )
    except ValueError as problem:
        return markup.note(journey_text.NOTHING.format(problem=problem)), gr.skip()
    return drawn, _fitted(run, last)


def _fitted(value: int, last: int) -> dict:
    """The update of a slider from 1 to ``last``, whose value moves only when it lies beyond."""
    return gr.update(maximum=max(2, last), interactive=last > 1, **({"value": last} if value > last else {}))


def draw_levels(*values) -> tuple[str, str, str]:
    """What the data type does to the weights, what is wrong with them, and a word about them. Takes a `Choice`."""
    choice = Choice(*values)
    try:
        chosen = choice.weights()
        drawn = quantize_panels.level_panels(
            chosen, *choice.setting(), bool(choice.double_quantization), bool(choice.narrow)
        )
        about = text.MODEL_NOTES.get(choice.model)
        if about:
            about = about.format(distinct=quantize_measures.histogram(chosen, int(choice.block_size)).distinct_in_run)
        else:
            about = source_text.NOTES[choice.model]
    except ValueError as problem:
        return markup.note(journey_text.NOTHING.format(problem=problem)), markup.problem(str(problem)), ""
    return drawn, "", markup.note(about)


def draw_outlier(*values) -> tuple[str, dict]:
    """An outlier among the weights; the slider of places is fitted to how many there are.

    Args:
        values: a `Choice` with the outlier's size and place before its last field.
    """
    choice, (size, place) = Choice.of(values)
    try:
        chosen = choice.weights()
        last, place = quantize_outlier.strip(chosen).numel(), int(place)
        drawn = quantize_outlier.draw_outlier(chosen, *choice.setting(), place, float(size), bool(choice.narrow))
    except ValueError as problem:
        return markup.note(journey_text.NOTHING.format(problem=problem)), gr.skip()
    return drawn, _fitted(place, last)


def draw_double(*values) -> str:
    """What the scales cost; where the weights cannot be read, the formula still holds.

    Args:
        values: a `Choice` with the step before its last field.
    """
    choice, (step,) = Choice.of(values)
    shown = story_text.DOUBLE_STEPS.index(step) + 1
    drawn = quantize_story.draw_double(int(choice.block_size), shown, bool(choice.narrow))
    try:
        return drawn + quantize_story.double_measured(choice.weights(), *choice.setting())
    except ValueError:
        return drawn


def draw_errors(*values) -> str:
    """All four data types side by side; nothing where `draw_levels` shows the problem. Takes a `Choice`."""
    choice = Choice(*values)
    try:
        return quantize_panels.error_panels(
            choice.weights(), *choice.setting(), bool(choice.double_quantization), bool(choice.narrow)
        )
    except ValueError:
        return ""
