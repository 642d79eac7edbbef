"""The model card of a bundle or an adapter: Hugging Face's front matter, and what a reader needs.

Whatever comes from data (labels, templates, file names) is set as code or escaped, so that it is
read as text by every Markdown reader.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any, Literal

import jinja2
import msgspec

from export.manifest import Manifest, PromptRecord
from export.markdown import block, code, plain
from export.readme import sealed
from export.template import Renderer, Template
from export.training_record import CardMetric, TrainingRecord

Library = Literal["peft", "onnx"]
EXAMPLE = "your text"
_TAGS: dict[Library, list[str]] = {
    "peft": ["prompt-tuning", "soft-prompt", "4-bit", "ptune"],
    "onnx": ["prompt-tuning", "soft-prompt", "4-bit", "onnxruntime", "ptune"],
}
_MAX_SHOWN_LABELS = 40


@dataclass(frozen=True)
class CardPrompt:
    """A prompt as its card tells it.

    Attributes:
        name: Its name.
        num_virtual_tokens: P.
        is_layer_prefix: Whether it is keys and values of every layer.
        template: How a row becomes text.
        labels: The closed set of responses, or None for free text.
        max_prompt_tokens: A longer prompt is cut from the left.
        max_new_tokens: Longest response of training.
        training: How it was made; None where an older version exported it.
    """

    name: str
    num_virtual_tokens: int
    is_layer_prefix: bool
    template: Template
    labels: list[str] | None
    max_prompt_tokens: int
    max_new_tokens: int
    training: TrainingRecord | None

    @property
    def rendered(self) -> str:
        """An example as the model gets it, up to the response."""
        return Renderer(self.template).render(EXAMPLE).text

    @property
    def is_chat(self) -> bool:
        """Whether the template is the model's own for conversations."""
        return self.template.text == "chat"

    @property
    def shown_labels(self) -> list[str]:
        """The labels, or the first of many."""
        return (self.labels or [])[:_MAX_SHOWN_LABELS]


@dataclass(frozen=True)
class CardModel:
    """The frozen base as a card tells it.

    Attributes:
        name: What it was called.
        weights_hash: sha256 of its weights.
        grid: Their grid in words.
    """

    name: str
    weights_hash: str
    grid: str


def card_prompt(name: str, record: PromptRecord) -> CardPrompt:
    """A bundle's prompt, for its card.

    Args:
        name (str): What it is called.
        record (PromptRecord): What the manifest says of it.
    """
    return CardPrompt(
        name=name,
        num_virtual_tokens=record.num_virtual_tokens,
        is_layer_prefix=record.kind == "layer prefix",
        template=record.template,
        labels=record.labels,
        max_prompt_tokens=record.max_prompt_tokens,
        max_new_tokens=record.max_response_tokens,
        training=record.training,
    )


def bundle_card(folder: str, manifest: Manifest) -> str:
    """`README.md` of a bundle, with every prompt in it.

    Args:
        folder (str): What the bundle's folder is called.
        manifest (Manifest): What is in it.
    """
    model = CardModel(manifest.model_name, manifest.weights_hash, manifest.grid)
    prompts = [card_prompt(name, record) for name, record in manifest.prompts.items()]
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    return _card("onnx", folder, model, prompts, versions, manifest)


def adapter_card(folder: str, model: CardModel, prompt: CardPrompt) -> str:
    """`README.md` of a PEFT adapter.

    Args:
        folder (str): What the adapter's folder is called.
        model (CardModel): The base.
        prompt (CardPrompt): What the adapter holds.
    """
    made_with = prompt.training.made_with if prompt.training else ""
    return _card("peft", folder, model, [prompt], made_with, None)


def _card(
    library: Library,
    folder: str,
    model: CardModel,
    prompts: list[CardPrompt],
    versions: str,
    manifest: Manifest | None,
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("export", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": code,
        "block": block,
        "plain": plain,
        "score": _score,
        "python": _python,
        "shell": shlex.quote,
    }
    text = environment.get_template("model_card.md.jinja").render(
        front_matter=_front_matter(library, model, prompts),
        library=library,
        folder=folder,
        model=model,
        prompts=prompts,
        base=_base(prompts) or model.name,
        has_hub_base=_base(prompts) is not None,
        versions=versions,
        manifest=manifest,
        example=EXAMPLE,
    )
    return sealed(re.sub(r"\n{3,}", "\n\n", text))


def _base(prompts: list[CardPrompt]) -> str | None:
    """The base's name on the hub, where a prompt knows it."""
    ids = (prompt.training.base_id for prompt in prompts if prompt.training)
    return next((found for found in ids if found), None)


def _front_matter(library: Library, model: CardModel, prompts: list[CardPrompt]) -> str:
    """The YAML that the hub reads."""
    # Only the training extra has it, and only what writes an export asks for a card.
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=_task(prompt),
            dataset_type=data,
            dataset_name=data,
            metric_type=metric.name,
            metric_value=round(metric.value, 4),
            metric_name=f"{metric.title}, {where}",
        )
        for prompt in prompts
        if prompt.training
        for data, where, metric in _results(prompt.name, prompt.training)
    ]
    licences = [prompt.training.base_licence for prompt in prompts if prompt.training]
    licence = next((found for found in licences if found), None)
    name = prompts[0].name if len(prompts) == 1 else model.name
    data: Any = ModelCardData(
        base_model=_base(prompts),
        library_name=library,
        license=licence.lower() if licence else None,
        pipeline_tag=_task(prompts[0]),
        tags=_TAGS[library],
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    text: str = data.to_yaml()
    return text


def _task(prompt: CardPrompt) -> str:
    return "text-generation" if prompt.labels is None else "text-classification"


def _results(name: str, training: TrainingRecord) -> list[tuple[str, str, CardMetric]]:
    """The scores of a prompt: the data's name, where they were measured, and the score."""
    has_labels = training.macro_f1 is not None
    first = ("accuracy", "Accuracy") if has_labels else ("exact_match", "Exact match")
    value = training.accuracy
    found = [(training.data, f"validation rows, {name}", CardMetric(*first, value, value, value))]
    if training.table is not None:
        found += [
            (training.table.data, f"{line.computed_by}, {name}", metric)
            for line in training.table.lines
            if line.is_tuned
            for metric in line.metrics
        ]
    return found


def _python(text: str) -> str:
    """A text as a literal of Python: one line, in double quotes, ASCII as far as it can be read."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\x7f")


def _score(value: float, name: str) -> str:
    return f"{value:.1f}" if name in ("bleu", "chrf") else f"{value:.3f}"
