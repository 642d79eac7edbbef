"""The peak while loading is the quantised model and a chunk, never the float model.

Measured is anonymous memory (`RssAnon`), sampled in a process of its own: the pages of a mapped
checkpoint belong to the file cache, which the system takes back under pressure, and `ru_maxrss`
would count them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

MIB = 1 << 20
# A chunk is 2 MiB in float32 and quantising holds several such tensors; the allocator keeps some.
# Measured: 20 MiB (int4) and 39 MiB (nf4), 79 MiB for either on a busy machine; the float model
# has 256.
SLACK = 140 * MIB

PROBE = """
import json, sys, threading, time
from pathlib import Path

def anonymous_bytes():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024

from quant.loading import load
import transformers
transformers.AutoModelForCausalLM, transformers.LlamaForCausalLM
folder, scheme = Path(sys.argv[1]), sys.argv[2]
load(folder / "warm-up", scheme=scheme, kernel="stream")
before = anonymous_bytes()
peak, done = before, False

def watch():
    global peak
    while not done:
        peak = max(peak, anonymous_bytes())
        time.sleep(0.004)

watcher = threading.Thread(target=watch)
watcher.start()
loaded = load(folder / "large", scheme=scheme, kernel="stream")
done = True
watcher.join()
report = loaded.report
print(json.dumps([peak - before, report.quantised_bytes, report.float_bytes]))
"""


def write_model(folder: Path, hidden: int, intermediate: int, vocabulary: int) -> None:
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    folder.mkdir()
    config.save_pretrained(folder)
    noise = torch.randn(1 << 20)
    tensors = {
        name: noise.repeat(tensor.numel() // noise.numel() + 1)[: tensor.numel()].view(tensor.shape)
        for name, tensor in model.named_parameters()
    }
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("scheme", ["int4", "nf4"])
def test_the_float_model_is_never_in_memory(tmp_path: Path, scheme: str) -> None:
    torch.manual_seed(0)
    write_model(tmp_path / "warm-up", 64, 64, 64)
    write_model(tmp_path / "large", 1024, 8192, 8192)
    result = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path), scheme],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        # The sampling thread must not fight the pool's spinning threads for the cores.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    growth, quantised, floats = json.loads(result.stdout)
    assert floats > 200 * MIB
    sizes = f"{growth / MIB:.0f} MiB for {quantised / MIB:.0f} MiB"
    assert growth < quantised + SLACK, sizes
