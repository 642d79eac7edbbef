"""Whether a bundle's `exact` graph writes, token for token, what torch writes.

    python bench/greedy_texts.py RUN DATA [--rows 50] [--tokens 64]

Exports the run, then lets torch and the graph continue the data's first rows greedily: behind the
run's prompt, and the base alone, whose texts are longer where the prompt was trained on labels.
Prints one JSON object: texts that are the same, largest relative difference of a logit, KL.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from fidelity import ptune

from export.parity import Probe, ask_reference, measure
from export.prompts import AnyPrompt
from export.runtime import Bundle
from ptune_tui.config import DataConfig
from ptune_tui.engine.reference import TorchReference
from ptune_tui.rows import read_rows
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.tuned_model import TunedModel, TunedModelStage


def load(run: Path, folder: Path) -> TunedModel:
    stage = TunedModelStage(run, Channel(folder), is_reference=True)
    for _ in stage.events():
        pass
    return stage.tuned


def compare(bundle: Bundle, prompt: AnyPrompt | None, probes: list[Probe], tokens: int) -> Any:
    session = bundle.session
    prefix = session.prefix(session.begin(prompt, []))
    end = bundle.base().record.end_token_id
    found = measure(session, prefix, probes, tokens, end, "exact", is_integer_grid=True)
    lengths = [len(probe.continuation) for probe in probes]
    return {
        "identical_texts": f"{found.identical_texts} of {found.num_texts}",
        "mean_tokens": sum(lengths) / len(lengths),
        "relative_error": found.relative_error,
        "kl_divergence": found.kl_divergence,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ptune("export", options.run, "--out", folder / "bundle", "--precision", "exact")
        tuned = load(options.run, folder)
        texts = [row.prompt for row in read_rows(options.data, DataConfig())[: options.rows]]
        encoder = tuned.encoder()
        rows = [encoder.encode_prompt(text, tuned.card.max_prompt_tokens)[0] for text in texts]
        bundle = Bundle.open(folder / "bundle", "exact")
        found: dict[str, Any] = {}
        for who, trained, shipped in (
            ("tuned", tuned.prompt, bundle.tuned().prompt),
            ("base", None, None),
        ):
            probes = ask_reference(TorchReference(tuned.frozen, trained), rows, options.tokens)
            found[who] = compare(bundle, shipped, probes, options.tokens)
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
