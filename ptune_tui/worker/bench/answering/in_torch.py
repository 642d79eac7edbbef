"""transformers in torch, float32: the dequantised base.

Legend: B rows, T tokens of a row, P virtual tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from ptune_tui.answering_speed import SCORED_VIRTUAL_TOKENS, Measure
from ptune_tui.worker.bench.answering.contender import Timed
from ptune_tui.worker.bench.answering.files import (
    PROMPT,
    AnsweringFolder,
    ChildSetting,
    Inputs,
    folder_bytes,
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
        """Rows a second; the first time all batch sizes are tried, and the best one stays."""
        if self._best_batch_size is None:
            tried = {size: self._score(size) for size in _BATCH_SIZES}
            self._best_batch_size = min(tried, key=lambda size: tried[size])
        seconds = self._score(self._best_batch_size)
        figure = TakenFigure("scoring", "rows/s", len(self._inputs.rows) / seconds)
        return Taken([figure], self._whole_labels)

    def _score(self, batch_size: int) -> float:
        """Seconds to give each row the label whose first token is likelier; the labels differ."""
        started = perf_counter()
        first_ids = torch.tensor([ids[0] for ids in self._inputs.label_ids])
        rows = sorted((row.ids for row in self._inputs.rows), key=len)
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            self._logits(batch, 1)[:, -1, first_ids].argmax(-1).tolist()
        return perf_counter() - started

    @cached_property
    def _whole_labels(self) -> list[str]:
        """Each row's label by all of its tokens, as ours are: to compare, not to be timed."""
        label_ids = self._inputs.label_ids
        found = []
        for row in self._inputs.rows:
            scores = []
            for ids in label_ids:
                logits_TV = self._logits([row.ids + ids], len(ids) + 1)[0, :-1]
                scores.append(float(logits_TV.log_softmax(-1).gather(1, _column(ids)).sum()))
            found.append(self._inputs.labels[scores.index(max(scores))])
        return found

    def _logits(self, rows: Sequence[Sequence[int]], num_last: int) -> Tensor:
        """Logits [B, num_last, V] of rows' last tokens; padded on the right, as in training."""
        prompt_PH = self._prompt_PH
        lengths = torch.tensor([len(ids) for ids in rows])
        longest = int(lengths.max())
        ids_BT = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in rows])
        embedded = self._model.get_input_embeddings()(ids_BT)
        whole = torch.cat([prompt_PH.expand(len(rows), -1, -1), embedded], dim=1)
        ends = lengths + len(prompt_PH)
        is_there = torch.arange(whole.shape[1]) < ends[:, None]
        done = self._model.get_decoder()(
            inputs_embeds=whole, attention_mask=is_there.long(), use_cache=False
        )
        places = ends[:, None] - torch.arange(num_last, 0, -1)
        last = done.last_hidden_state[torch.arange(len(rows))[:, None], places]
        logits: Tensor = self._model.get_output_embeddings()(last)
        return logits

    @cached_property
    def _prompt_PH(self) -> Tensor:
        whole_PH: Tensor = load_file(self._folder.prompt)[PROMPT]
        return whole_PH[:SCORED_VIRTUAL_TOKENS]


def _column(ids: Sequence[int]) -> Tensor:
    return torch.tensor(ids)[:, None]
