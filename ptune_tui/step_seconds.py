"""Seconds of a training step: counts of arithmetic over a machine's throughputs. Torch-free."""

from __future__ import annotations

from ptune_tui.activations import kept_floats_of_layer
from ptune_tui.model_numbers import ModelNumbers
from ptune_tui.step_setting import Setting, is_fused
from ptune_tui.throughput import GIGA, Throughput

FLOAT_BYTES = {"cpu": 4, "cuda": 2}
# How often element-wise passes read or write what a layer keeps, forward and backward; fitted.
_LAYER_PASSES = 7.5
_FUSED_PASSES = 3.0
_FUSED_INT8_PASSES = 1.65
_SECONDS_A_LAYER = 0.003  # of calls and small tensors, whatever the rows; fitted


def step_seconds(numbers: ModelNumbers, setting: Setting, machine: Throughput) -> float:
    """Seconds of a step: products, dequantised weights and element-wise passes, one after another.

    A product with the input's gradient only is computed forward and backward, and once more where
    layers are computed again. The prompt's own tokens run once a step.

    Args:
        numbers (ModelNumbers): The model's sizes.
        setting (Setting): How the step is computed.
        machine (Throughput): The machine's figures.
    """
    passes = 3 if setting.checkpointing else 2
    num_row_tokens = setting.batch_size * setting.num_row_tokens
    num_prompt_tokens = setting.num_computed_prefix_tokens
    num_layer_tokens = passes * num_row_tokens + 2 * num_prompt_tokens
    is_int8 = setting.kernel == "int8" and machine.int8_gops > 0
    row_gops = machine.int8_gops if is_int8 else machine.float_gops
    rows = 2 * numbers.num_layer_weights * passes * num_row_tokens / row_gops
    # The prompt's own tokens are computed in floats with every kernel.
    prompt = 2 * numbers.num_layer_weights * 2 * num_prompt_tokens / machine.float_gops
    num_keys = setting.num_prefix_tokens + setting.num_row_tokens
    # Scores and their product with the values; backward has two and a half times as many.
    attention = 4 * 3.5 * numbers.num_layers * numbers.query_size * num_row_tokens * num_keys
    head_weights = numbers.vocab_size * numbers.embedding_size
    head = 4 * head_weights * setting.batch_size * setting.num_label_tokens
    seconds = rows + prompt + (attention + head) / machine.float_gops
    num_runs = 2 if num_prompt_tokens and setting.kernel != "cached" else 0
    if setting.kernel == "stream":
        num_runs += passes * setting.num_micro_batches
    dequantised = num_runs * numbers.num_layer_weights
    if setting.kernel != "cached":
        dequantised += 2 * head_weights
    seconds += dequantised / machine.dequantised_gweights
    of_layer = kept_floats_of_layer(numbers, num_keys)
    num_passes = _LAYER_PASSES
    if is_fused(numbers, setting):
        num_passes = _FUSED_INT8_PASSES if is_int8 else _FUSED_PASSES
    moved = num_passes * FLOAT_BYTES[setting.device] * numbers.num_layers * of_layer
    seconds += moved * num_layer_tokens / 2 / machine.bandwidth_gbytes
    return seconds / GIGA + _SECONDS_A_LAYER * numbers.num_layers
