r"""The whole path on one data set through the command line: train, score, export, score, compare.

    python bench/path_on_data.py FOLDER --template "Review: {prompt}\\nSentiment:" --out o.json

FOLDER holds train.jsonl and validation.jsonl. Prints one JSON object: scores of the base, of the
run in torch and of the bundle in both precisions, the rows that flip, and the settings.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from commands import ptune

from ptune_tui.results import Evaluation


def evaluation(target: Path, data: Path, *more: object) -> Evaluation:
    said = ptune("eval", target, "--data", data, "--json", *more)
    return msgspec.json.decode(said, type=Evaluation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--template")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--num-virtual-tokens", type=int, default=20)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keep the run and the bundle here")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="ptune-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    run, bundle = work / "run", work / "bundle"
    validation = options.folder / "validation.jsonl"
    training: list[object] = [
        *("--data", options.folder / "train.jsonl", "--validation", validation),
        *("--max-steps", options.steps, "--batch-size", options.batch_size),
        *("--num-virtual-tokens", options.num_virtual_tokens, "--seed", options.seed),
        *("--evaluate-every", max(1, options.steps // 3)),
    ]
    if options.template:
        training += ["--template", options.template]
    if options.learning_rate:
        training += ["--learning-rate", options.learning_rate]
    ptune("train", *training, "--out", run)
    ptune("export", run, "--out", bundle, "--overwrite")
    in_torch = evaluation(run, validation, "--baselines", "base")
    found: dict[str, Any] = {
        "settings": [str(item) for item in training],
        "torch": msgspec.to_builtins(in_torch.contenders),
    }
    for precision in ("fast", "exact"):
        against = evaluation(bundle, validation, "--precision", precision, "--against", run)
        found[precision] = {
            **msgspec.to_builtins(against.contenders[0]),
            "flips": msgspec.to_builtins(against.flips),
        }
    found["parity"] = json.loads((bundle / "manifest.json").read_text())["parity"]
    text = json.dumps(found, indent=2, ensure_ascii=False)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
