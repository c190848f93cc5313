"""The optimizer's state as tensors and plain data: for checkpoints, and in the form of bitsandbytes' optimizers."""

from typing import TYPE_CHECKING, Any

import torch

from qlora.errors import InputError
from qlora.kernels.adamw_op import state_views
from qlora.paging.page import Page
from qlora.quantization.codebook import dynamic_map
from qlora.quantization.dynamic_blockwise import STATE_BLOCK_SIZE, quantize_dynamic

if TYPE_CHECKING:
    from qlora.optimizer.paged_adamw import PagedAdamW

#: Names of a page's parts, in the order in which they lie there.
PARTS = {32: ("exp_avg", "exp_avg_sq"), 8: ("exp_avg", "exp_avg_sq", "exp_avg_absmax", "exp_avg_sq_absmax")}
# bitsandbytes puts these of a parameter's entries into a mapping of its own, under this key.
_WRAPPED = "__bnb_optimizer_quant_state__"


def save(optimizer: "PagedAdamW") -> dict[str, Any]:
    """What a resumed run needs, in a form that safetensors (the tensors) and JSON (the rest) can hold.

    Returns:
        "tensors": of all parameters one after the other, each padded to a multiple of 256. 32 bits: exp_avg,
        exp_avg_sq, fp32 (n,). 8 bits: their codes, uint8 (n,), exp_avg_absmax and exp_avg_sq_absmax, fp32 (n / 256,).
        "step", "state_bits" and "shapes" of the parameters.
        "resident" and "used": ranges [start, stop] of parameters whose pages are on the device, or have been used.
    """
    pages = optimizer.pager.pages
    stored = [optimizer.pager.read(page) for page in pages]
    resident = set(optimizer.pager.resident_pages)
    parts = [
        state_views(torch.zeros(page.bytes, dtype=torch.uint8) if memory is None else memory, optimizer.state_bits)
        for page, memory in zip(pages, stored, strict=True)
    ]
    return {
        "step": optimizer.steps,
        "state_bits": optimizer.state_bits,
        "shapes": [list(p.shape) for p in optimizer.parameters],
        "resident": _ranges([page for page in pages if page.number in resident]),
        "used": _ranges([page for page, memory in zip(pages, stored, strict=True) if memory is not None]),
        "tensors": {
            name: torch.cat(of_pages)
            for name, of_pages in zip(PARTS[optimizer.state_bits], zip(*parts, strict=True), strict=True)
        },
    }


