"""`ptune data check` on generated rows: seconds, peak memory, and whether it finds what was put in.

    python bench/data_check.py --rows 1000000

The texts are words of the default model's own vocabulary, drawn by Zipf's law, some misspelt, some
with letters beyond ASCII; lengths are those of questions and short messages. Faults are put in at
known rates; two of one kind in copies of one row make them duplicates of each other.

The check runs as a process of its own with token lengths. The time is from its start to its end.
The memory is that of the process and its children together, sampled 20 times a second, and beside
it the process's own peak as Linux keeps it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from tokenizers import Tokenizer

from ptune_tui.default_model import fetch_default
from ptune_tui.tokenizer_card import card_path, read_card

LABELS = ("billing", "delivery", "returns", "account", "technical", "praise", "other")
ACCENTED = ("café", "naïve", "straße", "señor", "été", "garçon", "Zürich", "北京", "привет")
RATES = {
    "duplicate": 0.01,
    "duplicate-normalised": 0.005,
    "near-duplicate": 0.005,
    "conflict": 0.002,
    "malformed": 0.0005,
    "empty": 0.001,
    "mojibake": 0.002,
    "control-character": 0.001,
    "invisible-character": 0.001,
    "normal-form": 0.001,
    "secret": 0.0005,
    "card-number": 0.0002,
    "e-mail": 0.001,
    "truncated": 0.0005,
}


class Generator:
    """Rows with faults."""

    def __init__(self, words: list[str], num_rows: int, seed: int) -> None:
        self.words = words
        self.random = random.Random(seed)
        numbers = np.random.default_rng(seed)
        chances = 1 / (np.arange(len(words)) + 3.0)
        self.draws = numbers.choice(len(words), num_rows * 20, p=chances / chances.sum())
        self.position = 0
        self.kept: list[tuple[str, str]] = []
        self.put_in: Counter[str] = Counter()

    def text(self, num_words: int | None = None) -> str:
        """Some words, the commoner ones oftener."""
        count = num_words or min(80, max(4, round(self.random.lognormvariate(2.9, 0.5))))
        picked = self.draws[self.position : self.position + count]
        self.position = (self.position + count) % (len(self.draws) - 2000)
        words = [self.words[index] for index in picked]
        if self.random.random() < 0.2:
            place = self.random.randrange(len(words))
            words[place] = "".join(self.random.sample(words[place], len(words[place])))
        if self.random.random() < 0.03:
            words.insert(1, self.random.choice(ACCENTED))
        sentence = " ".join(words)
        return sentence[0].upper() + sentence[1:] + self.random.choice((".", "?", "!", ""))

    def lines(self, num_rows: int) -> Iterator[str]:
        """Lines of a JSONL file."""
        codes, rates = zip(*RATES.items(), strict=True)
        for _ in range(num_rows):
            code = self.random.choices((*codes, ""), (*rates, 1 - sum(rates)))[0]
            if code and (code not in ("duplicate", "conflict") or self.kept):
                yield self.faulty(code)
            else:
                yield self.row(self.text(), self.random.choice(LABELS))

    def row(self, prompt: str, response: str) -> str:
        """A good row, remembered now and then for a faulty one."""
        if self.random.random() < 0.02 and len(prompt) > 60:
            self.kept.append((prompt, response))
        return json.dumps({"prompt": prompt, "response": response}, ensure_ascii=False)

    def faulty(self, code: str) -> str:
        """A row with one fault."""
        self.put_in[code] += 1
        text, label = self.text(), self.random.choice(LABELS)
        if code in ("duplicate", "duplicate-normalised", "near-duplicate", "conflict"):
            if not self.kept:
                self.put_in[code] -= 1
                return self.row(text, label)
            text, label = self.random.choice(self.kept)
            if code == "duplicate-normalised":
                text = text.upper() + " ."
            elif code == "near-duplicate":
                words = text.split()
                words[-1] = self.random.choice(self.words)
                text = " ".join(words)
            elif code == "conflict":
                label = self.random.choice([other for other in LABELS if other != label])
        elif code == "malformed":
            return '{"prompt": "' + text
        elif code == "empty":
            text = "  "
        elif code == "mojibake":
            text += " café".encode().decode("latin-1")
        elif code == "control-character":
            text += "\x07"
        elif code == "invisible-character":
            text = text.replace(" ", " \u200b", 1)
        elif code == "normal-form":
            text += " cafe\u0301"
        elif code == "secret":
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
            text += " AKIA" + "".join(self.random.choices(letters, k=16))
        elif code == "card-number":
            text += " 4111 1111 1111 1111"
        elif code == "e-mail":
            text += " jane.doe@example.org"
        elif code == "truncated":
            text = self.text(900)
        return json.dumps({"prompt": text, "response": label}, ensure_ascii=False)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--folder", type=Path, help="keep the generated files here")
    chosen = options.parse_args()
    card = read_card(card_path(fetch_default(lambda *_: None)))
    if card is None:
        raise SystemExit("Run `ptune data check support_inbox` once: it reads the tokenizer.")
    vocabulary = Tokenizer.from_str(card.tokenizer_json).get_vocab()
    words = sorted((token for token in vocabulary if token[0] == "Ġ"), key=vocabulary.__getitem__)
    plain = [token[1:] for token in words if token[1:].isascii() and token[1:].isalpha()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        train, validation = folder / "train.jsonl", folder / "validation.jsonl"
        generator = Generator(plain, chosen.rows, chosen.seed)
        with train.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in generator.lines(chosen.rows))
        held_out = chosen.rows // 100
        with validation.open("w", encoding="utf-8") as file:
            for number in range(held_out):
                prompt, label = generator.text(), generator.random.choice(LABELS)
                if number % 10 == 0:
                    prompt, label = generator.random.choice(generator.kept)
                    generator.put_in["split-overlap"] += 1
                file.write(json.dumps({"prompt": prompt, "response": label}) + "\n")
        put_in, size = dict(generator.put_in), train.stat().st_size
        del generator
        run(train, validation, put_in, size)


def run(train: Path, validation: Path, put_in: dict[str, int], num_bytes: int) -> None:
    command = [sys.executable, "-m", "ptune_tui", "data", "check", str(train)]
    command += ["--validation", str(validation), "--json"]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        child = psutil.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        peak = high_water = 0
        while child.status() != psutil.STATUS_ZOMBIE:
            peak = max(peak, resident(child))
            high_water = max(high_water, own_peak(child.pid))
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        _, status, usage = os.wait4(child.pid, 0)
        output.seek(0)
        report = json.load(output)["report"]
    found = {entry["code"]: entry["count"] for entry in report["findings"]}
    num_rows = report["splits"][0]["num_rows"]
    code = os.waitstatus_to_exitcode(status)
    print(f"{num_rows:,} rows, {num_bytes / 1e6:.0f} MB, exit code {code}")
    print(f"{seconds:.1f} s, {num_rows / seconds:,.0f} rows/s")
    print(f"peak {peak / 1e6:.0f} MB sampled, {high_water / 1e6:.0f} MB by the system")
    print(f"processor time {usage.ru_utime + usage.ru_stime:.1f} s")
    print(f"prompt tokens {report['splits'][0]['tokens']['prompt']}")
    for code in sorted(set(put_in) | set(found)):
        print(f"  {code:26} put in {put_in.get(code, 0):>8,}  found {found.get(code, 0):>8,}")


def own_peak(pid: int) -> int:
    """The largest resident memory of a process so far, in bytes; 0 once it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def resident(process: psutil.Process) -> int:
    """Resident bytes of a process and its children together."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


if __name__ == "__main__":
    main()
