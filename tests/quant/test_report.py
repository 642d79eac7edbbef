from __future__ import annotations

import math

from quant.report import LayerReport, QuantReport


def report(*errors: float | None) -> QuantReport:
    layers = tuple(
        LayerReport(f"layer.{index}", (10 * (index + 1), 4), "int4 zero_point", 25, 160, error)
        for index, error in enumerate(errors)
    )
    return QuantReport(layers, "0" * 64, "llama", "safetensors", "int4")


def test_totals() -> None:
    totals = report(0.1, 0.2)
    assert totals.num_parameters == 120
    assert totals.quantised_bytes == 50
    assert totals.float_bytes == 320


def test_the_error_is_weighted_by_size() -> None:
    assert report(0.1, 0.2).relative_error == math.sqrt((40 * 0.1**2 + 80 * 0.2**2) / 120)
    assert report(0.1, None).relative_error == math.sqrt(40 * 0.1**2 / 120)


def test_there_is_no_error_where_all_is_exact() -> None:
    assert report(None, None).relative_error is None


def test_the_table_has_a_line_a_layer_and_a_total() -> None:
    lines = report(0.1, None).table().splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["layer.0", "10x4", "int4", "zero_point", "25", "10.00%"]
    assert lines[2].endswith("exact")
    assert lines[3].split() == ["total", "120", "50", "5.77%"]
