"""The method of a run, at its start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.encoding import EncodedRow
from ptune_tui.config import RunConfig
from ptune_tui.data import DataSet
from ptune_tui.engine.methods.factory import make_method
from ptune_tui.engine.methods.initialisation import default_init_text, make_start
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.model import FrozenModel
from ptune_tui.events import Notice

_NUM_INIT_EXAMPLES = 2


@dataclass(frozen=True)
class NewMethod:
    """A method that has not been trained yet.

    Attributes:
        method: What is trained.
        notices: What the user should hear of its start.
    """

    method: Method
    notices: tuple[Notice, ...]


def new_method(
    config: RunConfig, frozen: FrozenModel, data: DataSet, train_rows: Sequence[EncodedRow]
) -> NewMethod:
    """Make what a configuration asks for.

    Args:
        config (RunConfig): The run's.
        frozen (FrozenModel): The model.
        data (DataSet): Its labels and responses.
        train_rows (Sequence[EncodedRow]): The training rows in tokens.

    Raises:
        DataError: The earlier prompt it starts from is missing, damaged or of another shape.
        UsageError: The start does not fit the method or the responses.
    """
    asked, seed = config.method, config.training.seed
    text = asked.init_text
    if text is None:
        examples = [row.response for row in data.train[:_NUM_INIT_EXAMPLES]]
        text = default_init_text(data.labels, examples)
    start = make_start(
        frozen,
        asked.num_virtual_tokens,
        asked.init,
        init_text=text,
        init_prompt=None if asked.init_prompt is None else Path(asked.init_prompt),
        labels=data.labels,
        token_counts=Counter(token for row in train_rows for token in row.prompt_ids),
        seed=seed,
    )
    method = make_method(
        asked.name,
        frozen,
        start.prompt,
        mlp_size=asked.mlp_size,
        rank=asked.rank,
        reparametrise=asked.reparametrise,
        seed=seed,
    )
    notices = () if start.remark is None else (Notice("init-prompt", start.remark),)
    return NewMethod(method, notices)
