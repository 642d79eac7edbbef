"""The decoder's layers over packed rows, forward and backward.

Legend: M tokens, H hidden, N columns of queries, keys and values, P keys before the rows' own,
L layers, h key/value heads, D head size, n wanted tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ptune_tui.engine.fused.arithmetic import Arithmetic
from ptune_tui.engine.fused.buffers import Buffers, Kept
from ptune_tui.engine.fused.weights import LayerWeights
from quant.native import passes
from quant.native.passes import Rows


@dataclass(frozen=True)
class Tables:
    """The rotary embedding's tables.

    Attributes:
        cosines: float32 [positions, D].
        sines: float32 [positions, D].
    """

    cosines: Tensor
    sines: Tensor


@dataclass
class Pass:
    """One run of packed rows through all layers, kept for its backward pass.

    Attributes:
        rows: The rows.
        tables: Of the rotary embedding.
        past: Keys and values before every row, one [2, h, P, D] a layer.
        wanted_n: Tokens whose last hidden state is read, int64 [n]; None for none: then the pass
            ends with the keys and values of the last layer.
        kept: What each layer keeps; with checkpointing, its input only.
    """

    rows: Rows
    tables: Tables
    past: list[Tensor]
    wanted_n: Tensor | None
    kept: list[Kept] = field(default_factory=list)


@dataclass
class Decoder:
    """A decoder's layers.

    Attributes:
        layers: The weights.
        arithmetic: How their products are computed.
        buffers: Work space, shared with the arithmetic.
        checkpointing: Keep only each layer's input and compute the rest again.
    """

    layers: list[LayerWeights]
    arithmetic: Arithmetic
    buffers: Buffers
    checkpointing: bool = False

    def forward(
        self,
        hidden_MH: Tensor,
        rows: Rows,
        tables: Tables,
        past: list[Tensor],
        wanted_n: Tensor | None,
        name: str,
    ) -> tuple[Pass, Tensor]:
        """Run packed rows.

        Args:
            hidden_MH (Tensor): Embeddings of all tokens, float32 [M, H].
            rows (Rows): Where each row lies.
            tables (Tables): Of the rotary embedding.
            past (list[Tensor]): Keys and values before every row, float32 [2, h, P, D] a layer.
            wanted_n (Tensor | None): Tokens whose hidden state is read, int64 [n].
            name (str): Of the pass; passes that are alive at one time have different ones.

        Returns:
            tuple[Pass, Tensor]: What `backward` needs, and the hidden states float32 [n, H] before
            the last norm.
        """
        run = Pass(rows, tables, past, wanted_n)
        last = len(self.layers) - 1
        for number in range(len(self.layers)):
            kept = self._room(name, number, len(hidden_MH), wanted_n)
            if number == 0:
                kept.input_MH.copy_(hidden_MH)
            run.kept.append(kept)
            following = (
                self._room(name, number + 1, len(hidden_MH), wanted_n).input_MH
                if number < last
                else self.buffers.get(
                    f"{name} last", 0 if wanted_n is None else len(wanted_n), hidden_MH.shape[1]
                )
            )
            self._layer_forward(number, run, kept, following)
        return run, following

    def backward(
        self,
        run: Pass,
        gradient_nH: Tensor | None,
        past_gradients: list[Tensor],
        own_gradients: list[Tensor] | None = None,
        *,
        needs_input: bool = True,
    ) -> Tensor:
        """The gradient of a pass's embeddings, float32 [M, H].

        Args:
            run (Pass): From `forward`; what it keeps is spent.
            gradient_nH (Tensor | None): Of the wanted hidden states.
            past_gradients (list[Tensor]): Added to: of the keys and values before the rows.
            own_gradients (list[Tensor] | None): Of the pass's own keys and values, where others
                attended to them: float32 [2, h, M, D] a layer.
            needs_input (bool): Whether the result is wanted; frozen embeddings need none.
        """
        first = run.kept[0]
        gradient_MH = self.buffers.get("gradient", *first.input_MH.shape)
        gradient_MH.zero_()
        for number in reversed(range(len(self.layers))):
            kept = run.kept[number]
            if self.checkpointing:
                output = self.buffers.get("recomputed", *kept.middle_MH.shape)
                self._layer_forward(number, run, kept, output)
            is_last = number == len(self.layers) - 1
            stream = gradient_MH
            if is_last and run.wanted_n is not None:
                assert gradient_nH is not None
                stream = gradient_nH
            own = None if own_gradients is None else own_gradients[number]
            self._layer_backward(
                number,
                run,
                kept,
                stream,
                gradient_MH,
                past_gradients[number],
                own,
                stops=number == 0 and not needs_input,
            )
        return gradient_MH

    def keys_values(self, run: Pass, number: int) -> Tensor:
        """Keys and values of a pass of one row at a layer, float32 [2, h, M, D].

        With checkpointing the layers share one memory, and these would be the last one's.
        """
        assert not self.checkpointing
        heads = self.layers[number].heads
        qkv_MN = run.kept[number].qkv_MN
        start = heads.num_query_heads * heads.head_size
        pair = qkv_MN[:, start:].view(len(qkv_MN), 2, heads.num_key_value_heads, heads.head_size)
        return pair.permute(1, 2, 0, 3).contiguous()

    def _layer_forward(self, number: int, run: Pass, kept: Kept, output_MH: Tensor) -> None:
        weights, rows = self.layers[number], run.rows
        self.arithmetic.norm_project(
            *(kept.input_MH, weights.input_norm_H, weights.epsilon, weights.qkv),
            *(kept.input_inverses_M, kept.qkv_MN),
        )
        cosines, sines = run.tables.cosines, run.tables.sines
        passes.rotate_rows(kept.qkv_MN, weights.heads, rows, cosines, sines)
        is_last = number == len(self.layers) - 1
        if is_last and run.wanted_n is None:
            return
        width = weights.heads.num_query_heads * weights.heads.head_size
        attended = self.buffers.get("attended", len(kept.qkv_MN), width)
        passes.attention(
            kept.qkv_MN, run.past[number], rows, weights.heads, attended, kept.log_sums_Mq
        )
        stream = kept.input_MH
        if is_last:
            attended, stream = attended[run.wanted_n], stream[run.wanted_n]
        self.arithmetic.project_add(attended, weights.output, stream, kept.middle_MH)
        self.arithmetic.mlp_add(
            kept.middle_MH, weights, kept.middle_inverses_M, kept.gate_up_M2I, output_MH
        )

    def _layer_backward(
        self,
        number: int,
        run: Pass,
        kept: Kept,
        stream: Tensor,
        gradient_MH: Tensor,
        past_gradient: Tensor,
        own_gradient: Tensor | None,
        *,
        stops: bool,
    ) -> None:
        weights = self.layers[number]
        heads = weights.heads
        is_last = number == len(self.layers) - 1
        qkv_gradient = self.buffers.get("qkv gradient", *kept.qkv_MN.shape)
        if is_last and run.wanted_n is None:
            qkv_gradient.zero_()
        else:
            self.arithmetic.mlp_backward(
                stream, kept.middle_MH, weights, kept.middle_inverses_M, kept.gate_up_M2I
            )
            width = heads.num_query_heads * heads.head_size
            attended = self.buffers.get("attended", len(stream), width)
            self.arithmetic.project_backward(stream, weights.output, attended)
            if is_last and run.wanted_n is not None:
                whole = self.buffers.get("attended everywhere", len(gradient_MH), width).zero_()
                # A token may be wanted twice.
                attended = whole.index_add_(0, run.wanted_n, attended)
                gradient_MH.index_add_(0, run.wanted_n, stream)
            passes.attention_backward(
                *(kept.qkv_MN, run.past[number], run.rows, heads, kept.log_sums_Mq),
                *(attended, qkv_gradient, past_gradient),
            )
        if own_gradient is not None:
            start = heads.num_query_heads * heads.head_size
            pair = qkv_gradient[:, start:]
            pair += own_gradient.permute(2, 0, 1, 3).reshape(pair.shape)
        if stops:
            return
        cosines, sines = run.tables.cosines, run.tables.sines
        passes.rotate_rows(qkv_gradient, heads, run.rows, cosines, sines, backward=True)
        self.arithmetic.norm_project_backward(
            *(qkv_gradient, weights.qkv, kept.input_MH, weights.input_norm_H),
            *(kept.input_inverses_M, gradient_MH),
        )

    def _room(self, name: str, number: int, num_tokens: int, wanted_n: Tensor | None) -> Kept:
        """Memory for what a layer keeps."""
        weights = self.layers[number]
        hidden_size = weights.input_norm_H.numel()
        num_behind = num_tokens
        if number == len(self.layers) - 1:
            num_behind = 0 if wanted_n is None else len(wanted_n)
        # With checkpointing all layers share what is computed again.
        shared = f"{name} {'all' if self.checkpointing else number} "
        get = self.buffers.get
        return Kept(
            input_MH=get(f"{name} {number} input", num_tokens, hidden_size),
            input_inverses_M=get(shared + "input inverses", num_tokens),
            qkv_MN=get(shared + "qkv", num_tokens, weights.heads.width),
            log_sums_Mq=get(shared + "log sums", num_tokens, weights.heads.num_query_heads),
            middle_MH=get(shared + "middle", num_behind, hidden_size),
            middle_inverses_M=get(shared + "middle inverses", num_behind),
            gate_up_M2I=get(
                shared + "gate up",
                num_behind,
                weights.gate_up.num_outputs,
                dtype=self.arithmetic.kept_dtype,
            ),
        )
