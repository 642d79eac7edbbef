from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from quant.int8_cuda import failure_on, padded_int8_matmul

CPU = torch.device("cpu")


@pytest.fixture
def _limits_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch refuses on CUDA."""
    product: Callable[[Tensor, Tensor], Tensor] = torch._int_mm

    def int_mm(left: Tensor, right: Tensor) -> Tensor:
        assert left.shape[0] > 16
        assert left.shape[1] % 8 == 0
        assert right.shape[1] % 8 == 0
        return product(left, right)

    monkeypatch.setattr(torch, "_int_mm", int_mm)


@pytest.mark.usefixtures("_limits_of_a_card")
@pytest.mark.parametrize("shape", [(1, 8, 8), (16, 24, 40), (17, 5, 8), (33, 16, 3), (3, 7, 9)])
@pytest.mark.parametrize("is_view", [False, True])
def test_products_of_any_shape_are_exact(shape: tuple[int, int, int], is_view: bool) -> None:
    num_rows, num_inputs, num_outputs = shape
    generator = torch.Generator().manual_seed(0)
    left = torch.randint(-127, 128, (num_rows, num_inputs), generator=generator).to(torch.int8)
    right = torch.randint(-127, 128, (num_outputs, num_inputs), generator=generator).to(torch.int8)
    expected = left.long() @ right.t().long()
    found = padded_int8_matmul(left, right.t() if is_view else right.t().contiguous())
    assert found.dtype == torch.int32
    assert torch.equal(found.long(), expected)


def test_a_device_without_integer_products_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failure_on(CPU) is None

    def int_mm(*_: Tensor) -> Tensor:
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED\nmore")

    monkeypatch.setattr(torch, "_int_mm", int_mm)
    assert failure_on(CPU) == "CUBLAS_STATUS_NOT_SUPPORTED"
    monkeypatch.setattr(torch, "_int_mm", lambda left, _: left.int())
    assert failure_on(CPU) == "the products are wrong"


@pytest.mark.gpu
def test_a_card_computes_integer_products() -> None:
    assert failure_on(torch.device("cuda")) is None
