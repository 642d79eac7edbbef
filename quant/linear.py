"""A linear layer over frozen weights, without parameters.

Legend: B rows, T tokens, M flattened rows (`B * T`), K inputs, N outputs, n rows of a chunk.

Gradients flow to the input only. The kernel `stream` dequantises inside every call, in chunks of
rows (on CUDA a layer at once, straight into the dtype of the product: `quant.triton_dequantize`),
and saves nothing for the backward pass but a reference to the codes; `cached` holds a float copy;
`int8` computes in integers (`quant.int8`) and is for training steps only: within `exact_products`
such a layer computes as `stream` does.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quant.errors import QuantError
from quant.int8 import Int8Product, Int8Weight, int8_weight, quantize_rows
from quant.native.passes import Codes
from quant.nf4_cuda import NF4Product, has_kernels
from quant.packing import FrozenWeight
from quant.product import FrozenProduct, product
from quant.triton_dequantize import dequantize_to, is_fused
from quant.weight_store import WeightStore

Kernel = Literal["stream", "cached", "int8"]

# Floats of a chunk that is dequantised at once: it stays in the processor's cache.
CHUNK_ELEMENTS = 1 << 19
# Of one call of the fused kernel on CUDA: any layer's weight is one chunk, a large head several.
FUSED_CHUNK_ELEMENTS = 1 << 26


class QuantLinear(torch.nn.Module):
    """A frozen linear layer: [..., K] to [..., N].

    Args:
        weight: Frozen weight [N, K], or the store of the embedding that the layer is tied to.
        bias: Float [N] or None.
        kernel: `stream` or `cached`.
        compute_dtype: Dtype of the float copy that `cached` holds; inputs must have it.

    Raises:
        QuantError: If the kernel is unknown.

    Attributes:
        in_features: K.
        out_features: N.
        kernel: The kernel in use; change it with `set_kernel`.
    """

    bias: Tensor | None
    cached_NK: Tensor | None
    int8: Int8Weight | None
    inputs: QuantizedInputs | None
    is_exact: bool

    def __init__(
        self,
        weight: FrozenWeight | WeightStore,
        bias: Tensor | None = None,
        kernel: Kernel = "stream",
        compute_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.store = weight if isinstance(weight, WeightStore) else WeightStore(weight)
        self.out_features, self.in_features = self.store.weight.shape
        self.compute_dtype = compute_dtype
        self.register_buffer("bias", None if bias is None else bias.detach(), persistent=False)
        self.register_buffer("cached_NK", None, persistent=False)
        self.int8 = self.inputs = None
        self.is_exact = False
        self.kernel: Kernel = "stream"
        self.set_kernel(kernel)

    @property
    def weight(self) -> FrozenWeight:
        """The frozen weight [N, K]."""
        return self.store.weight

    def set_kernel(self, kernel: Kernel) -> None:
        """Switches the kernel; `cached` builds the float copy, `stream` frees it.

        Args:
            kernel: `stream` or `cached`; `set_int8` switches to `int8`.

        Raises:
            QuantError: If the kernel is unknown.
        """
        if kernel not in ("stream", "cached"):
            raise QuantError(f"no kernel is called {kernel!r}", f"use one of {get_args(Kernel)}")
        self.kernel = kernel
        self.int8 = self.inputs = None
        if kernel == "stream":
            self.cached_NK = None
        elif self.cached_NK is None:
            self.cached_NK = _float_copy(self.weight, self.compute_dtype)

    def set_copy(self, weight_NK: Tensor) -> None:
        """Switches to the kernel `cached` with a float copy that others hold, too.

        Args:
            weight_NK: What the weight dequantises to, [N, K] of the compute dtype.
        """
        self.set_kernel("stream")
        self.kernel = "cached"
        self.cached_NK = weight_NK

    def set_int8(self, channels: Sequence[int], inputs: QuantizedInputs) -> None:
        """Switches to the kernel `int8`.

        Args:
            channels: Input channels that stay in floats.
            inputs: Shared by all layers of a network.
        """
        self.set_kernel("stream")
        self.kernel = "int8"
        self.int8 = int8_weight([self.weight], channels)
        self.inputs = inputs

    def forward(self, input_K: Tensor) -> Tensor:
        """Applies the layer.

        Args:
            input_K: Float [..., K]; of the compute dtype where the kernel is `cached`.

        Returns:
            Float [..., N] of the same dtype.
        """
        input_MK = input_K.reshape(-1, self.in_features)
        output: Tensor
        if self.int8 is not None and self.inputs is not None and not self.is_exact:
            source = self.inputs.of(input_K, input_MK, self.int8)
            output = Int8Product.apply(  # type: ignore[no-untyped-call]
                input_MK, self.int8, source
            )
        elif self.cached_NK is not None:
            output = FrozenProduct.apply(  # type: ignore[no-untyped-call]
                input_MK, self.cached_NK
            )
        elif has_kernels(self.weight):
            output = NF4Product.apply(  # type: ignore[no-untyped-call]
                input_MK, self.weight
            )
        else:
            output = _StreamLinear.apply(  # type: ignore[no-untyped-call]
                input_MK, self.weight
            )
        if self.bias is not None:
            output = output + self.bias
        return output.view(*input_K.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """What `print(model)` shows of the layer."""
        return f"{self.in_features}, {self.out_features}, kernel={self.kernel}"


class QuantizedInputs:
    """Remembers the last input that was quantised, so that layers with one input share it."""

    def __init__(self) -> None:
        self._last: tuple[weakref.ref[Tensor], int, Tensor, Codes] | None = None

    def of(self, input_K: Tensor, input_MK: Tensor, weight: Int8Weight) -> Codes:
        """The codes of an input.

        Args:
            input_K: The tensor that the layers were given, [..., K].
            input_MK: The same, flattened.
            weight: Whose outlier channels to keep.
        """
        if self._last is not None:
            reference, version, channels_n, codes = self._last
            is_same = reference() is input_K and version == input_K._version
            if is_same and torch.equal(channels_n, weight.channels_n):
                return codes
        codes = quantize_rows(input_MK.detach().float(), None, weight.channels_n)
        self._last = (weakref.ref(input_K), input_K._version, weight.channels_n, codes)
        return codes

    def forget(self) -> None:
        """Free what is remembered."""
        self._last = None


@contextmanager
def exact_products(network: torch.nn.Module) -> Iterator[None]:
    """Let layers in integer arithmetic compute in floats: what is scored is the exact kernel's.

    Args:
        network: The model.
    """
    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, QuantLinear) and layer.kernel == "int8" and not layer.is_exact
    ]
    for layer in layers:
        layer.is_exact = True
    try:
        yield
    finally:
        for layer in layers:
            layer.is_exact = False


class _StreamLinear(torch.autograd.Function):
    """A product with a weight that exists as floats for one chunk of rows at a time."""

    @staticmethod
    def forward(ctx: Any, input_MK: Tensor, weight: FrozenWeight) -> Tensor:
        ctx.weight = weight
        ctx.input_dtype = input_MK.dtype
        output_MN: Tensor | None = None
        room = _room(weight)
        for start, stop in _chunks(weight, input_MK.dtype):
            weight_nK = dequantize_to(weight, input_MK.dtype, start, stop, room)
            part_Mn = product(input_MK, weight_nK)
            if stop - start == weight.shape[0]:
                return part_Mn
            if output_MN is None:
                output_MN = part_Mn.new_empty(input_MK.shape[0], weight.shape[0])
            output_MN[:, start:stop] = part_Mn
        assert output_MN is not None
        return output_MN

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MN: Tensor) -> tuple[Tensor, None]:
        weight: FrozenWeight = ctx.weight
        grad_MK: Tensor | None = None
        room = _room(weight)
        for start, stop in _chunks(weight, grad_MN.dtype):
            weight_nK = dequantize_to(weight, grad_MN.dtype, start, stop, room)
            part_MK = product(grad_MN[:, start:stop].contiguous(), weight_nK.t())
            # Added up in float32: a head has so many chunks that 16 bits would lose the last ones.
            grad_MK = part_MK.float() if grad_MK is None else grad_MK.add_(part_MK)
        assert grad_MK is not None
        return grad_MK.to(ctx.input_dtype), None


def _chunks(weight: FrozenWeight, dtype: torch.dtype) -> list[tuple[int, int]]:
    num_rows, num_columns = weight.shape
    limit = FUSED_CHUNK_ELEMENTS if is_fused(weight, dtype) else CHUNK_ELEMENTS
    step = max(1, limit // num_columns)
    return [(start, min(start + step, num_rows)) for start in range(0, num_rows, step)]


def _room(weight: FrozenWeight) -> Tensor | None:
    """Memory for the floats of a chunk on the processor: mapping it anew each time costs most."""
    if weight.device.type != "cpu":
        return None
    return torch.empty(max(CHUNK_ELEMENTS, weight.shape[1]))


def _float_copy(weight: FrozenWeight, dtype: torch.dtype) -> Tensor:
    copy_NK = torch.empty(weight.shape, dtype=dtype, device=weight.device)
    for start, stop in _chunks(weight, dtype):
        copy_NK[start:stop] = dequantize_to(weight, dtype, start, stop)
    return copy_NK
