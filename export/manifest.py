"""What a bundle's manifest says, and what its files are called.

manifest.json      this schema
model.onnx         `fast`; exact.onnx: `exact`; both read model.data
throughput.onnx    `throughput`, where it was asked for or is fastest; reads throughput.data too
plain_tokenizer.json           the tokenizer of training
README.md                      the model card: documentation that may be edited, so the one file
                               without a hash here (export/readme.py)
genai.onnx, genai_config.json, tokenizer.json, tokenizer_config.json, chat_template.jinja,
prompts/NAME.onnx_adapter, prompts/NAME.jinja   for ONNX Runtime GenAI (export/genai.py); a
                               bundle without them has the tokenizer of training in
                               tokenizer.json
prompts/NAME.safetensors       the prompt: virtual tokens, float32 [P, H], or the keys and
                               values of every layer, float32 [L, 2, h, P, D]
prompts/NAME.kv.safetensors    the prefix of prompt and template lead, computed in `exact` for
                               all; left out where the prompt is itself that
"""

from __future__ import annotations

import msgspec

from export.precisions import PRECISIONS, Precision
from export.prompts import PromptKind
from export.shape import DecoderShape
from export.template import Template
from export.training_record import TrainingRecord

SCHEMA_VERSION = 1
DATA_FILE = "model.data"
INTEGERS_FILE = "throughput.data"
TOKENIZER_FILE = "tokenizer.json"
PLAIN_TOKENIZER_FILE = "plain_tokenizer.json"


class FileRecord(msgspec.Struct, frozen=True):
    """One file of the bundle."""

    sha256: str
    num_bytes: int


class ParityRecord(msgspec.Struct, frozen=True):
    """How near a graph is to torch on the same weights.

    Attributes:
        relative_error: Largest logit difference over the largest logit.
        kl_divergence: Mean over positions, in nats.
        top1_agreement: Share of positions with the same most likely token.
        identical_texts: Greedy continuations that are the same.
        num_texts: Continuations compared.
        passed: Whether the gate let it through.
    """

    relative_error: float
    kl_divergence: float
    top1_agreement: float
    identical_texts: int
    num_texts: int
    passed: bool


class Golden(msgspec.Struct, frozen=True):
    """A question whose answer is known: run when a graph is opened.

    Attributes:
        ids: Tokens.
        top_ids: The most likely next tokens.
        top_logits: Their logits, one list a precision.
    """

    ids: list[int]
    top_ids: dict[str, list[int]]
    top_logits: dict[str, list[float]]


# A default that is left out keeps the checksum of manifests that were written without the field.
class PromptRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One prompt of the bundle.

    Attributes:
        file: The prompt, relative to the bundle.
        prefixes: The file of its key/value prefix, by precision.
        num_virtual_tokens: P.
        lead_ids: Template tokens behind the virtual ones that the prefix covers.
        template: How a row becomes text.
        end_token_id: The token that ends a response.
        max_prompt_tokens: A longer prompt is cut from the left.
        labels: The closed set of responses, or None for free text.
        max_response_tokens: Longest response seen in training, end token included.
        scores: Measured scores, by name.
        kind: What `file` holds.
        parity: What the gate measured behind this prompt, by precision.
        adapter: The virtual tokens as ONNX Runtime GenAI loads them, or None.
        chat_template_file: The chat template that places them there, or None.
        training: How it was made, for the model card; None in bundles of older versions.
    """

    file: str
    prefixes: dict[str, str]
    num_virtual_tokens: int
    lead_ids: list[int]
    template: Template
    end_token_id: int
    max_prompt_tokens: int
    labels: list[str] | None
    max_response_tokens: int
    scores: dict[str, float]
    kind: PromptKind = "virtual tokens"
    parity: dict[str, ParityRecord] = {}
    adapter: str | None = None
    chat_template_file: str | None = None
    training: TrainingRecord | None = None

    @property
    def files(self) -> set[str]:
        """Every file of the prompt."""
        others = (name for name in (self.adapter, self.chat_template_file) if name is not None)
        return {self.file, *self.prefixes.values(), *others}


class Manifest(msgspec.Struct, frozen=True):
    """`manifest.json`.

    Attributes:
        schema: Version of this schema.
        model_name: What the base model was called.
        weights_hash: sha256 of the frozen weights the prompts were trained on.
        grid: The weights' grid in words.
        shape: The decoder's numbers.
        graphs: The graph of each precision.
        default_precision: What `auto` takes.
        prompts: The soft prompts by name.
        parity: What the gate measured behind the first prompt, by precision.
        golden: The self-test.
        files: Every other file.
        versions: Of the packages that wrote the bundle.
        checksum: sha256 of this manifest with an empty checksum.
        base_template: How the base alone is asked: the model's chat template; None where it has
            none that works. Unset in bundles of older versions, so that their manifests keep
            their checksum.
    """

    schema: int
    model_name: str
    weights_hash: str
    grid: str
    shape: DecoderShape
    graphs: dict[str, str]
    default_precision: Precision
    prompts: dict[str, PromptRecord]
    parity: dict[str, ParityRecord]
    golden: Golden
    files: dict[str, FileRecord]
    versions: dict[str, str]
    checksum: str = ""
    base_template: Template | msgspec.UnsetType | None = msgspec.UNSET


def data_files(precision: Precision) -> tuple[str, ...]:
    """The data files that a graph reads."""
    return (DATA_FILE, INTEGERS_FILE) if precision == "throughput" else (DATA_FILE,)


def read_bytes(manifest: Manifest) -> dict[str, int]:
    """Bytes of the files that each precision reads: its graph and weights; some share weights."""
    return {
        precision: sum(
            manifest.files[name].num_bytes
            for name in (manifest.graphs[precision], *data_files(precision))
        )
        for precision in PRECISIONS
        if precision in manifest.graphs
    }


def tokenizer_file(manifest: Manifest) -> str:
    """The name of the tokenizer of training."""
    is_kept_apart = PLAIN_TOKENIZER_FILE in manifest.files
    return PLAIN_TOKENIZER_FILE if is_kept_apart else TOKENIZER_FILE
