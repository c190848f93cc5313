"""The states of torch's random generators that training draws from."""

from collections.abc import Sequence

import torch


def generator_states(device: torch.device) -> list[torch.Tensor]:
    """The CPU's, and that of `device` if it is a GPU: uint8 (n,) each."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_generator_states(device: torch.device, states: Sequence[torch.Tensor]) -> None:
    """Take up what `generator_states` returned; states of a GPU that is not there are passed over."""
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
