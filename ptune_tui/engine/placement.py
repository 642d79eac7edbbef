"""Where a model computes and in which precision: what was asked for, what there is, and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ptune_tui.config import ComputeType, Device, Kernel, Scheme
from ptune_tui.errors import UsageError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """A device and a precision.

    Attributes:
        device: Where the model computes.
        compute_dtype: Dtype of its activations; what is trained stays float32.
        reason: Why, as the end of a sentence.
        warning: What is not known of it; may be empty.
    """

    device: torch.device
    compute_dtype: torch.dtype
    reason: str
    warning: str = ""

    @property
    def sentence(self) -> str:
        """What the user reads."""
        precision = str(self.compute_dtype).removeprefix("torch.")
        return f"The model computes on `{self.device.type}` in {precision}: {self.reason}."


def choose_placement(
    device: Device, compute_type: ComputeType, scheme: Scheme, kernel: Kernel
) -> Placement:
    """The device and precision of a run.

    Args:
        device (Device): What was asked for; `auto` takes CUDA where there is any, else the CPU.
        compute_type (ComputeType): What was asked for; `auto` is float32, on CUDA bfloat16.
        scheme (Scheme): The grid of float checkpoints.
        kernel (Kernel): What was asked for.

    Raises:
        UsageError: The device is not there, or cannot run the grid or the kernel.
    """
    chosen = _device(device)
    if chosen == "mps" and (scheme == "nf4" or kernel == "int8"):
        what = "the kernel `int8`" if kernel == "int8" else "the scheme `nf4`"
        raise UsageError(
            f'`model.device = "mps"` was asked for together with {what}, which has no path there.',
            'Use `scheme = "int4"` with `kernel = "stream"` or `"cached"`, or `device = "cpu"`.',
        )
    dtype, reason = _dtype(chosen, compute_type)
    if device == "auto":
        reason = f"{'there is a CUDA card' if chosen == 'cuda' else 'no CUDA here'}, {reason}"
    return Placement(torch.device(chosen), dtype, reason, _warning(chosen, dtype))


def is_there(device: Device) -> bool:
    """Whether this machine has what a run asks for.

    Args:
        device (Device): As it asks.
    """
    if device == "cuda":
        return torch.cuda.is_available()
    return device != "mps" or torch.backends.mps.is_available()


def _device(asked: Device) -> str:
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not is_there(asked):
        raise UsageError(
            f'`model.device = "cuda"` was asked for, but torch {torch.__version__} finds no CUDA '
            "card.",
            'Use `device = "auto"` or `"cpu"`, or install a CUDA build of torch and the driver.',
        )
    if asked == "mps" and not is_there(asked):
        raise UsageError(
            f'`model.device = "mps"` was asked for, but torch {torch.__version__} finds no Apple '
            "graphics processor.",
            'Use `device = "auto"` or `"cpu"`.',
        )
    return asked


def _dtype(device: str, asked: ComputeType) -> tuple[torch.dtype, str]:
    if asked != "auto":
        return _DTYPES[asked], "as asked"
    if device != "cuda":
        return torch.float32, "float32 is exact and fast enough there"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16, "its matrix units are fastest in 16 bits"
    return torch.float16, "the card knows no bfloat16"


def _warning(device: str, dtype: torch.dtype) -> str:
    if device == "mps":
        return "Nothing was tested on Apple's graphics processors: compare the first losses."
    if dtype == torch.float16:
        return "Small gradients vanish in float16; if the loss stalls, use float32."
    return ""
