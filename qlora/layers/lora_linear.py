"""A frozen linear layer with low-rank adapters beside it, of which at most one is in use."""

import math

import torch
from torch import nn

from qlora.kernels import ops
from qlora.layers.quantized_linear import QuantizedLinear, check_input

#: What an adapter is called when nobody names it; PEFT's word.
DEFAULT_NAME = "default"


class LoraFactors(nn.Module):
    """What one adapter adds to one layer: lora_A and lora_B, and how their product is scaled.

    lora_B starts at zero, so a fresh adapter changes nothing.

    Args:
        in_features, out_features: of the base layer.
        r: rank.
        alpha: numerator of the scaling.
        dropout: probability of dropping an element of the adapter's input while training.
        rslora: divide by √r instead of r, which keeps large ranks learning (Kalajdzievski 2023, arXiv
            2312.03732).
        dtype, device: of lora_A and lora_B.
        generator: for lora_A's initial values (Kaiming uniform with a = √5, as PEFT draws them).

    Attributes:
        lora_A: (r, in).
        lora_B: (out, r).
        scaling: alpha / r, or alpha / √r.

    Raises:
        ValueError: r is below 1, or dropout is outside [0, 1).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        r: int,
        alpha: float,
        *,
        dropout: float = 0.0,
        rslora: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if r < 1:
            raise ValueError(f"r: expected a rank of at least 1, got {r}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a probability from 0 to below 1, got {dropout}")
        self.r, self.alpha, self.dropout, self.rslora = r, alpha, dropout, rslora
        self.scaling = alpha / math.sqrt(r) if rslora else alpha / r
        bound = math.sqrt(1 / in_features)
        initial = torch.empty(r, in_features).uniform_(-bound, bound, generator=generator)
        self.lora_A = nn.Parameter(initial.to(device=device, dtype=dtype))  # (r, in)
        self.lora_B = nn.Parameter(torch.zeros(out_features, r, device=device, dtype=dtype))  # (out, r)

    def extra_repr(self) -> str:
        return f"r={self.r}, alpha={self.alpha}, dropout={self.dropout}, scaling={self.scaling:g}"


class LoraLinear(nn.Module):
    """y = base(x) + scaling · dropout(x) · lora_Aᵀ · lora_Bᵀ (equations 3 and 5), with scaling as in `LoraFactors`.

    Only lora_A and lora_B train. What is kept for the backward pass is x alone: the product with lora_A is computed
    again, dropout is drawn again from its seed, and a quantized base weight is decoded again.

    A layer may hold the factors of several adapters by name; those of the active one are used.

    Args:
        base: `QuantizedLinear` or `nn.Linear`; it is frozen here.
        r, alpha, options: of the first adapter, which becomes the active one; as in `LoraFactors`.
        name: of that adapter.

    Attributes:
        base: the frozen layer.
        adapters: factors by the name of their adapter.
        active: the name of the adapter in use, which need not have factors here; None for the base layer alone.

    Raises:
        ValueError: `base` is of another kind, or as `LoraFactors` and `add`.
    """

    def __init__(self, base: nn.Module, r: int, alpha: float, *, name: str = DEFAULT_NAME, **options):
        super().__init__()
        if not isinstance(base, nn.Linear | QuantizedLinear):
            raise ValueError(f"base: expected a torch.nn.Linear or QuantizedLinear, got {type(base).__name__}")
        self.base = base.requires_grad_(False)
        self.adapters = nn.ModuleDict()
        self.active: str | None = name
        self.add(name, r, alpha, **options)

    def add(self, name: str, r: int, alpha: float, **options) -> None:
        """Put the factors of another adapter beside; the active one stays active.

        Args:
            name: of the adapter, without a dot.
            r, alpha, options: as in `LoraFactors`; they are made on the base layer's device.

        Raises:
            ValueError: there is an adapter of this name, or as `LoraFactors`.
        """
        if name in self.adapters:
            raise ValueError(f"name: this layer has an adapter {name!r} already")
        self.adapters[name] = LoraFactors(
            self.in_features, self.out_features, r, alpha, device=self.base.weight.device, **options
        )

    @property
    def factors(self) -> LoraFactors | None:
        """Those of the active adapter; None when there is none, or it has none here."""
        return self.adapters[self.active] if self.active in self.adapters else None  # noqa: SIM401 (no `get` there)

    @property
    def lora_A(self) -> nn.Parameter:
        """(r, in) of the active adapter."""
        return self.adapters[self.active].lora_A

    @property
    def lora_B(self) -> nn.Parameter:
        """(out, r) of the active adapter."""
        return self.adapters[self.active].lora_B

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self.base.in_features

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self.base.out_features

    @property
    def weight(self) -> torch.Tensor:
        """The base layer's weight, as stored; some models look at its device or dtype."""
        return self.base.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (…, in) -> (…, out), in x's dtype.

        Raises:
            ValueError: as `check_input`.
        """
        check_input(x, self)
        factors = self.factors
        if factors is None:
            return self.base(x)
        dropout = factors.dropout if self.training else 0.0
        # The seed is drawn from torch's generator, which activation checkpointing restores for the recomputation. It
        # stays a tensor: a number would have to be known while `torch.compile` traces. It stays on the CPU, where
        # reading it waits for no device.
        seed = torch.randint(2**62, (), device="cpu") if dropout else None
        if isinstance(self.base, QuantizedLinear):
            stored = (*self.base.quantized_weight.tensors(), self.base.block_size, self.base.quant_type)
        else:
            stored = (self.base.weight,)
        y = _BaseAndAdapter.apply(x, factors.lora_A, factors.lora_B, factors.scaling, dropout, seed, *stored)
        return y if self.base.bias is None else y + self.base.bias.to(y.dtype)


class _BaseAndAdapter(torch.autograd.Function):
    """Base and adapter as one function, so that x is the only activation kept."""

    @staticmethod
    def forward(ctx, x, lora_A, lora_B, scaling, dropout, seed, *stored):
        ctx.save_for_backward(x, lora_A, lora_B, seed, *(t for t in stored if isinstance(t, torch.Tensor)))
        ctx.scaling, ctx.dropout = scaling, dropout
        ctx.stored = [None if isinstance(t, torch.Tensor) else (t,) for t in stored]
        rows = x.reshape(-1, x.shape[-1])  # (tokens, in)
        if len(stored) == 1:
            y = rows @ stored[0].to(x.dtype).T
        else:
            *quantized, block_size, quant_type = stored
            y = ops.quantized_linear(rows, *quantized, block_size, lora_B.shape[0], quant_type)
        if dropout:
            rows = ops.drop(rows, dropout, seed)
        hidden = rows @ lora_A.to(x.dtype).T  # (tokens, r)
        y = torch.addmm(y, hidden, lora_B.to(x.dtype).T, alpha=scaling)  # (tokens, out)
        return y.view(*x.shape[:-1], lora_B.shape[0])

    @staticmethod
    def backward(ctx, grad):
        x, lora_A, lora_B, seed, *tensors = ctx.saved_tensors
        remaining = iter(tensors)
        stored = [next(remaining) if other is None else other[0] for other in ctx.stored]
        rows = x.reshape(-1, x.shape[-1])  # (tokens, in)
        if ctx.dropout:
            rows = ops.drop(rows, ctx.dropout, seed)
        grad = grad.reshape(-1, grad.shape[-1])  # (tokens, out)
        grad_hidden = ctx.scaling * (grad @ lora_B.to(grad.dtype))  # (tokens, r)
        grad_A = grad_B = grad_x = None
        if ctx.needs_input_grad[1]:
            grad_A = (grad_hidden.T @ rows).to(lora_A.dtype)
        if ctx.needs_input_grad[2]:
            grad_B = (ctx.scaling * (grad.T @ (rows @ lora_A.to(x.dtype).T))).to(lora_B.dtype)
        if ctx.needs_input_grad[0]:
            if len(stored) == 1:
                weight = stored[0].to(grad.dtype)
            else:
                *quantized, block_size, _ = stored
                weight = ops.dequantize(*quantized, block_size, (grad.shape[-1], x.shape[-1]), grad.dtype)
            grad_x = grad_hidden @ lora_A.to(grad.dtype)  # (tokens, in)
            if ctx.dropout:
                grad_x = ops.drop(grad_x, ctx.dropout, seed)
            grad_x = grad_x.addmm_(grad, weight).view(x.shape)
        return (grad_x, grad_A, grad_B, *[None] * (3 + len(ctx.stored)))
