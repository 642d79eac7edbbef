"""The quality table: our methods on real data, beside LoRA, the base and a bag of words.

    PTUNE_REAL_DATA=FOLDER python bench/quality.py            makes every missing cell (hours)
    python bench/quality.py --list                            what there is of each cell
    python bench/quality.py --only sst2 --method prefix --seed 0
    python bench/quality.py --lora                            the LoRA cells alone
    python bench/quality.py --table [--write docs/quality.md] the table, from stored cells alone

A cell is one (task, method, arithmetic, seed) and is stored as soon as it is done, so what was
stopped goes on where it was. Tasks and settings are in `bench/quality_settings.py`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from quality_cells import CellFolder, table, write_table
from quality_settings import LORA, TASKS, CellKey, planned_cells, settings_of
from quality_workshop import MissingTime, Workshop


def main() -> None:
    options = parse()
    folder = CellFolder(options.cells)
    chosen = [key for key in planned_cells() if is_chosen(key, options)]
    if options.list:
        for key in chosen:
            print(f"{folder.state(key, settings_of(key)):10} {key.name}")
    elif options.table or options.write:
        found = [folder.read(key) for key in chosen]
        cells = [cell for cell in found if cell is not None]
        if options.write:
            write_table(options.write, cells)
        print(table(cells))
    else:
        make(chosen, folder, options)


def make(chosen: list[CellKey], folder: CellFolder, options: argparse.Namespace) -> None:
    data = os.environ.get("PTUNE_REAL_DATA")
    if not data or not Path(data).is_dir():
        sys.exit("PTUNE_REAL_DATA names no folder of data sets (sst2/train.jsonl, ...).")
    workshop = Workshop(
        data=Path(data),
        work=options.work,
        cells=folder,
        steps_override=options.steps_override,
        max_rows=options.max_rows,
        is_fresh=options.again,
        model=options.model,
    )
    failed: list[str] = []
    for key in chosen:
        state = folder.state(key, settings_of(key))
        if state in ("done", "over time") and not options.again:
            continue
        if state == "trial" and workshop.is_trial and not options.again:
            continue
        print(f"{key.name} ({state}) ...", file=sys.stderr, flush=True)
        try:
            cell = workshop.make(key)
        except (MissingTime, subprocess.CalledProcessError) as error:
            print(f"  no cell: {error}", file=sys.stderr)
            failed.append(key.name)
            continue
        time = "" if cell.training_seconds is None else f" in {cell.training_seconds:.0f} s"
        print(f"{key.name}\t{cell.score:.4f}{time}", flush=True)
    if failed:
        sys.exit(f"Without a cell: {', '.join(failed)}")


def is_chosen(key: CellKey, options: argparse.Namespace) -> bool:
    method = LORA if options.lora else options.method
    return (
        (options.only is None or key.task == options.only)
        and (method is None or key.method == method)
        and (options.seed is None or key.seed == options.seed)
        and (options.arithmetic is None or key.arithmetic == options.arithmetic)
    )


def parse() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    here = Path(__file__).parent
    parser.add_argument("--cells", type=Path, default=here / "quality_cells")
    work = Path(tempfile.gettempdir()) / "ptune-quality"
    parser.add_argument("--work", type=Path, default=work, help="runs and intermediate files")
    parser.add_argument("--only", choices=list(TASKS), help="one task")
    parser.add_argument("--method", help="one method")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--arithmetic", choices=["fp32", "int8", "none"])
    parser.add_argument("--lora", action="store_true", help="the same as --method lora")
    parser.add_argument("--list", action="store_true", help="show the cells and their state")
    parser.add_argument("--table", action="store_true", help="show the table")
    parser.add_argument("--write", type=Path, help="put the table into this document")
    parser.add_argument("--again", action="store_true", help="make chosen cells that are done, too")
    parser.add_argument("--steps-override", type=int, help="a trial: so many steps")
    parser.add_argument("--model", default="default", help="a trial: as `ptune train` takes it")
    parser.add_argument("--max-rows", type=int, help="a trial: score so many rows")
    return parser.parse_args()


if __name__ == "__main__":
    main()
