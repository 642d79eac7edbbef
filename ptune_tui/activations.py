"""What a training step keeps for its backward pass, counted from a model's sizes. Torch-free.

Legend: H hidden, A width of all query heads, K width of all key heads, I inside the MLP.

Through transformers' layers (`torch.autograd.graph.saved_tensors_hooks` counts the same):

    a token, a layer            norms * H + 4 A + MLP widths * I
    a virtual token, row, layer 2 A, as every row sees its key and value, repeated to A

In the fused step (`engine.fused`), which owns its memory:

    a token, a layer            2 H + A + 2 K + query heads + 2 I (half of it in integers)
    a virtual token, layer      6 K: keys and values of the prefix alone, with the rest, gradients
"""

from __future__ import annotations

from ptune_tui.model_numbers import ModelNumbers
from ptune_tui.step_setting import Setting, is_fused


def kept_floats_of_layer(numbers: ModelNumbers, num_keys: int, *, is_half: bool = False) -> int:
    """Activations that a layer keeps of one token, its own key and value included.

    Args:
        numbers (ModelNumbers): The model's sizes.
        num_keys (int): Keys that the token's row has, where the scores exist as tensors.
        is_half (bool): Whether activations have two bytes; what stays in four counts twice.
    """
    norms = numbers.num_norm_inputs * numbers.hidden_size
    if numbers.norms_heads:
        norms += numbers.query_size + numbers.key_value_size
    if is_half and numbers.is_gated:
        norms *= 2  # the families with a gate have root-mean-square norms, computed in float32
    # Query, repeated key and value; and the output, or scores before and after the softmax.
    attention = 4 * numbers.query_size
    if numbers.keeps_scores:
        num_scores = 3 if is_half else 2
        attention = 3 * numbers.query_size + num_scores * numbers.num_heads * num_keys
    if numbers.keeps_fused_queries:
        attention += 2 * numbers.query_size
    return norms + attention + mlp_widths(numbers) * numbers.intermediate_size


def mlp_widths(numbers: ModelNumbers) -> int:
    """Tensors of the MLP's inner width that the backward pass needs."""
    if numbers.is_gated:
        return 3
    # transformers writes this one out in element-wise passes.
    return 4 if numbers.activation == "gelu_new" else 1


def kept_floats(numbers: ModelNumbers, setting: Setting) -> tuple[int, int]:
    """Activations alive when the backward pass begins: the tokens' own, and shared ones.

    Args:
        numbers (ModelNumbers): The model's sizes.
        setting (Setting): How the step is computed.

    Returns:
        What tokens keep, and the prompt's keys and values as rows see them.
    """
    num_row_tokens = setting.num_rows * setting.num_row_tokens
    num_prompt_tokens = setting.num_computed_prefix_tokens
    if is_fused(numbers, setting):
        shared = 6 * numbers.key_value_size * setting.num_prefix_tokens * numbers.num_layers
        of_rows = num_row_tokens * _fused_floats_of_layer(numbers, setting.kernel == "int8")
        # The prefix is computed in floats with every kernel.
        of_prompt = num_prompt_tokens * _fused_floats_of_layer(numbers, is_int8=False)
        if not setting.checkpointing:
            return numbers.num_layers * (of_rows + of_prompt), shared
        # The prefix's layers keep everything: their keys and values are read behind the pass.
        inputs = numbers.hidden_size * num_row_tokens
        return numbers.num_layers * (inputs + of_prompt) + of_rows, shared
    num_keys = setting.num_prefix_tokens + setting.num_row_tokens
    of_layer = kept_floats_of_layer(numbers, num_keys, is_half=setting.device == "cuda")
    shared = 2 * numbers.query_size * setting.num_rows * setting.num_prefix_tokens
    prompt = numbers.num_layers * num_prompt_tokens * of_layer
    if not setting.checkpointing:
        return prompt + numbers.num_layers * num_row_tokens * of_layer, numbers.num_layers * shared
    # Every layer keeps its input, and one layer at a time all the rest.
    inputs = numbers.num_layers * numbers.hidden_size * num_row_tokens
    return prompt + inputs + num_row_tokens * of_layer, shared


def _fused_floats_of_layer(numbers: ModelNumbers, is_int8: bool) -> int:
    num_widths = 1 if is_int8 else 2  # gate and up, in bfloat16 or float32
    qkv = numbers.query_size + 2 * numbers.key_value_size + numbers.num_heads
    return 2 * numbers.hidden_size + qkv + num_widths * numbers.intermediate_size
