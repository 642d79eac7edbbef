"""Answers with the model and the trained prompt in this folder.

    pip install onnxruntime tokenizers
    python answer.py "a text"

It writes the likeliest token, again and again, also where ptune chooses among labels. Nothing of
ptune is needed. The prompt is the default of the graph's cache: whoever gives no
`past_key_values` asks the tuned model.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def answer(folder: Path, text: str) -> str:
    """The likeliest answer token by token, at most as long as those of training.

    Args:
        folder (Path): Where this file was written.
        text (str): What is asked.
    """
    row = json.loads((folder / "ptune.json").read_text(encoding="utf-8"))["row"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # a cache with a default is meant to be one
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    encoded = tokenizer.encode(
        row["before"] + text + row["after"], add_special_tokens=row["adds_special_tokens"]
    )
    cache_names = [
        output.name.replace("present", "past_key_values") for output in session.get_outputs()[1:]
    ]
    # The first tokens of every row are in the cache, behind the prompt.
    feeds = {"input_ids": np.array([encoded.ids[row["num_lead_tokens"] :]], np.int64)}
    chosen: list[int] = []
    while len(chosen) < row["max_response_tokens"]:
        logits, *cache = session.run(None, feeds)
        token = int(logits[0, -1].argmax())
        if token == row["end_token_id"]:
            break
        chosen.append(token)
        feeds = {"input_ids": np.array([[token]], np.int64)}
        feeds |= dict(zip(cache_names, cache, strict=True))
    said: str = tokenizer.decode(chosen, skip_special_tokens=False)
    return said.strip()


if __name__ == "__main__":
    said = answer(Path(__file__).parent, sys.argv[1])
    sys.stdout.buffer.write(f"{said}\n".encode())
