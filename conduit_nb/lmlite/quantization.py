"""Linear layers in 8-bit integers: a quarter of the memory, and less time for each token.

Weights have one scale for each output, inputs one for each token, made when the token comes
(LLM.int8(), Dettmers et al. 2022, section 2.1: "vector-wise quantization", without its outliers).
Integers add up exactly, and no number of a token depends on another token: a reply is the same
alone and in a batch.
"""

from __future__ import annotations

from typing import Any

import torch

from conduit_nb.errors import ArgumentError

INT8_MAX = 127
"""Of a signed byte, and of its negative."""

MIN_SCALE = 1e-30
"""A row of zeros has no scale; it stays zeros with any."""


class Int8Linear(torch.nn.Module):
    """Does nearly what a linear layer did, for inference only."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self._multiply = torch.ops.aten._int_mm.default  # int8 by int8, summed in int32
        weight = linear.weight.detach().float()
        scales = _scales(weight)
        self._integers = _rounded(weight, scales)  # [out, in]: for one token the fastest by 1.5
        self._scales = scales.squeeze(1)
        bias: Any = linear.bias  # typed as always there
        self.bias: torch.Tensor | None = bias if bias is None else bias.detach().float()

    @property
    def weight(self) -> torch.Tensor:
        """The weights `[out_features, in_features]` as they are meant: a copy, made each time.

        The code of some models (Mamba) reads them past the layer.
        """
        return self._integers * self._scales.unsqueeze(1)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return `[..., out_features]` for `[..., in_features]`."""
        shape = (*states.shape[:-1], self.out_features)
        rows = states.reshape(-1, self.in_features).float()
        if not len(rows):
            return states.new_empty(shape)
        scales = _scales(rows)
        sums = self._multiply(_rounded(rows, scales), self._integers.t())
        result = sums.float().mul_(scales).mul_(self._scales)
        if self.bias is not None:
            result.add_(self.bias)
        return result.to(states.dtype).view(shape)


def quantize_weights(model: torch.nn.Module) -> None:
    """Replace the linear layers of `model` by those of 8 bits; all else keeps its precision.

    Raises ArgumentError where the model is not on the CPU.
    """
    first = next(model.parameters(), None)
    if first is not None and first.device.type != "cpu":
        raise ArgumentError(
            f"quantization='int8' runs on the CPU, and the model is on {first.device}.",
            param="quantization",
            hint="Leave quantization out, or set CONDUIT_LMLITE_DEVICE=cpu.",
        )
    _quantize_inside(model)
    for rest in model.parameters():  # or the file that they lie in would stay in memory whole
        rest.data = rest.data.clone()


def _quantize_inside(module: torch.nn.Module) -> None:
    for name, child in module.named_children():
        if type(child) is torch.nn.Linear:
            setattr(module, name, Int8Linear(child))
        else:
            _quantize_inside(child)


def _scales(rows: torch.Tensor) -> torch.Tensor:
    """Return what one step of an integer is worth in each row: `[rows, 1]`."""
    return rows.abs().amax(1, keepdim=True).div_(INT8_MAX).clamp_(min=MIN_SCALE)


def _rounded(rows: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    return rows.div(scales).round_().to(torch.int8)
