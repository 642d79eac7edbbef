"""How a bundle's precisions answer beside torch: scores and the rows that flip.

    python bench/fidelity.py RUN DATA [RUN DATA ...] [--max-rows N] [--bundles FOLDER]
        [--answers FOLDER] [--out FILE]

Each run is exported with the graphs it can have, then its data are scored in torch by the exact
kernel and by each graph. Prints one JSON object a run: accuracy (BLEU of free text), rows with
another answer, seconds, and what the gate measured. The bundles and the answers of each stay in the
FOLDERs that are named.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from commands import ptune

from export.bundle import read_manifest
from export.precisions import PRECISIONS
from ptune_tui.results import ContenderScores, Evaluation


def answers(
    target: Path, data: Path, file: Path, *more: object
) -> tuple[ContenderScores, list[str]]:
    said = ptune(
        *("eval", target, "--data", data, "--predictions", file, "--json"),
        *("--baselines", "none", *more),
    )
    lines = file.read_text(encoding="utf-8").splitlines()
    scored = msgspec.json.decode(said, type=Evaluation).contenders[0]
    return scored, [json.loads(line)["answer"] for line in lines]


def measure(
    run: Path, data: Path, bundles: Path | None, kept: Path | None, more: list[object]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = kept or folder
        bundle = (bundles or folder) / run.name
        if not bundle.exists():
            ptune("export", run, "--out", bundle)
        manifest = read_manifest(bundle)
        (prompt,) = manifest.prompts.values()
        metric = "bleu" if prompt.labels is None else "accuracy"
        if prompt.labels is not None:
            more = [*more, "--no-calibration"]
        in_torch, expected = answers(run, data, texts / f"{run.name}-torch.jsonl", *more)
        found: dict[str, Any] = {
            "run": run.name,
            "num_rows": len(expected),
            "torch": {metric: in_torch.score(metric), "seconds": in_torch.seconds},
        }
        for precision in (name for name in PRECISIONS if name in manifest.graphs):
            file = texts / f"{run.name}-{precision}.jsonl"
            scored, got = answers(bundle, data, file, "--precision", precision, *more)
            flips = [
                number
                for number, pair in enumerate(zip(got, expected, strict=True))
                if pair[0] != pair[1]
            ]
            found[precision] = {
                metric: scored.score(metric),
                "flips": flips,
                "seconds": scored.seconds,
                "parity": msgspec.to_builtins(manifest.parity[precision]),
            }
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", type=Path, help="RUN DATA, as often as wanted")
    parser.add_argument("--max-rows", type=int)
    parser.add_argument("--bundles", type=Path)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.answers:
        options.answers.mkdir(parents=True, exist_ok=True)
    more: list[object] = ["--max-rows", options.max_rows] if options.max_rows else []
    found = []
    for run, data in zip(options.pairs[::2], options.pairs[1::2], strict=True):
        found.append(measure(run, data, options.bundles, options.answers, more))
        print(json.dumps(found[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
