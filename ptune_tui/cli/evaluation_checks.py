"""What `ptune eval` refuses before any work: options that nothing reads, missing places."""

from __future__ import annotations

from pathlib import Path

from ptune_tui.bundles import is_bundle
from ptune_tui.cli.evaluation_request import EvaluationRequest
from ptune_tui.config import DataConfig, load
from ptune_tui.errors import DataError, UsageError
from ptune_tui.evaluation.columns import RECOGNISED
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.runs import find_run
from ptune_tui.tasks import CONFIG_FILE

_NUM_LOOKED_AT = 1000  # rows, before a worker reads all of them


def check_request(target: str, against: str | None, request: EvaluationRequest) -> None:
    """Refuse what no line reads, rows that are not there, and lines without a common score.

    Args:
        target (str): A run or a bundle.
        against (str | None): Another.
        request (EvaluationRequest): What is asked for.

    Raises:
        UsageError: An option is not read, or an instruction has two places for a row.
        DataError: A file is missing, or the two do not answer with the same labels.
    """
    _check_baselines(request, of_bundle=is_bundle(target))
    _check_kinds([target] if against is None else [target, against], request)
    _check_instruction(request.instruction)
    _check_data(target, against, request)
    _check_labels(target, against, request)
    for each in (target,) if against is None else (target, against):
        _check_rows(each, request)


def check_places(*files: Path | None) -> None:
    """Refuse files that cannot be written because their folder is missing.

    Args:
        files (Path | None): None where nothing is to be written.

    Raises:
        UsageError: There is one.
    """
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise UsageError(
                f"There is no folder {file.parent} to write {file.name} into.",
                "Make it, or name a file in a folder that is there.",
            )


def _check_baselines(request: EvaluationRequest, *, of_bundle: bool) -> None:
    needs: list[tuple[str, object, set[ContenderKey]]] = [
        ("--instruction", request.instruction, {"instruction"}),
        ("--examples", request.num_examples, {"few_shot"}),
        ("--bundle", request.bundle, {"bundle"}),
        ("--lora-seconds", request.lora_seconds, {"lora"}),
    ]
    if not of_bundle:  # with a bundle they also tell whether scored rows were trained on
        needs.append(("--train", request.train, {"few_shot", "lora"}))
    for option, value, readers in needs:
        if value is not None and readers.isdisjoint(request.baselines):
            names = " or ".join(sorted(name.replace("_", "-") for name in readers))
            raise _unread(option, f"name {names} with `--baselines`")


def _check_kinds(targets: list[str], request: EvaluationRequest) -> None:
    """Options that only a run or only a bundle reads."""
    has_bundle = any(map(is_bundle, targets))
    if not has_bundle and "bundle" not in request.baselines:
        if request.precision is not None:
            raise _unread("--precision", "name bundle with `--baselines`")
        if request.num_threads:
            raise _unread("--threads", "name bundle with `--baselines`")
    if request.prompt is not None and not has_bundle and request.bundle is None:
        raise _unread("--prompt", "name a bundle with `--bundle`")
    if request.force and all(map(is_bundle, targets)):
        raise _unread("--force", "name the run instead of its bundle")


def _unread(option: str, remedy: str) -> UsageError:
    return UsageError(
        f"`{option}` was given, but no line of the table reads it.",
        f"Leave it out, or {remedy}.",
    )


def _check_instruction(instruction: str | None) -> None:
    count = (instruction or "").count("{prompt}")
    if count > 1:
        raise UsageError(
            f"`--instruction` has {{prompt}} {count} times.",
            "Write it once, where the row goes; without it the instruction stands above the row.",
        )


def _check_data(target: str, against: str | None, request: EvaluationRequest) -> None:
    from ptune_tui.data import data_path, training_path
    from ptune_tui.reading.source import files_of

    if request.data is not None:
        files_of(data_path(request.data).as_posix())
    elif is_bundle(target) or against is not None:
        raise UsageError(
            "There is nothing to score: `--data` is missing.",
            "Name rows with `--data`; only a run by itself has validation rows of its own.",
        )
    elif request.columns != RECOGNISED:
        raise _unread("--prompt-field` or `--response-field", "name rows with `--data`")
    if request.train is not None:
        files_of(training_path(request.train).as_posix())


def _check_labels(target: str, against: str | None, request: EvaluationRequest) -> None:
    known = _labels(target, request)
    if known is None:  # an adapter of another program, which is told apart when it is opened
        return
    (labels,) = known
    if labels is None and request.with_probabilities:
        raise _unread("--calibration", "score a run that answers with labels")
    other = None if against is None else _labels(against, request)
    if other is not None and other != known:
        raise DataError(
            f"{against} answers with {_kind(other[0])}, and {target} with {_kind(labels)}: they "
            "have no score in common.",
            "Compare runs that were trained on the same labels.",
        )


def _check_rows(target: str, request: EvaluationRequest) -> None:
    """Read the first rows: a worker reads all, but needs seconds for its imports before."""
    if request.data is None:
        return
    from ptune_tui.data import check_labels, data_path
    from ptune_tui.rows import read_rows

    path = data_path(request.data)
    num_rows = min(request.max_rows or _NUM_LOOKED_AT, _NUM_LOOKED_AT)
    rows = read_rows(path, _columns(target, path, request), num_rows)
    known = _labels(target, request)
    if known is not None and known[0] is not None:
        check_labels(rows, known[0])


def _columns(target: str, path: Path, request: EvaluationRequest) -> DataConfig:
    """How the target reads rows."""
    if is_bundle(target):
        from export.bundle import named_record, read_manifest

        folder = Path(target)
        _, record = named_record(folder, read_manifest(folder), request.prompt)
        return request.columns.data_config(record.template.column_template)
    from ptune_tui.evaluation.run_columns import columns_for_run

    trained = load(find_run(target) / CONFIG_FILE).data
    return columns_for_run(path, trained, request.columns).config


def _labels(target: str, request: EvaluationRequest) -> tuple[list[str] | None] | None:
    """The labels, None for free text, in a tuple of one; None where a run has no card."""
    if is_bundle(target):
        from export.bundle import named_record, read_manifest

        folder = Path(target)
        return (named_record(folder, read_manifest(folder), request.prompt)[1].labels,)
    from ptune_tui.prompt_card import read_card
    from ptune_tui.run_prompt import ADAPTER_FOLDER

    card = read_card(find_run(target) / ADAPTER_FOLDER)
    return None if card is None else (card.labels,)


def _kind(labels: list[str] | None) -> str:
    if labels is None:
        return "free text"
    shown = ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")
    return f"{len(labels)} labels ({shown})"
