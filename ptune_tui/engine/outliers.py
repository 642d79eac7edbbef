"""How loud the input channels of each linear layer are, and which are much louder than the others.

Integer arithmetic keeps the loudest in floats (`quant.int8`). They are a property of the model more
than of the text, so one batch tells them. Loud is who has the largest sum of squares.

Legend: K inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ptune_tui.engine.batches import Batch
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.step import label_logits, prefix_of
from quant.linear import QuantLinear


def outlier_channels(
    frozen: FrozenModel,
    prompt: Prompt | None,
    lead_ids: list[int],
    batch: Batch,
    num_channels: int,
) -> dict[str, list[int]]:
    """The loudest input channels of every linear layer but the head, ascending.

    Args:
        frozen (FrozenModel): The model.
        prompt (Prompt | None): What training starts from.
        lead_ids (list[int]): Template tokens that every row begins with.
        batch (Batch): Rows to listen to.
        num_channels (int): How many to take of each layer.
    """
    loudness = input_loudness(
        frozen,
        lambda: label_logits(frozen.network, prefix_of(frozen, prompt, lead_ids), batch),
    )
    return {
        name: sorted(loud_K.topk(min(num_channels, loud_K.numel())).indices.tolist())
        for name, loud_K in loudness.items()
    }


@torch.no_grad()
def input_loudness(frozen: FrozenModel, read: Callable[[], object]) -> dict[str, Tensor]:
    """Sums of squares over the inputs of every linear layer but the head, float32 [K], by name.

    Args:
        frozen (FrozenModel): The model.
        read (Callable[[], object]): Has the model read some text.
    """
    loudness: dict[str, Tensor] = {}
    head = frozen.network.get_output_embeddings()
    hooks = [
        module.register_forward_pre_hook(_listener(loudness, name))
        for name, module in frozen.network.named_modules()
        if isinstance(module, QuantLinear) and module is not head
    ]
    try:
        read()
    finally:
        for hook in hooks:
            hook.remove()
    return loudness


def _listener(
    loudness: dict[str, Tensor], name: str
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def listen(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        loud_K = arguments[0].detach().float().square().flatten(0, -2).sum(0)
        loudness[name] = loudness[name] + loud_K if name in loudness else loud_K

    return listen
