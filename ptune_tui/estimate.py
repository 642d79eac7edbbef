"""Peak memory and time of a training step, from a model's sizes alone.

Legend: B rows of a micro-batch, T tokens of a row, P virtual tokens (and lead), H hidden,
A width of all query heads, K width of all key heads, I inside the MLP, V vocabulary, L layers.

What a step keeps for its backward pass was counted (`torch.autograd.graph.saved_tensors_hooks`):

    a token, a layer            norms * H + 2 A + 2 A + MLP widths * I
    a virtual token, row, layer 2 A, as every row sees its key and value, repeated to A

On a processor the heap takes more than the tensors: freed pieces lie between kept ones, and equal
requests do not fit into them again. `CPU` holds those shares with the other measured coefficients;
`python bench/memory.py --fit` derives them anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptune_tui.config import MethodName
from ptune_tui.model_numbers import ModelNumbers
from ptune_tui.throughput import GIGA, NOT_MEASURED, Throughput

Fit = Literal["fits", "tight", "does not fit"]
TrainingKernel = Literal["stream", "cached", "int8"]
TrainingDevice = Literal["cpu", "cuda"]

TIGHT_SHARE = 0.8  # of the available memory
INT4_BYTES = 0.75  # a weight on the 4-bit grid: code, and scale and offset shared by 32
INT8_BYTES = 1.125  # a weight of the vocabulary: code, and scale shared by 32
INT8_COPY_BYTES = 1.0  # a weight of the kernel `int8`; its scales and float columns are few
OUTLIER_CHANNELS = 16
CHUNK_WEIGHTS = 1 << 22  # of which `stream` makes floats at once, as in `quant.linear`
CHUNK_COPIES = 3  # of a chunk at once while it is made: codes as floats, scales, the product's
TRAINED_COPIES = 4  # of a trained number: value, gradient, two of AdamW
LOGIT_COPIES = 3  # logits, their softmax and its gradient


@dataclass(frozen=True)
class Coefficients:
    """What was measured, not counted.

    Attributes:
        process_bytes: The process with its libraries and tokenizer, without the weights.
        loading_bytes: More than that while the model is loaded.
        kept_share: Memory that kept activations take, as a multiple of their bytes.
        shared_share: The same of the prompt's keys and values as every row sees them.
        float_bytes: Bytes of an activation.
        copy_bytes: Bytes of a weight of a float copy.
        source: Where the figures come from.
    """

    process_bytes: int
    loading_bytes: int
    kept_share: float
    shared_share: float
    float_bytes: int
    copy_bytes: int
    source: str


CPU = Coefficients(500_000_000, 150_000_000, 1.48, 1.0, 4, 4, "bench/memory.py")
# bf16 activations; norms keep their input in fp32. CUDA's context and libraries are assumed.
CUDA = Coefficients(700_000_000, 100_000_000, 1.1, 1.1, 2, 2, NOT_MEASURED)


@dataclass(frozen=True)
class Setting:
    """How a step is computed.

    Attributes:
        method: What is trained.
        num_virtual_tokens: P.
        batch_size: Rows a step.
        num_row_tokens: Tokens of a row, padding included.
        num_label_tokens: Tokens of a row that the loss is taken on.
        micro_batch_size: Rows computed at a time; 0: all.
        kernel: How products are computed.
        checkpointing: Whether layers are computed again in the backward pass.
        device: Where.
        mlp_size: Hidden width of `residual`, `p-tuning` and a reparametrised `prefix`.
        rank: Of `lowrank`.
        reparametrise: Whether `prefix` is trained through an MLP.
    """

    method: MethodName = "prompt"
    num_virtual_tokens: int = 20
    batch_size: int = 32
    num_row_tokens: int = 64
    num_label_tokens: int = 2
    micro_batch_size: int = 0
    kernel: TrainingKernel = "cached"
    checkpointing: bool = False
    device: TrainingDevice = "cpu"
    mlp_size: int = 128
    rank: int = 64
    reparametrise: bool = False

    @property
    def num_rows(self) -> int:
        """B."""
        return min(self.micro_batch_size or self.batch_size, self.batch_size)

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of a step."""
        return -(-self.batch_size // self.num_rows)


@dataclass(frozen=True)
class Estimate:
    """Memory at the peak of a step, part by part in bytes, and time.

    Attributes:
        process: The process and its libraries.
        weights: The frozen weights on their grid.
        copies: Float or 8-bit copies of the weights.
        trained: The method's numbers with gradients and the optimiser's state.
        kept: Activations that the backward pass needs.
        logits: At the label positions.
        work_space: What one layer needs while it computes.
        loading: What loading the model takes beyond the step, where that is more.
        seconds: Of one step; None where the machine's speed is not known.
        tokens_per_second: The rows' own tokens; None likewise.
        speed_source: Where the machine's figures come from.
        assumption: A sentence, where the model's family is not known here.
    """

    process: int
    weights: int
    copies: int
    trained: int
    kept: int
    logits: int
    work_space: int
    loading: int
    seconds: float | None
    tokens_per_second: float | None
    speed_source: str | None
    assumption: str | None

    @property
    def parts(self) -> dict[str, int]:
        """The parts by name, in bytes."""
        return {
            "process": self.process,
            "weights": self.weights,
            "copies": self.copies,
            "trained": self.trained,
            "kept activations": self.kept,
            "logits": self.logits,
            "work space": self.work_space,
            "loading": self.loading,
        }

    @property
    def peak_bytes(self) -> int:
        """All of it."""
        return sum(self.parts.values())


def estimate(
    numbers: ModelNumbers, setting: Setting, throughput: Throughput | None = None
) -> Estimate:
    """Estimate a step.

    Args:
        numbers (ModelNumbers): The model's sizes.
        setting (Setting): How the step is computed.
        throughput (Throughput | None): The machine's figures; None: no time is estimated.
    """
    measured = coefficients(setting)
    size = measured.float_bytes
    own, shared = kept_floats(numbers, setting)
    trained = 4 * TRAINED_COPIES * num_trained(numbers, setting)
    kept = int(size * (measured.kept_share * own + measured.shared_share * shared))
    num_labels = setting.num_rows * setting.num_label_tokens
    logits = LOGIT_COPIES * 4 * num_labels * numbers.vocab_size
    work_space = _work_space(numbers, setting, size)
    seconds = _seconds(numbers, setting, throughput) if throughput else None
    num_tokens = setting.batch_size * setting.num_row_tokens
    return Estimate(
        process=measured.process_bytes,
        weights=_weights(numbers, size),
        copies=_copies(numbers, setting, measured),
        trained=trained,
        kept=kept,
        logits=logits,
        work_space=work_space,
        loading=max(0, measured.loading_bytes - trained - kept - logits - work_space),
        seconds=seconds,
        tokens_per_second=num_tokens / seconds if seconds else None,
        speed_source=throughput.source if throughput else None,
        assumption=numbers.assumption,
    )


def coefficients(setting: Setting) -> Coefficients:
    """The measured figures of a setting's device."""
    return CUDA if setting.device == "cuda" else CPU


def fit(estimated_bytes: int, available_bytes: int) -> Fit:
    """Whether an estimate goes into the available memory.

    Args:
        estimated_bytes (int): `Estimate.peak_bytes`.
        available_bytes (int): From `hardware.Machine`, or a card's memory.
    """
    if estimated_bytes <= TIGHT_SHARE * available_bytes:
        return "fits"
    return "tight" if estimated_bytes <= available_bytes else "does not fit"


def num_trained(numbers: ModelNumbers, setting: Setting) -> int:
    """Trained numbers of a method; the files of `engine/methods` say what they are."""
    num_tokens, hidden_size, mlp = setting.num_virtual_tokens, numbers.hidden_size, setting.mlp_size
    tokens = num_tokens * hidden_size
    if setting.method == "residual":
        return tokens + 2 * hidden_size * mlp + mlp + 3 * hidden_size
    if setting.method == "lowrank":
        return num_tokens * setting.rank + 2 * hidden_size
    if setting.method == "p-tuning":
        return tokens + 2 * hidden_size * mlp + mlp * mlp + 2 * mlp + hidden_size
    if setting.method == "prefix":
        size, layers = numbers.key_value_size, 2 * numbers.num_layers
        if setting.reparametrise:
            codes = num_tokens * size
            return codes + (size + 1) * mlp + (mlp + 1) * layers * size
        return num_tokens * layers * size
    return tokens


def kept_floats_of_layer(numbers: ModelNumbers, num_keys: int) -> int:
    """Activations that a layer keeps of one token, its own key and value included.

    Args:
        numbers (ModelNumbers): The model's sizes.
        num_keys (int): Keys that the token's row has, where the scores exist as tensors.
    """
    norms = numbers.num_norm_inputs * numbers.hidden_size
    if numbers.norms_heads:
        norms += numbers.query_size + numbers.key_value_size
    # Query, repeated key and value; and the output, or scores before and after the softmax.
    attention = 4 * numbers.query_size
    if numbers.keeps_scores:
        attention = 3 * numbers.query_size + 2 * numbers.num_heads * num_keys
    if numbers.keeps_fused_queries:
        attention += 2 * numbers.query_size
    return norms + attention + _mlp_widths(numbers) * numbers.intermediate_size


def _mlp_widths(numbers: ModelNumbers) -> int:
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
        What tokens keep, and the prompt's keys and values as every row sees them.
    """
    num_row_tokens = setting.num_rows * setting.num_row_tokens
    num_prompt_tokens = 0 if setting.method == "prefix" else setting.num_virtual_tokens
    of_layer = kept_floats_of_layer(numbers, setting.num_virtual_tokens + setting.num_row_tokens)
    shared = 2 * numbers.query_size * setting.num_rows * setting.num_virtual_tokens
    prompt = numbers.num_layers * num_prompt_tokens * of_layer
    if not setting.checkpointing:
        return prompt + numbers.num_layers * num_row_tokens * of_layer, numbers.num_layers * shared
    # Every layer keeps its input, and one layer at a time all the rest.
    inputs = numbers.num_layers * numbers.hidden_size * num_row_tokens
    return prompt + inputs + num_row_tokens * of_layer, shared


def _weights(numbers: ModelNumbers, size: int) -> int:
    matrices = INT4_BYTES * numbers.num_layer_weights
    vocabulary = INT8_BYTES * numbers.num_vocabulary_weights
    return int(matrices + vocabulary + size * numbers.num_vector_weights)


def _copies(numbers: ModelNumbers, setting: Setting, measured: Coefficients) -> int:
    head = numbers.vocab_size * numbers.embedding_size
    if setting.kernel == "cached":
        return measured.copy_bytes * (numbers.num_layer_weights + head)
    if setting.kernel == "int8":
        columns = 4 * OUTLIER_CHANNELS * numbers.num_layer_weights // numbers.hidden_size
        return int(INT8_COPY_BYTES * numbers.num_layer_weights) + columns
    return 0


def _work_space(numbers: ModelNumbers, setting: Setting, size: int) -> int:
    """The gradients of one layer's MLP, and a chunk of floats where weights are dequantised."""
    num_tokens = setting.num_rows * setting.num_row_tokens + setting.num_virtual_tokens
    widths = (_mlp_widths(numbers) + 1) * numbers.intermediate_size + 2 * numbers.hidden_size
    chunk = 0
    if setting.kernel != "cached":
        largest = numbers.hidden_size * max(numbers.intermediate_size, numbers.query_size)
        head = numbers.vocab_size * numbers.embedding_size
        chunk = CHUNK_COPIES * min(max(largest, head), CHUNK_WEIGHTS)
    return size * (num_tokens * widths + chunk)


def _seconds(numbers: ModelNumbers, setting: Setting, machine: Throughput) -> float:
    """Seconds of a step: products, dequantised weights and element-wise passes, one after another.

    A product with the input's gradient only is computed forward and backward, and once more where
    layers are computed again. The prompt's own tokens run once a step.
    """
    passes = 3 if setting.checkpointing else 2
    num_row_tokens = setting.batch_size * setting.num_row_tokens
    num_prompt_tokens = setting.num_virtual_tokens if setting.method != "prefix" else 0
    num_layer_tokens = passes * num_row_tokens + 2 * num_prompt_tokens
    layers = 2 * numbers.num_layer_weights * num_layer_tokens
    num_keys = setting.num_virtual_tokens + setting.num_row_tokens
    # Scores and their product with the values; backward has two and a half times as many.
    attention = 4 * 3.5 * numbers.num_layers * numbers.query_size * num_row_tokens * num_keys
    head_weights = numbers.vocab_size * numbers.embedding_size
    head = 4 * head_weights * setting.batch_size * setting.num_label_tokens
    is_int8 = setting.kernel == "int8" and machine.int8_gops > 0
    layer_gops = machine.int8_gops if is_int8 else machine.float_gops
    seconds = layers / layer_gops + (attention + head) / machine.float_gops
    if setting.kernel == "stream":
        num_runs = passes * setting.num_micro_batches + (2 if num_prompt_tokens else 0)
        dequantised = num_runs * numbers.num_layer_weights + 2 * head_weights
        seconds += dequantised / machine.dequantised_gweights
    measured = coefficients(setting)
    of_layer = kept_floats_of_layer(numbers, num_keys)
    moved = _PASSES * measured.float_bytes * numbers.num_layers * of_layer
    seconds += moved * num_layer_tokens / 2 / machine.bandwidth_gbytes
    return seconds / GIGA


# How often an element-wise pass reads or writes what a layer keeps, forward and backward.
_PASSES = 6
