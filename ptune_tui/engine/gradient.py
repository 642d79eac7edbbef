"""The gradient of a step: one prefix, any number of micro-batches of rows behind it.

Legend: B rows, T tokens of a row, n tokens of the prefix, P virtual tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ptune_tui.engine.batches import Batch
from ptune_tui.engine.fused.step import FusedStep
from ptune_tui.engine.fused.weights import unsupported_reason
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import Prefix
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.step import label_logits, prefix_of
from quant.linear import QuantizedInputs, QuantLinear
from quant.native.build import build


class GradientStep(Protocol):
    """Computes the gradient of a prompt."""

    def __call__(self, prompt: Prompt, lead_ids: list[int], batches: Sequence[Batch]) -> float:
        """Add the gradient of some rows to what a prompt is made of and return their loss.

        Args:
            prompt (Prompt): Its tensor requires a gradient, or comes from what does.
            lead_ids (list[int]): Template tokens that every row begins with.
            batches (Sequence[Batch]): Micro-batches; the loss is the mean over all their labels.
        """
        ...


def unfused_reason(frozen: FrozenModel) -> str | None:
    """Why a model's steps are not computed by the fused decoder; None where they are.

    Args:
        frozen (FrozenModel): The model.
    """
    if frozen.device.type != "cpu" or frozen.compute_dtype != torch.float32:
        return f"it computes on {frozen.device.type} in {frozen.compute_dtype}"
    native = build()
    return native.reason if native.library is None else unsupported_reason(frozen.network)


def make_step(
    frozen: FrozenModel,
    kernel: str,
    outliers: Mapping[str, Sequence[int]],
    *,
    checkpointing: bool,
    fused: bool,
    prefix_dtype: torch.dtype = torch.float32,
) -> GradientStep:
    """The gradient step of a plan.

    Args:
        frozen (FrozenModel): The model.
        kernel (str): `stream`, `cached` or `int8`.
        outliers (Mapping[str, Sequence[int]]): Outlier channels by linear layer, for `int8`.
        checkpointing (bool): Whether layers are computed again in the backward pass.
        fused (bool): Whether to use the fused decoder; `unfused_reason` must be None.
        prefix_dtype (torch.dtype): Of the fused decoder's prefix products beside `int8`.
    """
    if fused:
        return FusedStep(
            frozen, kernel, outliers, checkpointing=checkpointing, prefix_dtype=prefix_dtype
        )
    return LayerStep(frozen, kernel, outliers, checkpointing=checkpointing)


class LayerStep:
    """Gradients through transformers' own layers.

    Args:
        frozen (FrozenModel): The model; the kernel of its linear layers is set.
        kernel (str): `stream`, `cached` or `int8`.
        outliers (Mapping[str, Sequence[int]]): Outlier channels by linear layer, for `int8`.
        checkpointing (bool): Whether layers are computed again in the backward pass.
    """

    def __init__(
        self,
        frozen: FrozenModel,
        kernel: str,
        outliers: Mapping[str, Sequence[int]],
        *,
        checkpointing: bool = False,
    ) -> None:
        self.frozen = frozen
        self.checkpointing = checkpointing
        self.inputs = QuantizedInputs()
        for name, layer in frozen.network.named_modules():
            if not isinstance(layer, QuantLinear):
                continue
            if kernel == "int8":
                # The head sees the label positions only; it stays exact.
                if name in outliers:
                    layer.set_int8(outliers[name], self.inputs)
            elif layer.kernel != kernel and layer is not frozen.network.get_output_embeddings():
                layer.set_kernel(kernel)  # type: ignore[arg-type]

    def __call__(self, prompt: Prompt, lead_ids: list[int], batches: Sequence[Batch]) -> float:
        """Add the gradient of some rows to what a prompt is made of and return their loss.

        Args:
            prompt (Prompt): Its tensor requires a gradient, or comes from what does.
            lead_ids (list[int]): Template tokens that every row begins with.
            batches (Sequence[Batch]): Micro-batches; the loss is the mean over all their labels.
        """
        prefix = prefix_of(self.frozen, prompt, lead_ids)
        tensors = [tensor for pair in prefix.layers for tensor in pair]
        if prefix.embeddings_nH is not None:
            tensors = [prefix.embeddings_nH]
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        shared = _of(prefix, leaves)
        num_labels = sum(len(batch.labels) for batch in batches)
        loss = 0.0
        for batch in batches:
            with checkpointed_layers(self.frozen.network, self.checkpointing):
                logits = label_logits(self.frozen.network, shared, batch).float()
            labels = batch.labels.to(logits.device)
            part = functional.cross_entropy(logits, labels, reduction="sum") / num_labels
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
        self.inputs.forget()
        pairs = [
            (tensor, leaf.grad)
            for tensor, leaf in zip(tensors, leaves, strict=True)
            if tensor.requires_grad and leaf.grad is not None
        ]
        torch.autograd.backward([tensor for tensor, _ in pairs], [grad for _, grad in pairs])
        return loss


def _of(prefix: Prefix, leaves: list[Tensor]) -> Prefix:
    """A prefix of other tensors of the same shapes."""
    if prefix.embeddings_nH is not None:
        return Prefix([], prefix.length, leaves[0])
    pairs = list(zip(leaves[::2], leaves[1::2], strict=True))
    return Prefix(pairs, prefix.length)


@contextmanager
def checkpointed_layers(network: Any, wanted: bool) -> Iterator[None]:
    """Let the decoder's layers keep only their input and compute the rest again.

    Args:
        network (Any): The model.
        wanted (bool): Whether they should.
    """
    layers = decoder_layers(network) if wanted else []
    for layer in layers:
        layer.forward = partial(checkpoint, type(layer).forward.__get__(layer), use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def decoder_layers(network: Any) -> list[Any]:
    """The decoder's layers: the outermost list of as many modules as the model says it has layers.

    Args:
        network (Any): The model.
    """
    num_layers = network.config.get_text_config().num_hidden_layers
    lists = (module for module in network.modules() if isinstance(module, nn.ModuleList))
    return list(next(layers for layers in lists if len(layers) == num_layers))
