"""The task that looks at a trained prompt: neighbours, attention, and what its parts are worth."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from torch import Tensor

from ptune_tui.engine.attention import (
    AttentionMasses,
    LayerNorms,
    attention_masses,
    layer_norms,
)
from ptune_tui.engine.dropping import beginnings, groups, part_of, response_loss
from ptune_tui.engine.prompt import LayerPrefix, VirtualTokens
from ptune_tui.engine.vocabulary import Neighbours, neighbours
from ptune_tui.events import (
    Event,
    Notice,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFinished,
)
from ptune_tui.inspection import (
    INSPECTION_FILE,
    Inspection,
    LayerFindings,
    NearToken,
    PartScore,
    TokenFindings,
    write_inspection,
)
from ptune_tui.run_table import prompt_hash
from ptune_tui.tasks import CONFIG_FILE, RESULT_FILE, InspectTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.inspected import Inspected, InspectedRows, InspectedStage

_NUM_NORM_ROWS = 16


def inspect_prompt(task: InspectTask, folder: Path, channel: Channel) -> Iterator[Event]:
    """Look at a prompt; what was found goes to `result.json`, and into the run's folder.

    Args:
        task (InspectTask): Which prompt, and on how many rows.
        folder (Path): The task's folder.
        channel (Channel): Where progress is said.
    """
    started = time.perf_counter()
    target = Path(task.target)
    is_run = (target / CONFIG_FILE).is_file()
    # Before it is loaded: of a run that trains on meanwhile, this then counts as an older one.
    looked_at = prompt_hash(target) if is_run else ""
    stage = InspectedStage(task, channel)
    yield from stage.events()
    found = _Findings(stage.inspected, channel)
    yield from found.events(task.num_nearest)
    inspection = msgspec.structs.replace(found.inspection(task), prompt_hash=looked_at)
    write_inspection(folder / RESULT_FILE, inspection)
    if is_run:
        write_inspection(target / INSPECTION_FILE, inspection)
    yield TaskFinished(time.perf_counter() - started)


@dataclass
class _Findings:
    """What was found so far."""

    inspected: Inspected
    channel: Channel
    near: Neighbours | None = None
    norms: LayerNorms | None = None
    masses: AttentionMasses | None = None
    whole: PartScore | None = None
    base: PartScore | None = None
    without: Sequence[PartScore] = ()
    first: Sequence[PartScore] = ()

    def events(self, num_nearest: int) -> Iterator[Event]:
        """Look at everything that can be looked at."""
        prompt, rows = self.inspected.prompt, self.inspected.rows
        if isinstance(prompt, VirtualTokens):
            vocabulary = self.inspected.vocabulary
            self.near = neighbours(vocabulary, prompt.embeddings_PH, num_nearest)
        if rows is None:
            return
        frozen = rows.evaluator.frozen
        if isinstance(prompt, LayerPrefix):
            self.norms = layer_norms(frozen, prompt, rows.encoded[:_NUM_NORM_ROWS])
        yield from self._attention(rows)
        yield from self._parts(rows)

    def _attention(self, rows: InspectedRows) -> Iterator[Event]:
        frozen = rows.evaluator.frozen
        if not frozen.shares_prefix:
            yield Notice(
                "attention",
                f"{frozen.config.model_type} has layers without keys and values, or makes its "
                "positions itself: attention is left out.",
            )
            return
        yield StageStarted("measure", time.time(), "attention")
        started = time.perf_counter()

        def say_progress(done: int, total: int) -> None:
            self.channel.progress(StageProgress("measure", done, total, "rows"))

        self.masses = attention_masses(
            *(frozen, self.inspected.prompt, rows.encoded),
            *(rows.evaluator.encoder.lead_ids(), say_progress),
        )
        yield StageFinished("measure", time.perf_counter() - started)

    def _parts(self, rows: InspectedRows) -> Iterator[Event]:
        """Score the whole prompt, none of it, all but a group, and its beginnings."""
        everything = range(self.inspected.prompt.num_virtual_tokens)
        left_out = groups(len(everything)) if len(everything) > 1 else []
        wanted = [
            *(list(everything), []),
            *([each for each in everything if each not in group] for group in left_out),
            *(list(range(length)) for length in beginnings(len(everything))),
        ]
        yield StageStarted("evaluate", time.time(), f"parts of the prompt on {len(rows.rows)} rows")
        started = time.perf_counter()
        scores = []
        for number, kept in enumerate(wanted):
            self.channel.progress(StageProgress("evaluate", number, len(wanted), "parts"))
            scores.append(self._score(rows, kept))
        self.whole, self.base = scores[:2]
        self.without = scores[2 : 2 + len(left_out)]
        self.first = scores[2 + len(left_out) :]
        yield StageFinished("evaluate", time.perf_counter() - started)

    def _score(self, rows: InspectedRows, kept: list[int]) -> PartScore:
        part = part_of(self.inspected.prompt, kept)
        evaluator = rows.evaluator
        loss = response_loss(evaluator, part, rows.encoded)
        if evaluator.labels is None:
            return PartScore(kept, loss, None)
        return PartScore(kept, loss, evaluator.score(part, rows.rows, rows.encoded).accuracy)

    def inspection(self, task: InspectTask) -> Inspection:
        """All of it as one struct."""
        prompt, rows = self.inspected.prompt, self.inspected.rows
        return Inspection(
            prompt=task.target,
            model=self.inspected.name,
            has_layers=isinstance(prompt, LayerPrefix),
            vocabulary_norm=self.near.vocabulary_norm if self.near else None,
            data=rows.source if rows else None,
            num_rows=len(rows.rows) if rows else 0,
            tokens=[self._token(number) for number in range(prompt.num_virtual_tokens)],
            layers=self._layers(),
            whole=self.whole,
            base=self.base,
            without=list(self.without),
            first=list(self.first),
            command=task.command,
        )

    def _token(self, number: int) -> TokenFindings:
        near, norms, masses = self.near, self.norms, self.masses
        norm = None
        if near is not None:
            norm = float(near.norms_P[number]) / near.vocabulary_norm
        return TokenFindings(
            norm=norm,
            nearest=self._nearest(number),
            key_norm=_mean(norms.key_LP[:, number]) if norms else None,
            value_norm=_mean(norms.value_LP[:, number]) if norms else None,
            attention_text=_mean(masses.text_LP[:, number]) if masses else None,
            attention_answer=_mean(masses.answer_LP[:, number]) if masses else None,
        )

    def _nearest(self, number: int) -> list[NearToken]:
        if self.near is None:
            return []
        tokenizer = self.inspected.tokenizer
        return [
            NearToken(token, tokenizer.decode([token], skip_special_tokens=False), cosine)
            for token, cosine in zip(
                self.near.ids_Pk[number].tolist(),
                self.near.cosines_Pk[number].tolist(),
                strict=True,
            )
        ]

    def _layers(self) -> list[LayerFindings]:
        norms, masses = self.norms, self.masses
        if masses is None:
            return []
        return [
            LayerFindings(
                attention_text=float(masses.text_LP[layer].sum()),
                attention_answer=float(masses.answer_LP[layer].sum()),
                key_norm=_mean(norms.key_LP[layer]) if norms else None,
                value_norm=_mean(norms.value_LP[layer]) if norms else None,
            )
            for layer in range(len(masses.text_LP))
        ]


def _mean(values: Tensor) -> float:
    return float(values.mean())
