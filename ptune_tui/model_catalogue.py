"""Good small models to begin with: what they are called, what they weigh, under which licence.

Licences are those that each model's page on the hub states; nothing is fetched to show them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ptune_tui.known_models import numbers_of
from ptune_tui.model_numbers import ModelNumbers

STORED_BYTES = 2  # a weight: all of them are published in bfloat16


@dataclass(frozen=True)
class CataloguedModel:
    """A model of the hub.

    Attributes:
        hub_id: What `--model` takes.
        licence: As its page calls it.
        is_gated: Whether the hub asks for an account that has accepted the licence.
        stores_head_twice: Whether its files hold the tied head as a matrix of its own.
    """

    hub_id: str
    licence: str
    is_gated: bool = False
    stores_head_twice: bool = False

    @property
    def numbers(self) -> ModelNumbers:
        """Its sizes."""
        numbers = numbers_of(self.hub_id)
        assert numbers is not None, self.hub_id
        return numbers

    @property
    def download_bytes(self) -> int:
        """What is fetched, about: its weights as they are stored."""
        numbers = self.numbers
        twice = numbers.num_vocabulary_weights if self.stores_head_twice else 0
        return STORED_BYTES * (numbers.num_parameters + twice)


_APACHE = "Apache-2.0"
# From small to large. Every family is one that an exported graph is written for.
CATALOGUE = (
    CataloguedModel("HuggingFaceTB/SmolLM2-135M-Instruct", _APACHE),
    CataloguedModel("google/gemma-3-270m-it", "Gemma terms", is_gated=True),
    CataloguedModel("HuggingFaceTB/SmolLM2-360M-Instruct", _APACHE),
    CataloguedModel("Qwen/Qwen2.5-0.5B-Instruct", _APACHE),
    CataloguedModel("Qwen/Qwen3-0.6B", _APACHE, stores_head_twice=True),
    CataloguedModel("google/gemma-3-1b-it", "Gemma terms", is_gated=True),
    CataloguedModel("meta-llama/Llama-3.2-1B-Instruct", "Llama 3.2", is_gated=True),
    CataloguedModel("Qwen/Qwen2.5-1.5B-Instruct", _APACHE),
    CataloguedModel("HuggingFaceTB/SmolLM2-1.7B-Instruct", _APACHE),
    CataloguedModel("Qwen/Qwen3-1.7B", _APACHE, stores_head_twice=True),
    CataloguedModel("HuggingFaceTB/SmolLM3-3B", _APACHE),
    CataloguedModel("microsoft/Phi-3-mini-4k-instruct", "MIT"),
)


def catalogued(source: str) -> CataloguedModel | None:
    """The entry of a hub id, or None.

    Args:
        source (str): What `--model` takes.
    """
    return next((model for model in CATALOGUE if model.hub_id.lower() == source.lower()), None)
