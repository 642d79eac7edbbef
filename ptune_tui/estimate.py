"""Peak memory and time of a training step, from a model's sizes alone. Torch-free.

Kept activations are counted in `activations`. Under transformers' layers a processor's heap takes
more than the tensors: freed pieces lie between kept ones, and equal requests do not fit into them
again. The measured coefficients below hold that share and what else cannot be counted;
`python bench/memory.py --fit` derives them anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptune_tui.activations import kept_floats, mlp_widths
from ptune_tui.model_numbers import ModelNumbers
from ptune_tui.step_seconds import FLOAT_BYTES, step_seconds
from ptune_tui.step_setting import Setting, is_fused, num_trained
from ptune_tui.throughput import NOT_MEASURED, Throughput

Fit = Literal["fits", "tight", "does not fit"]

TIGHT_SHARE = 0.8  # of the available memory
INT4_BYTES = 0.75  # a weight on the 4-bit grid: code, and scale and offset shared by 32
INT8_BYTES = 1.125  # a weight of the vocabulary: code, and scale shared by 32
INT8_COPY_BYTES = 1.0  # a weight of the kernel `int8`; its scales and float columns are few
OUTLIER_CHANNELS = 8  # as in `config.ModelConfig`
CHUNK_WEIGHTS = 1 << 19  # of which `stream` makes floats at once, as in `quant.linear`
WHOLE_WEIGHTS = 1 << 21  # the same of the fused step, which makes no other copy
FUSED_CHUNK_WEIGHTS = 1 << 26  # the same of the fused kernel on CUDA, which makes no other copy
CHUNK_COPIES = 3  # of a chunk at once while it is made: codes as floats, scales, the product's
TRAINED_COPIES = 4  # of a trained number: value, gradient, two of AdamW
FUSED_LOGITS = 1 << 24  # that the fused step makes at once
LOGIT_COPIES = 3  # logits, their softmax and its gradient


@dataclass(frozen=True)
class Coefficients:
    """What was measured, not counted.

    Attributes:
        process_bytes: The process with its libraries and tokenizer, without the weights.
        loading_bytes: More than that while the model is loaded.
        kept_share: Memory that kept activations take, as a multiple of their bytes.
        checkpointed_share: The same where layers are computed again.
        source: Where the figures come from.
    """

    process_bytes: int
    loading_bytes: int
    kept_share: float
    checkpointed_share: float
    source: str


FUSED = Coefficients(514_000_000, 166_000_000, 1.01, 1.10, "bench/memory.py")
CPU = Coefficients(332_000_000, 348_000_000, 1.54, 4.30, "bench/memory.py")
# CUDA's context and libraries are assumed.
CUDA = Coefficients(700_000_000, 100_000_000, 1.1, 1.1, NOT_MEASURED)


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
    measured = coefficients(numbers, setting)
    size = FLOAT_BYTES[setting.device]
    own, shared = kept_floats(numbers, setting)
    trained = 4 * TRAINED_COPIES * num_trained(numbers, setting)
    share = measured.checkpointed_share if setting.checkpointing else measured.kept_share
    kept = int(size * (share * own + shared))
    num_logits = setting.num_rows * setting.num_label_tokens * numbers.vocab_size
    if is_fused(numbers, setting):
        num_logits = min(num_logits, FUSED_LOGITS)
    logits = LOGIT_COPIES * 4 * num_logits
    work_space = _work_space(numbers, setting, size)
    seconds = step_seconds(numbers, setting, throughput) if throughput else None
    num_tokens = setting.batch_size * setting.num_row_tokens
    return Estimate(
        process=measured.process_bytes,
        weights=_weights(numbers, size),
        copies=_copies(numbers, setting, size),
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


def coefficients(numbers: ModelNumbers, setting: Setting) -> Coefficients:
    """The measured figures of a setting's device and path."""
    if setting.device == "cuda":
        return CUDA
    return FUSED if is_fused(numbers, setting) else CPU


def fit(estimated_bytes: int, available_bytes: int) -> Fit:
    """Whether an estimate goes into the available memory.

    Args:
        estimated_bytes (int): `Estimate.peak_bytes`.
        available_bytes (int): From `hardware.Machine`, or a card's memory.
    """
    if estimated_bytes <= TIGHT_SHARE * available_bytes:
        return "fits"
    return "tight" if estimated_bytes <= available_bytes else "does not fit"


def _weights(numbers: ModelNumbers, size: int) -> int:
    matrices = INT4_BYTES * numbers.num_layer_weights
    vocabulary = INT8_BYTES * numbers.num_vocabulary_weights
    return int(matrices + vocabulary + size * numbers.num_vector_weights)


def _copies(numbers: ModelNumbers, setting: Setting, size: int) -> int:
    head = numbers.vocab_size * numbers.embedding_size
    if setting.kernel == "cached":
        return size * (numbers.num_layer_weights + head)
    if setting.kernel == "int8":
        columns = 4 * OUTLIER_CHANNELS * numbers.num_layer_weights // numbers.hidden_size
        return int(INT8_COPY_BYTES * numbers.num_layer_weights) + columns
    return 0


def _work_space(numbers: ModelNumbers, setting: Setting, size: int) -> int:
    """The gradients of one layer's MLP, and a chunk of floats where weights are dequantised."""
    num_tokens = setting.num_rows * setting.num_row_tokens + setting.num_prefix_tokens
    widths = (mlp_widths(numbers) + 1) * numbers.intermediate_size + 2 * numbers.hidden_size
    chunk = 0 if setting.kernel == "cached" else _chunk(numbers, setting)
    return size * (num_tokens * widths + chunk)


def _chunk(numbers: ModelNumbers, setting: Setting) -> int:
    """Floats that exist at once where weights are dequantised at each use."""
    head = numbers.vocab_size * numbers.embedding_size
    if is_fused(numbers, setting):
        widest = 2 * numbers.hidden_size * numbers.intermediate_size
        return min(widest, WHOLE_WEIGHTS) + min(head, CHUNK_WEIGHTS)
    largest = numbers.hidden_size * max(numbers.intermediate_size, numbers.query_size)
    if setting.device == "cuda":
        return min(max(largest, head), FUSED_CHUNK_WEIGHTS)
    return CHUNK_COPIES * min(max(largest, head), CHUNK_WEIGHTS)
