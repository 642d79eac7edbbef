"""Events, workers and chats that the tests of the app follow instead of real ones."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import msgspec

from ptune_tui.config import DataConfig, MethodConfig, RunConfig, TrainingConfig
from ptune_tui.events import (
    CheckpointSaved,
    DataReady,
    Diverged,
    EvaluationDone,
    Event,
    ExportDone,
    ModelReady,
    Notice,
    ParityMeasured,
    Paused,
    PlanMade,
    PreviewMade,
    PreviewRow,
    RateProposed,
    RateTried,
    Resumed,
    RolledBack,
    SampleMade,
    StageFinished,
    StageProgress,
    StageStarted,
    StateSaved,
    StepDone,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    TextAnswered,
    encode_line,
)
from ptune_tui.locks import write_lock
from ptune_tui.run_prompt import ADAPTER_CONFIG_FILE, ADAPTER_FOLDER, CARD_FILE, TENSORS_FILE
from ptune_tui.tasks import EVENTS_FILE, LOG_FILE, TrainTask, write_task

START = 1_700_000_000.0
PROMPT_FILES = (ADAPTER_CONFIG_FILE, TENSORS_FILE, CARD_FILE)

MODEL = ModelReady(
    name="smollm2-135m-instruct",
    family="llama",
    num_layers=30,
    hidden_size=576,
    vocab_size=49152,
    num_parameters=134_515_008,
    quantised_bytes=98_362_432,
    relative_error=None,
    scheme="gguf",
    kernel="cached",
    weights_hash="0123",
    num_threads=2,
)
DATA = DataReady(
    num_train_rows=540,
    num_validation_rows=132,
    num_cut_rows=0,
    max_row_tokens=96,
    mean_row_tokens=41.5,
    labels=["account", "billing", "returns"],
    template="{prompt}\n",
    num_shared_tokens=0,
)


PLAN = PlanMade(
    kernel="int8",
    device="cpu",
    compute_type="float32",
    micro_batch_size=16,
    checkpointing=False,
    bucket_width=8,
    reasons=[
        "int8: 0.71 s a step in the probe, where cached took 1.64 s",
        "16 rows at a time: 32 would need 3.1 GB of the 2.6 GB that are free",
        "no recomputing: what a micro-batch keeps fits into memory",
        "widths in steps of 8: 3 % padding",
    ],
    seconds_per_step=0.71,
    probe_memory_bytes=1_900 << 20,
)


def step(number: int, max_steps: int = 300) -> StepDone:
    return StepDone(
        step=number,
        max_steps=max_steps,
        loss=2.2 * math.exp(-number / 60) + 0.25 + 0.12 * math.sin(number * 1.7),
        learning_rate=0.0123,
        gradient_norm=0.8,
        tokens_per_second=1843.0,
        peak_memory_bytes=2_400 << 20,
        elapsed_seconds=number * 0.9,
        eta_seconds=(max_steps - number) * 0.9,
    )


def samples(number: int) -> list[Event]:
    return [
        SampleMade(number, "My login works at home and not at work.", "account", "account"),
        SampleMade(number, "I was charged twice for the March\ninvoice.", "billing", "returns"),
        SampleMade(number, "The lamp arrived broken.", "returns", "returns"),
    ]


def evaluation(number: int, accuracy: float, *, is_best: bool = True) -> list[Event]:
    tuned = number > 0
    done = EvaluationDone(
        number, 132, accuracy, accuracy - 0.01, 0.4, 3.4, tuned, is_best and tuned
    )
    events: list[Event] = [StageStarted("evaluate", START + 8 + number), done, *samples(number)]
    if done.is_best:
        events.append(CheckpointSaved(number, "adapter", accuracy, True))
    return [*events, StageFinished("evaluate", 3.4)]


def beginning() -> list[Event]:
    return [
        TaskStarted(START, 4242, "train"),
        StageStarted("load", START),
        MODEL,
        StageFinished("load", 2.6),
        StageStarted("tokenise", START + 3),
        DATA,
        StageFinished("tokenise", 0.2),
        StageStarted("probe", START + 4),
        PLAN,
        StageFinished("probe", 1.9),
        *evaluation(0, 0.614),
        StageStarted("train", START + 10),
    ]


def running() -> list[Event]:
    return [
        *beginning(),
        *(step(number) for number in range(1, 51)),
        *evaluation(50, 0.803),
        *(step(number) for number in range(51, 101)),
        StateSaved(100, "resume"),
        *evaluation(100, 0.886),
        *(step(number) for number in range(101, 121)),
        Notice(
            "rows-cut", "3 rows were too long; their prompts were cut from the left.", "Raise it."
        ),
    ]


def paused() -> list[Event]:
    """A run that waits after its step 120."""
    return [*running(), StateSaved(120, "resume"), Paused(120)]


def free_text() -> list[Event]:
    """A run on free text, after its first validation."""
    data = msgspec.structs.replace(DATA, labels=None, template="chat")
    prompt = "name[Cotto], eatType[coffee shop], priceRange[moderate], near[The Portland Arms]"
    expected = "Cotto is a coffee shop with average prices, located near The Portland Arms."
    answer = "Cotto is a coffee shop near The Portland Arms. Its prices are moderate."
    validations: list[Event] = [
        EvaluationDone(0, 100, 0.0, None, 2.87, 30.1, False),
        EvaluationDone(50, 100, 0.02, None, 1.31, 30.4, True, True),
        SampleMade(50, prompt, expected, answer),
        SampleMade(50, "name[Aromi], food[English]", "Aromi serves English food.", "\n"),
        SampleMade(50, "name[Zizzi]", "Zizzi is a pub.", "Zizzi is a pub."),
    ]
    head = [data if event is DATA else event for event in beginning()]
    head = [event for event in head if not isinstance(event, EvaluationDone | SampleMade)]
    return [*head, *(step(number) for number in range(1, 51)), *validations]


def finished() -> list[Event]:
    return [
        *running(),
        *(step(number) for number in range(121, 301)),
        *evaluation(300, 0.894),
        StageFinished("train", 271.0),
        TaskFinished(283.4),
    ]


def failed(log_path: str) -> list[Event]:
    message = "The loss is not finite any more at step 60 (learning rate 3)."
    hint = "Lower `--learning-rate`; the best prompt so far is kept in the run folder."
    steps = [step(number) for number in range(1, 60)]
    return [*beginning(), *steps, TaskFailed("fault", message, hint, log_path)]


def diverged() -> list[Event]:
    """A run that went wrong once, went back, was cut off, and goes on."""
    return [
        *running(),
        StateSaved(125, "resume"),
        *(step(number) for number in range(121, 132)),
        Diverged(132, "loss", "rose to 9.4, far above the 1.2"),
        RolledBack(132, 125, 0.0062, "The loss of step 132 rose to 9.4, far above the 1.2"),
        *(step(number) for number in range(126, 141)),
        *resumed(125),
    ]


def resumed(last: int = 100) -> list[Event]:
    """A worker that goes on after a step."""
    return [
        TaskStarted(START + 100, 4250, "train"),
        StageStarted("load", START + 100),
        MODEL,
        StageFinished("load", 2.5),
        PLAN,
        Resumed(last, "resume"),
        StageStarted("train", START + 104),
        *(step(number) for number in range(126, 136)),
    ]


def rates(num_tried: int = 40, *, is_over: bool = True) -> list[Event]:
    """A range test: the loss falls, then rises."""
    tried = [10 ** (-3 + 4.5 * number / 39) for number in range(num_tried)]
    events: list[Event] = [
        TaskStarted(START, 4260, "find_rate"),
        StageStarted("load", START),
        MODEL,
        StageFinished("load", 2.6),
        StageStarted("train", START + 3),
        *(
            RateTried(rate, 2.3 - 1.4 / (1 + (0.2 / rate) ** 1.5) + 0.02 * rate**1.4)
            for rate in tried
        ),
    ]
    if not is_over:
        return events
    proposal = RateProposed(0.25, "a tenth of 2.5, where the loss was lowest")
    return [*events, proposal, TaskFinished(41.0)]


def exporting() -> list[Event]:
    return [
        TaskStarted(START, 4243, "export"),
        StageStarted("load", START),
        StageFinished("load", 2.6),
        StageStarted("build", START),
        StageFinished("build", 1.4),
        StageStarted("parity", START + 120, "8 rows in torch"),
        ParityMeasured("exact", 2e-5, 6e-11, 1.0, 8, 8, True),
    ]


def exported(bundle: Path) -> list[Event]:
    failing = Notice("throughput-failed", "`throughput` is at KL 0.0123, above the gate of 0.005.")
    return [
        *exporting(),
        ParityMeasured("fast", 0.031, 0.0011, 0.982, 6, 8, True),
        ParityMeasured("throughput", 0.084, 0.0123, 0.941, 3, 8, False),
        failing,
        StageFinished("parity", 9.0),
        ExportDone(
            *(str(bundle), 130 << 20, "fast", {"exact": 0.412, "fast": 0.187}),
            read_bytes={"exact": 125 << 20, "fast": 124 << 20},
        ),
        TaskFinished(11.0),
    ]


def export_failed() -> list[Event]:
    message = "The export needs about 275 MB, but /home/user has 12 MB free."
    hint = "Free some space, or name another folder with `--out`."
    return [*exporting()[:4], TaskFailed("resources", message, hint, "/home/user/worker.log")]


def comparing(*, num_done: int = 4) -> list[Event]:
    """A table that is being made, so many lines of it done."""
    titles = ("base (zero-shot)", "instruction", "few-shot (8 examples)", "tuned prompt")
    events: list[Event] = [
        TaskStarted(START, 4270, "compare"),
        StageStarted("load", START, "default"),
        StageFinished("load", 4.1),
    ]
    for number, title in enumerate(titles):
        events.append(StageStarted("evaluate", START + 120, title))
        events.append(StageProgress("evaluate", 132 * (number + 1) // 5, 132, "rows"))
        if number == num_done:
            return events
        score = (0.22, 0.41, 0.39, 0.803)[number]
        events.append(EvaluationDone(0, 132, score, score, None, 6.4, number == 3, contender=title))
        events.append(StageFinished("evaluate", 6.4))
    return events


def answered(number: int = 1) -> list[Event]:
    """What three answer to a text."""
    shares = {"account": 0.61, "billing": 0.3, "returns": 0.09}
    sure = {"account": 0.01, "billing": 0.02, "returns": 0.97}
    return [
        TaskStarted(START, 4280, "answer"),
        StageStarted("load", START, "default"),
        StageFinished("load", 4.1),
        StageStarted("evaluate", START, "the lamp"),
        TextAnswered(number, "base (zero-shot)", "torch, cached", "account", 0.21, shares),
        TextAnswered(
            number, "few-shot", "", "", 0.0, error="No example fits into the model's context."
        ),
        TextAnswered(number, "tuned prompt", "torch, cached", "returns", 0.098, sure),
        TextAnswered(
            number, "bundle (fast)", "onnxruntime, fast", "returns", 0.012, sure, is_last=True
        ),
        StageFinished("evaluate", 0.4),
    ]


def answered_freely(number: int = 1) -> list[Event]:
    """What four answer to a text in words of their own."""
    base = "Alimentum is a place that sells food and it is a place where families can go and eat."
    shot = "Alimentum is a restaurant near Burger King.\nIt is not for families."
    tuned = "Alimentum is a fast food restaurant in the city centre. It is not family-friendly."
    return [
        TaskStarted(START, 4280, "answer"),
        StageStarted("load", START, "default"),
        StageFinished("load", 4.1),
        StageStarted("evaluate", START, "name[Alimentum]"),
        TextAnswered(number, "base (zero-shot)", "torch, cached", base, 2.4),
        TextAnswered(number, "few-shot (8 examples)", "torch, cached", shot, 3.1),
        TextAnswered(number, "tuned prompt", "torch, cached", tuned, 1.2),
        TextAnswered(number, "bundle (fast)", "onnxruntime, fast", tuned, 0.31, is_last=True),
        StageFinished("evaluate", 7.0),
    ]


def write_bundle(folder: Path, weights_hash: str = "0123") -> Path:
    """As much of a bundle as the app reads: two prompts, two precisions."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "schema": 1,
        "model_name": "smollm2-135m-instruct",
        "weights_hash": weights_hash,
        "default_precision": "fast",
        "graphs": {"exact": "exact.onnx", "fast": "model.onnx"},
        "prompts": {
            name: {"num_virtual_tokens": 20, "labels": ["account", "billing", "returns"]}
            for name in ("support_inbox", "commands")
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def preview() -> list[Event]:
    rows = [
        PreviewRow(
            ["The", " lamp", " broke", ".", "\n", "returns", "<|im_end|>"],
            [False] * 5 + [True] * 2,
            False,
        ),
        PreviewRow(
            ["long", " text", "\n", "account", "<|im_end|>"], [False] * 3 + [True] * 2, True
        ),
    ]
    return [TaskStarted(START, 4244, "preview"), PreviewMade(rows), TaskFinished(0.4)]


def said_by(pid: int, events: list[Event]) -> list[Event]:
    """Events as a worker of that number says them."""
    return [
        msgspec.structs.replace(event, pid=pid) if isinstance(event, TaskStarted) else event
        for event in events
    ]


def write_prompt(run: Path) -> None:
    """The files of a run's prompt, as far as they are looked for."""
    (run / ADAPTER_FOLDER).mkdir(parents=True, exist_ok=True)
    for name in PROMPT_FILES:
        (run / ADAPTER_FOLDER / name).write_bytes(b"")


def write_run(folder: Path, events: list[Event], *, is_held: bool = False) -> Path:
    """A run folder as a worker leaves it; `is_held` makes this process its worker."""
    write_task(folder, TrainTask(RunConfig()))
    if any(isinstance(event, CheckpointSaved) for event in events):
        write_prompt(folder)
    if is_held:
        events = said_by(write_lock(folder).pid, events)
    (folder / EVENTS_FILE).write_bytes(b"".join(encode_line(event) for event in events))
    return folder


def write_runs(folder: Path) -> Path:
    """A run of each kind: `running` the newest, then `failed`, `finished`, `stopped`, `killed`."""
    config = RunConfig(
        data=DataConfig(train="/data/ag_news/train.jsonl"),
        method=MethodConfig(name="prefix"),
        training=TrainingConfig(learning_rate=0.02),
    )
    stopped: list[Event] = [*running(), TaskFinished(100.0, stopped_early=True)]
    kinds: dict[str, list[Event]] = {
        "killed": running()[:30],
        "stopped": stopped,
        "finished": finished(),
        "failed": failed(str(folder / "failed" / LOG_FILE)),
        "running": running(),
    }
    for number, (name, events) in enumerate(kinds.items()):
        begun = TaskStarted(START + 3600 * number, 4242, "train")
        run = write_run(folder / name, [begun, *events[1:]], is_held=name == "running")
        if name == "finished":
            write_task(run, TrainTask(config))
            (run / "adapter" / "adapter_model.safetensors").write_bytes(bytes(40_000))
    return folder


def worker_command(folder: Path, events: list[Event], script: str = "") -> list[str]:
    """A worker that says some events and then runs a script."""
    said = b"".join(encode_line(event) for event in events)
    saved = ""
    if any(isinstance(event, CheckpointSaved) for event in events):
        saved = (
            f"(folder / {ADAPTER_FOLDER!r}).mkdir(exist_ok=True)\n"
            f"for name in {PROMPT_FILES!r}: (folder / {ADAPTER_FOLDER!r} / name).touch()\n"
        )
    code = (
        "import os, pathlib, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "def say(text):\n"
        "    with open(folder / 'events.jsonl', 'ab') as file: file.write(text)\n"
        f"say({said!r}.replace(b'\"pid\":4242', b'\"pid\":%d' % os.getpid()))\n{saved}{script}"
    )
    return [sys.executable, "-c", code, str(folder)]


FOREVER = "time.sleep(60)\n"
OBEY = r"""
commands = folder / "commands.jsonl"
while not (commands.exists() and b'"Stop"' in commands.read_bytes()): time.sleep(0.02)
say(b'{"type":"TaskFinished","seconds":1.0,"stopped_early":true}\n')
"""
WAIT = r"""
commands = folder / "commands.jsonl"
def told(word): return commands.exists() and word in commands.read_bytes()
while not told(b'"Pause"'): time.sleep(0.02)
say(b'{"type":"Paused","step":120}\n')
while not told(b'"Continue"'): time.sleep(0.02)
say(b'{"type":"Continued","step":120,"seconds":0.5}\n')
time.sleep(60)
"""
CHAT = """
import json, sys
def say(**reply): print(json.dumps(reply), flush=True)
print("a native library's chatter", flush=True)
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
say(type="Ready", model="smollm2-135m-instruct", prompt=options.get("--prompt", "support_inbox"),
    precision=options.get("--precision", "fast"),
    labels=["account", "billing", "returns"], num_virtual_tokens=20, seconds=0.4)
for line in sys.stdin:
    ask = json.loads(line)
    if ask["text"] == "hang":  # until it is told to end
        for speaker in ask["speakers"]:
            say(type="Piece", number=ask["number"], speaker=speaker, text="on and", num_tokens=2)
            told = json.loads(sys.stdin.readline())
            assert told == {"type": "EndAnswer", "number": ask["number"], "speaker": speaker}
            say(type="Answered", number=ask["number"], speaker=speaker, text="on and on",
                num_tokens=8, seconds=0.5, probability=None, was_ended=True)
        continue
    if ask["text"] == "long":
        for speaker in ask["speakers"]:
            for number in range(60):
                say(type="Piece", number=ask["number"], speaker=speaker,
                    text=f"{speaker} {number}\\n", num_tokens=number)
            say(type="Answered", number=ask["number"], speaker=speaker,
                text="".join(f"{speaker} {number}\\n" for number in range(60)), num_tokens=60,
                seconds=0.5, probability=None)
        continue
    if ask["text"] == "die":
        sys.exit(3)
    if ask["text"] == "refuse":
        say(type="ChatFailed", number=ask["number"], category="usage", message="Too long.", hint="")
        continue
    for speaker in ask["speakers"]:
        text = "The customer wants to return a lamp." if speaker == "base" else "returns"
        for piece in text.split(" "):
            say(type="Piece", number=ask["number"], speaker=speaker, text=piece + " ", num_tokens=1)
        say(type="Answered", number=ask["number"], speaker=speaker, text=text, num_tokens=8,
            seconds=0.5, probability=0.93 if speaker == "tuned" else None)
"""
