"""One random Llama, its graph once written node by node and once traced: nodes, seconds, tokens/s.

    python bench/traced_graph.py --layers 15 --threads 2

The two take turns; the best of three counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import transformers

from export.blobs import BlobFile
from export.graphs import Graphs, store_graphs, trace_graphs
from export.session import DecoderSession
from quant.loading import LoadedModel, load

NUM_DECODED = 48
ROUNDS = 3
VOCAB_SIZE = 8000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 256, 1024])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loaded = random_llama(folder / "model", options.layers)
        forced = partial(trace_graphs, refusal="It was asked for.")
        sessions = {
            "written": made(folder / "written", loaded, store_graphs, options.threads),
            "traced": made(folder / "traced", loaded, forced, options.threads),
        }
        for length in options.lengths:
            compare(sessions, length)


def random_llama(folder: Path, num_layers: int) -> LoadedModel:
    """A Llama with SmolLM2-135M's widths and a small vocabulary."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=num_layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return load(folder)


def made(
    folder: Path, loaded: LoadedModel, store: Callable[..., Graphs], num_threads: int
) -> DecoderSession:
    """Make and open the `fast` graph of a way."""
    folder.mkdir()
    started = time.perf_counter()
    blobs = BlobFile(folder / "model.data")
    graphs = store(loaded.model, loaded.weights, blobs)
    blobs.close()
    model = graphs.build("fast")
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    seconds = time.perf_counter() - started
    print(
        f"{folder.name}: {len(model.graph.node)} nodes, {path.stat().st_size} bytes, "
        f"{seconds:.1f} s"
    )
    return DecoderSession(path, graphs.shape, num_threads)


def compare(sessions: dict[str, DecoderSession], length: int) -> None:
    """Tokens a second of prefill and of decoding behind it."""
    ids = [7 * number % VOCAB_SIZE for number in range(length)]
    best = dict.fromkeys(sessions, (0.0, 0.0))
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.forward(ids, 0)
            prefill = length / (time.perf_counter() - started)
            started = time.perf_counter()
            for step in range(NUM_DECODED):
                session.forward([5], length + step)
            decode = NUM_DECODED / (time.perf_counter() - started)
            best[name] = max(best[name][0], prefill), max(best[name][1], decode)
    for name, (prefill, decode) in best.items():
        print(f"{length} tokens, {name}: prefill {prefill:.0f}/s, decoding {decode:.1f}/s")


if __name__ == "__main__":
    main()
