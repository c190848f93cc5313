"""What programs may call: the page's four public endpoints, which are MCP tools as well.

Types and docstrings are what a caller sees. Everything that is wrong with the input comes back as one sentence.
"""

from typing import Any

from qlora.errors import InputError

_MOST_VALUES = 65_536
_MOST_PASSAGES = 20


def ask(question: str, papers: list[str] | str = "", compare: bool = False) -> dict[str, Any]:
    """Answer a question about the QLoRA paper, or about other papers of the library, with their own passages, or say
    that they do not answer it.

    Args:
        question: in English, up to 2,000 characters.
        papers: identifiers of papers, as a list or separated by commas; the QLoRA paper if left out.
        compare: put the question to each of several papers, so that each is cited or said to have nothing about it.

    Returns:
        question, answer, declined, seconds, and citations: each with paper, pdf_page, section, quote and score.
    """
    from app.tabs.ask_shelf import shelf

    names = papers.split(",") if isinstance(papers, str) else papers
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"papers must be a list of identifiers, or some separated by commas, not {papers!r}.")
    chosen = [name for name in map(str.strip, names) if name]
    if compare and len(set(chosen)) < 2:
        raise InputError("A comparison needs two papers or more. Name them in papers.")
    return shelf().asking(chosen, compare).ask(question).record()


def retrieve(question: str, k: int = 5) -> list[dict[str, Any]]:
    """Find the passages of the QLoRA paper that are nearest to a question, best first.

    Args:
        question: in English, up to 2,000 characters.
        k: how many passages, from 1 to 20.

    Returns:
        For each passage: text, paper, source ("paper" or "notes"), pdf_page, section and score (cosine).
    """
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= _MOST_PASSAGES:
        raise InputError(f"k must be a whole number from 1 to {_MOST_PASSAGES}, not {k!r}.")
    return [
        {
            "text": hit.chunk.text,
            "paper": hit.chunk.paper,
            "source": hit.chunk.source,
            "pdf_page": hit.chunk.pdf_page,
            "section": hit.chunk.section,
            "score": hit.score,
        }
        for hit in _assistant().retrieve(question, k)
    ]


def memory_estimate(
    model: str = "llama-7b",
    method: str = "qlora",
    batch: int = 1,
    sequence: int = 512,
    r: int = 64,
    optimizer: str = "paged-adamw-32bit",
) -> dict[str, Any]:
    """Estimate the memory of a finetune in bytes, by component.

    Args:
        model: llama-7b, llama-13b, llama-33b, llama-65b or smollm2-135m-instruct.
        method: qlora, lora or full.
        batch: sequences in one pass.
        sequence: tokens of a sequence.
        r: rank of the adapters.
        optimizer: paged-adamw-32bit, adamw-32bit, paged-adamw-8bit or adamw-8bit.

    Returns:
        components, moments, peak_moment, peak_bytes, pageable_bytes and peak_bytes_paged_out, with the numbers of
        parameters in all and trainable.
    """
    from qlora.commands.estimate import to_mapping
    from qlora.config import TrainingConfig
    from qlora.memory.estimate import EstimateOptions, estimate
    from qlora.memory.model_config import NAMED_SHAPES

    # A path would be read from the server's disk, and a hub name fetched.
    shape = NAMED_SHAPES.get(str(model).lower())
    if shape is None:
        raise InputError(f"The model must be one of {', '.join(NAMED_SHAPES)}, not {model!r}.")
    options = EstimateOptions(
        method=method,
        r=r,
        optimizer=optimizer,
        batch_size=batch,
        sequence_length=sequence,
        loss_chunk_tokens=TrainingConfig.loss_chunk_tokens,
    )
    return to_mapping(shape, estimate(shape, options))


def quantize(
    values: list[float], data_type: str = "nf4", block_size: int = 64, double_quantization: bool = False
) -> dict[str, Any]:
    """Quantize numbers blockwise to 4 bits (or another width) and decode them again.

    Args:
        values: up to 65,536 finite numbers.
        data_type: nf4, fp4-e2m1, fp4-e3m0, int4, or nf2 to nf8.
        block_size: numbers that share one absmax, a power of two from 32 to 4,096.
        double_quantization: quantize the absmax values too.

    Returns:
        codes (one a value), codebook (the level of each code), absmax (one a block), decoded, mean_absolute_error and
        bits_per_value, constants included.
    """
    import torch

    import qlora

    if not isinstance(values, list) or not 1 <= len(values) <= _MOST_VALUES:
        raise InputError(f"values must be a list of 1 to {_MOST_VALUES:,} numbers.")
    for position, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"values must hold numbers, but number {position + 1} is {value!r}.")
    try:
        numbers = torch.tensor(values, dtype=torch.float32)
        weight = qlora.quantize(
            numbers, data_type, block_size=block_size, double_quantization=double_quantization, name="values"
        )
    except (ValueError, OverflowError) as error:
        raise InputError(str(error)) from error
    decoded = weight.dequantize()
    return {
        "codes": weight.unpacked_codes().tolist(),
        "codebook": weight.codebook.tolist(),
        "absmax": weight.absmax_values().tolist(),
        "decoded": decoded.tolist(),
        "mean_absolute_error": (decoded - numbers).abs().mean().item(),
        "bits_per_value": weight.bits_per_parameter,
    }


ENDPOINTS = (ask, retrieve, memory_estimate, quantize)


def _assistant():
    from app.tabs.ask_session import session

    return session().assistant
