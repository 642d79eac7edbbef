"""A linear layer whose weights move at one relative speed, whatever its width.

A method's learning rate is measured in units of the prompt's first values. The weights of an MLP
inside a method have another size, so one AdamW step of that rate would be far too long for them.
Their values are therefore stored in the prompt's units and scaled at run time: the equalised
learning rate of Karras et al. 2018, "Progressive Growing of GANs" (section 4.1).

Legend: P virtual tokens, I inputs, O outputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

RELATIVE_SPEED = 0.1
"""How far a weight moves relative to its size where a prompt's value moves by the whole rate."""


class ScaledLinear(nn.Module):
    """A linear layer that keeps unit variance, [P, I] to [P, O].

    Args:
        num_inputs (int): I.
        num_outputs (int): O.
        unit (float): What the learning rate is measured in.
        generator (torch.Generator | None): Of the weights; None starts from zero weights.
    """

    bias_scale: Tensor
    weight_scale: Tensor

    def __init__(
        self, num_inputs: int, num_outputs: int, unit: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        bias_scale = RELATIVE_SPEED / unit
        shape = (num_outputs, num_inputs)
        weight_OI = torch.zeros(shape)
        if generator is not None:
            weight_OI = torch.randn(shape, generator=generator) / bias_scale
        self.register_buffer("bias_scale", torch.tensor(bias_scale))
        self.register_buffer("weight_scale", torch.tensor(bias_scale / math.sqrt(num_inputs)))
        self.weight = nn.Parameter(weight_OI)
        self.bias = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, inputs_PI: Tensor) -> Tensor:
        """Outputs float32 [P, O]."""
        weight_OI = self.weight * self.weight_scale
        return functional.linear(inputs_PI, weight_OI, self.bias * self.bias_scale)
