"""The gradient of a step through the fused decoder: one prefix, any number of micro-batches.

Legend: B rows, T tokens of a row, M packed tokens, n tokens of the prefix, N label positions,
P virtual tokens, H hidden, V vocabulary, L layers, h key/value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ptune_tui.engine.batches import Batch
from ptune_tui.engine.fused.arithmetic import FloatArithmetic, IntegerArithmetic
from ptune_tui.engine.fused.buffers import Buffers
from ptune_tui.engine.fused.decoder import Decoder, Tables
from ptune_tui.engine.fused.weights import read_layers
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import LayerPrefix, Prompt
from quant.native.passes import Rows

# The packed tokens are padded to a multiple: each new shape makes oneDNN compile a product.
_TOKENS_STEP = 32
# Logits that exist at one time.
_MAX_LOGITS = 1 << 24


class FusedStep:
    """Computes gradients of prompts; what it keeps between passes is mapped once.

    Products in floats allocate their outputs at each call: oneDNN's operator takes none.

    Args:
        frozen (FrozenModel): A model that `fused.weights.unsupported_reason` has nothing against.
        kernel (str): `stream`, `cached` or `int8`.
        outliers (Mapping[str, Sequence[int]]): Outlier channels by linear layer, for `int8`.
        checkpointing (bool): Of the rows' passes keep only the layers' inputs.
        prefix_dtype (torch.dtype): Of the prefix's products beside `int8`; float32 or bfloat16.
    """

    def __init__(
        self,
        frozen: FrozenModel,
        kernel: str,
        outliers: Mapping[str, Sequence[int]],
        *,
        checkpointing: bool = False,
        prefix_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.frozen = frozen
        self.buffers = Buffers()
        self.tables = Tables(torch.empty(0), torch.empty(0))
        arithmetic = IntegerArithmetic if kernel == "int8" else FloatArithmetic
        self.rows_decoder = Decoder(
            read_layers(frozen.network, kernel, outliers),
            arithmetic(self.buffers),
            self.buffers,
            checkpointing,
        )
        # The prefix is short, everything else depends on it, and its first token is the loudest of
        # all: in integers it would be most of the gradient's error. Its keys and values are read
        # behind the pass, so every layer keeps its own.
        layers = self.rows_decoder.layers
        if kernel == "int8":
            layers = read_layers(frozen.network, "stream", {}, prefix_dtype)
        self.prefix_decoder = Decoder(
            layers,
            FloatArithmetic(self.buffers),
            self.buffers,
        )

    def __call__(self, prompt: Prompt, lead_ids: list[int], batches: Sequence[Batch]) -> float:
        """Add the gradient of some rows to what a prompt is made of and return their loss.

        Args:
            prompt (Prompt): Its tensor requires a gradient, or comes from what does.
            lead_ids (list[int]): Template tokens that every row begins with.
            batches (Sequence[Batch]): Micro-batches; the loss is the mean over all their labels.
        """
        self._extend_tables(prompt, lead_ids, batches)
        decoder, num_layers = self.prefix_decoder, len(self.prefix_decoder.layers)
        before = self._keys_values_before(prompt)
        start = before[0].shape[2]
        embeddings_nH = self._prefix_embeddings(prompt, lead_ids)
        length = len(embeddings_nH)
        past = before
        if length:
            prefix, _ = decoder.forward(
                embeddings_nH, _one_row(start, length), self.tables, before, None, "prefix"
            )
            own = [decoder.keys_values(prefix, number) for number in range(num_layers)]
            past = [torch.cat(pair, dim=2) for pair in zip(before, own, strict=True)]
        gradients = [torch.zeros_like(pair) for pair in past]
        num_labels = sum(len(batch.labels) for batch in batches)
        loss = sum(self._rows(batch, past, gradients, num_labels) for batch in batches)
        before_gradients = [pair[:, :, :start].contiguous() for pair in gradients]
        embeddings_gradient = embeddings_nH
        if length:
            embeddings_gradient = decoder.backward(
                prefix,
                None,
                before_gradients,
                [pair[:, :, start:] for pair in gradients],
                needs_input=not isinstance(prompt, LayerPrefix),
            )
        if isinstance(prompt, LayerPrefix):
            prompt.keys_values.backward(torch.stack(before_gradients))  # type: ignore[no-untyped-call]
        else:
            gradient_PH = embeddings_gradient[: prompt.num_virtual_tokens].clone()
            prompt.embeddings_PH.backward(gradient_PH)  # type: ignore[no-untyped-call]
        return loss

    def _rows(
        self, batch: Batch, past: list[Tensor], gradients: list[Tensor], num_labels: int
    ) -> float:
        """Loss of a micro-batch; its gradient is added to that of the past keys and values."""
        ids, rows, starts = packed(batch, past[0].shape[2])
        wanted_N = starts[batch.label_rows] + batch.label_columns
        hidden_MH = self.frozen.embed(ids)
        run, last_NH = self.rows_decoder.forward(
            hidden_MH, rows, self.tables, past, wanted_N, "rows"
        )
        loss, gradient_NH = self._head(last_NH, batch.labels, num_labels)
        self.rows_decoder.backward(run, gradient_NH, gradients, needs_input=False)
        return loss

    def _head(self, last_NH: Tensor, labels: Tensor, num_labels: int) -> tuple[float, Tensor]:
        """Loss of hidden states and its gradient float32 [N, H]."""
        network = self.frozen.network
        gradient_NH = torch.empty_like(last_NH)
        loss, step = 0.0, max(1, _MAX_LOGITS // network.config.vocab_size)
        for start in range(0, len(labels), step):
            part = slice(start, start + step)
            hidden = last_NH[part].clone().requires_grad_()
            with torch.enable_grad():
                logits = network.get_output_embeddings()(network.model.norm(hidden)).float()
                part_loss = functional.cross_entropy(logits, labels[part], reduction="sum")
                part_loss = part_loss / num_labels
            part_loss.backward()  # type: ignore[no-untyped-call]
            assert hidden.grad is not None
            gradient_NH[part] = hidden.grad
            loss += float(part_loss.detach())
        return loss, gradient_NH

    def _prefix_embeddings(self, prompt: Prompt, lead_ids: list[int]) -> Tensor:
        lead_nH = self.frozen.embed(torch.tensor(lead_ids, dtype=torch.int64))
        if isinstance(prompt, LayerPrefix):
            return lead_nH
        return torch.cat([prompt.embeddings_PH.detach(), lead_nH])

    def _keys_values_before(self, prompt: Prompt) -> list[Tensor]:
        """Keys and values before the prefix, float32 [2, h, P, D] a layer."""
        if isinstance(prompt, LayerPrefix):
            return list(prompt.keys_values.detach().contiguous())
        heads = self.prefix_decoder.layers[0].heads
        none = torch.empty((2, heads.num_key_value_heads, 0, heads.head_size))
        return [none] * len(self.prefix_decoder.layers)

    def _extend_tables(self, prompt: Prompt, lead_ids: list[int], batches: Sequence[Batch]) -> None:
        """Rotary tables up to the last position that is used."""
        longest = max(int(batch.lengths.max()) for batch in batches)
        needed = prompt.num_virtual_tokens + len(lead_ids) + max(longest, _TOKENS_STEP)
        if needed <= len(self.tables.cosines):
            return
        positions = torch.arange(2 * needed).unsqueeze(0)
        rotary = self.frozen.network.model.rotary_emb
        cosines, sines = rotary(torch.empty(0), positions)
        self.tables = Tables(cosines[0].float().contiguous(), sines[0].float().contiguous())


def packed(batch: Batch, num_before: int) -> tuple[Tensor, Rows, Tensor]:
    """The rows' own tokens end to end, and a last row that pads them.

    Args:
        batch (Batch): The rows.
        num_before (int): Position of each row's first token.

    Returns:
        tuple[Tensor, Rows, Tensor]: Tokens int64 [M], where the rows lie, and the rows' first
        tokens int64 [B].
    """
    width = batch.input_ids.shape[1]
    columns = torch.arange(width).expand_as(batch.input_ids)
    is_real = columns < batch.lengths.unsqueeze(1)
    num_padding = -batch.num_tokens % _TOKENS_STEP
    padding = torch.zeros(num_padding, dtype=torch.int64)
    ids = torch.cat([batch.input_ids[is_real], padding])
    positions = torch.cat([columns[is_real], torch.arange(num_padding)]) + num_before
    ends = batch.lengths.cumsum(0)
    edges = [torch.zeros(1, dtype=torch.int64), ends]
    if num_padding:
        edges.append(ends[-1:] + num_padding)
    rows = Rows(torch.cat(edges).int(), positions.int())
    return ids, rows, ends - batch.lengths


def _one_row(start: int, length: int) -> Rows:
    positions = torch.arange(start, start + length, dtype=torch.int32)
    return Rows(torch.tensor([0, length], dtype=torch.int32), positions)