def load(optimizer: "PagedAdamW", saved: dict[str, Any]) -> None:
    """Take up what `save` returned. Pages go where they were, as far as the budget allows; another page size than
    before is possible: a page is then on the device if all of it was.

    Args:
        saved: of an optimizer with the same parameters and state_bits.

    Raises:
        InputError: otherwise; nothing is changed then.
    """
    bits, shapes = optimizer.state_bits, [list(p.shape) for p in optimizer.parameters]
    if saved["state_bits"] != bits:
        raise InputError(
            f"The saved optimizer has {saved['state_bits']}-bit states, this one {bits}-bit ones: set "
            f"optimizer.state_bits to {saved['state_bits']}."
        )
    if [list(shape) for shape in saved["shapes"]] != shapes:
        raise InputError(
            f"The saved optimizer belongs to other parameters: it has {len(saved['shapes'])} tensors, this one "
            f"{len(shapes)}, or their shapes differ. Resume with the adapter settings of the first run."
        )
    total = optimizer.flat.numel()
    tensors = []
    for name in PARTS[bits]:
        count = total // STATE_BLOCK_SIZE if name.endswith("_absmax") else total
        dtype = torch.uint8 if bits == 8 and not name.endswith("_absmax") else torch.float32
        tensor = saved["tensors"].get(name)
        if tensor is None or tensor.shape != (count,) or tensor.dtype != dtype:
            got = "nothing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
            raise InputError(f"The saved optimizer's {name} must be {dtype} ({count},), got {got}.")
        tensors.append(tensor)
    optimizer.steps = int(saved["step"])
    for page in optimizer.pager.pages:
        memory = None
        if _overlaps(page, saved["used"]):
            memory = torch.empty(page.bytes, dtype=torch.uint8)
            for target, tensor in zip(state_views(memory, bits), tensors, strict=True):
                share = total // tensor.numel()  # parameters for each value
                target.copy_(tensor[page.start // share : page.stop // share])
        optimizer.pager.write(page, memory, _inside(page, saved["resident"]))


def to_bitsandbytes(optimizer: "PagedAdamW") -> dict[str, Any]:
    """The state as `bitsandbytes.optim.AdamW` (32 bits) or `AdamW8bit` loads it with `load_state_dict`.

    Source: `Optimizer2State.init_state` and `Optimizer8bit.state_dict` of bitsandbytes 0.50. No value is changed: the
    blocks are the same.
    """
    saved = save(optimizer)
    tensors = saved["tensors"]
    state = {}
    for number, parameter in enumerate(optimizer.parameters):
        start, stop = optimizer.starts[number], optimizer.starts[number] + parameter.numel()
        entries = {
            "state1": tensors["exp_avg"][start:stop].view(parameter.shape).clone(),
            "state2": tensors["exp_avg_sq"][start:stop].view(parameter.shape).clone(),
        }
        if optimizer.state_bits == 8:
            blocks = slice(start // STATE_BLOCK_SIZE, optimizer.starts[number + 1] // STATE_BLOCK_SIZE)
            entries["qmap1"], entries["qmap2"] = dynamic_map(True).clone(), dynamic_map(False).clone()
            entries["absmax1"] = tensors["exp_avg_absmax"][blocks].clone()
            entries["absmax2"] = tensors["exp_avg_sq_absmax"][blocks].clone()
        state[number] = {"step": optimizer.steps, _WRAPPED: entries}
    group = {
        "lr": optimizer.learning_rate,
        "betas": tuple(optimizer.betas),
        "eps": optimizer.eps,
        "weight_decay": optimizer.weight_decay,
        "alpha": 0.0,
        "t_alpha": None,
        "t_beta3": None,
        "params": list(range(len(optimizer.parameters))),
    }
    return {"state": state, "param_groups": [group]}


def from_bitsandbytes(optimizer: "PagedAdamW", theirs: dict[str, Any]) -> None:
    """Take up the `state_dict` of a `bitsandbytes.optim.AdamW`, `AdamW8bit` or one of their paged kinds.

    Args:
        theirs: of an optimizer over the same parameters in the same order. Where it has 32-bit states (bitsandbytes
            keeps them for tensors below 4096 values) and ours have 8 bits, they are quantized.

    Raises:
        InputError: it belongs to other parameters, or it has 8-bit states and ours have 32.
    """
    bits = optimizer.state_bits
    everything = [[0, optimizer.flat.numel()]]
    saved = {**save(optimizer), "resident": everything, "used": everything}
    if len(theirs["state"]) != len(optimizer.parameters):
        raise InputError(
            f"The bitsandbytes optimizer has state of {len(theirs['state'])} tensors, this one trains "
            f"{len(optimizer.parameters)}."
        )
    steps = set()
    for number, parameter in enumerate(optimizer.parameters):
        entries = {**theirs["state"][number], **theirs["state"][number].get(_WRAPPED, {})}
        steps.add(int(entries["step"]))
        start, count = optimizer.starts[number], parameter.numel()
        blocks = slice(start // STATE_BLOCK_SIZE, optimizer.starts[number + 1] // STATE_BLOCK_SIZE)
        for place, name, signed in ((1, "exp_avg", True), (2, "exp_avg_sq", False)):
            values = entries[f"state{place}"].detach().cpu().flatten()
            if values.numel() != count:
                raise InputError(
                    f"Tensor {number} of the bitsandbytes optimizer has {values.numel()} values, this one {count}."
                )
            if values.dtype == torch.uint8 and bits == 32:
                raise InputError("The bitsandbytes optimizer has 8-bit states: set optimizer.state_bits to 8.")
            target = saved["tensors"][name]
            if bits == 8:
                absmax = entries.get(f"absmax{place}")
                if values.dtype != torch.uint8:
                    padded = torch.nn.functional.pad(values.float(), (0, -count % STATE_BLOCK_SIZE))
                    values, absmax = quantize_dynamic(padded, signed)
                saved["tensors"][f"{name}_absmax"][blocks] = absmax.cpu()
                zero_code = int((dynamic_map(signed) == 0).nonzero())
                target[start : optimizer.starts[number + 1]] = zero_code  # what pads the last block
            target[start : start + values.numel()] = values
    if len(steps) != 1:
        raise InputError(f"The bitsandbytes optimizer's tensors are at different steps: {sorted(steps)}.")
    load(optimizer, {**saved, "step": steps.pop()})


def _ranges(pages: list[Page]) -> list[list[int]]:
    """The pages' parameters as ranges; neighbours make one."""
    ranges: list[list[int]] = []
    for page in pages:
        if ranges and ranges[-1][1] == page.start:
            ranges[-1][1] = page.stop
        else:
            ranges.append([page.start, page.stop])
    return ranges


def _inside(page: Page, ranges: list[list[int]]) -> bool:
    return any(start <= page.start and page.stop <= stop for start, stop in ranges)


def _overlaps(page: Page, ranges: list[list[int]]) -> bool:
    return any(start < page.stop and page.start < stop for start, stop in ranges)
