"""transformers in torch, float32: the dequantised base.

Legend: B rows, T tokens of a row, P virtual tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from ptune_tui.answering_speed import SCORED_VIRTUAL_TOKENS, Measure
from ptune_tui.worker.bench.answering.contender import Timed, folder_bytes
from ptune_tui.worker.bench.answering.files import (
    PROMPT,
    AnsweringFolder,
    ChildSetting,
    Inputs,
    ScoredRow,
)
from ptune_tui.worker.bench.messages import Taken, TakenFigure

_BATCH_SIZES = (8, 16, 32)


class TorchAnswers:
    """transformers' own layers with its own cache, without `generate`, which adds to each token.

    Args:
        child (ChildSetting): How many threads.
        folder (AnsweringFolder): Where the float model lies.
        inputs (Inputs): Labels and rows.
    """

    def __init__(self, child: ChildSetting, folder: AnsweringFolder, inputs: Inputs) -> None:
        torch.set_num_threads(child.setting.num_threads)
        torch.set_grad_enabled(False)
        self._folder = folder
        self._inputs = inputs
        self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder.float_model,
            dtype=torch.float32,
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=False,
        )
        self._model.eval()
        self._best_batch_size: int | None = None
        self.measures: Mapping[Measure, Callable[[], Taken]] = {"scoring": self._take_scoring}

    @property
    def computed_by(self) -> str:
        """Versions, and the batch size once it is known."""
        versions = f"transformers {transformers.__version__}, torch {torch.__version__}, float32"
        if self._best_batch_size is None:
            return versions
        return f"{versions}, rows scored {self._best_batch_size} at a time"

    def answer(self, ids: Sequence[int], num_tokens: int) -> Timed:
        """Read tokens and decode so many further ones."""
        started = perf_counter()
        done = self._model(torch.tensor([list(ids)]), use_cache=True, logits_to_keep=1)
        token_BT = done.logits[:, -1:].argmax(-1)
        read = perf_counter()
        for _ in range(num_tokens):
            done = self._model(
                token_BT, past_key_values=done.past_key_values, use_cache=True, logits_to_keep=1
            )
            token_BT = done.logits[:, -1:].argmax(-1)
        return Timed(read - started, perf_counter() - read)

    def num_bytes(self) -> int:
        """Bytes of the folder."""
        return folder_bytes(self._folder.float_model)

    def _take_scoring(self) -> Taken:
        """The label of every row; the first time all batch sizes are tried, and the best stays."""
        if self._best_batch_size is None:
            tried = {size: self._score(size)[0] for size in _BATCH_SIZES}
            self._best_batch_size = min(tried, key=lambda size: tried[size])
        seconds, answers = self._score(self._best_batch_size)
        figure = TakenFigure("scoring", "rows/s", len(answers) / seconds)
        return Taken([figure], answers)

    def _score(self, batch_size: int) -> tuple[float, list[str]]:
        """Seconds, and the label of each row by its first token, which differs."""
        rows = self._inputs.rows
        started = perf_counter()
        by_length = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
        first_ids = torch.tensor([ids[0] for ids in self._inputs.label_ids])
        chosen: dict[int, int] = {}
        for numbers in _batches(by_length, batch_size):
            logits_BV = self._last_logits([rows[number] for number in numbers])
            best = logits_BV[:, first_ids].argmax(-1).tolist()
            chosen |= dict(zip(numbers, best, strict=True))
        seconds = perf_counter() - started
        return seconds, [self._inputs.labels[chosen[number]] for number in range(len(rows))]

    def _last_logits(self, rows: Sequence[ScoredRow]) -> Tensor:
        """Logits [B, V] behind rows that are padded on the right, as in training."""
        prompt_PH = self._prompt_PH
        lengths = torch.tensor([len(row.ids) for row in rows])
        longest = int(lengths.max())
        ids_BT = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in rows])
        embedded = self._model.get_input_embeddings()(ids_BT)
        whole = torch.cat([prompt_PH.expand(len(rows), -1, -1), embedded], dim=1)
        ends = lengths + len(prompt_PH)
        is_there = torch.arange(whole.shape[1]) < ends[:, None]
        done = self._model.get_decoder()(
            inputs_embeds=whole, attention_mask=is_there.long(), use_cache=False
        )
        last_BH = done.last_hidden_state[torch.arange(len(rows)), ends - 1]
        logits: Tensor = self._model.get_output_embeddings()(last_BH)
        return logits

    @property
    def _prompt_PH(self) -> Tensor:
        return load_file(self._folder.prompt)[PROMPT][:SCORED_VIRTUAL_TOKENS]


def _batches(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
