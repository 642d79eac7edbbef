"""Decoding of the int4 grid beside the default model's own grid and llama.cpp, in turns.

    python bench/decode_int4.py [--rounds 9] [--tokens 64] [--threads 2]

The int4 grid is what float checkpoints get (blocks of 32, zero points); here it is made of the
default model's dequantised weights, as llama.cpp's Q4_0 is. Prints tokens/s of decoding behind 16
tokens: medians over the rounds, and of the rounds' ratios to llama.cpp, as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import xllamacpp

from export.blobs import BlobFile
from export.family import decoder_spec
from export.graph import build_graph, shape_of
from export.projection import BlockProducts
from export.rotary import rotary_tables
from export.session import DecoderSession
from export.stored_model import store_model
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.models import resolve
from ptune_tui.worker.bench.answering.gguf_types import Quantiser, write_type
from quant.int4 import quantize
from quant.packing import QuantSpec, QuantTensor

IDS = list(range(1000, 1016))
INT4 = QuantSpec(bits=4, block_size=32, form="zero_point")


def our_graph(folder: Path, frozen: FrozenModel, *, as_int4: bool) -> Path:
    weights = dict(frozen.loaded.weights)
    if as_int4:
        for name, weight in weights.items():
            if isinstance(weight, QuantTensor) and weight.spec.bits == 4:
                weights[name] = quantize(weight.dequantize(), INT4)
    spec = decoder_spec(frozen.config)
    folder.mkdir()
    blobs = BlobFile(folder / "model.data")
    tables = rotary_tables(frozen.network.model.rotary_emb, spec)
    stored = store_model(spec, weights, tables, blobs)
    blobs.close()
    path = folder / "model.onnx"
    graph = build_graph(stored, BlockProducts(stored.weights, is_exact=False))
    path.write_bytes(graph.SerializeToString())
    return path


def ours(path: Path, frozen: FrozenModel, num_threads: int) -> Callable[[int], float]:
    session = DecoderSession(path, shape_of(decoder_spec(frozen.config)), num_threads)

    def decode(num_tokens: int) -> float:
        token = int(session.forward(IDS, 0)[0].argmax())
        started = time.perf_counter()
        for position in range(len(IDS), len(IDS) + num_tokens):
            token = int(session.forward([token], position)[0].argmax())
        return num_tokens / (time.perf_counter() - started)

    return decode


def theirs(path: Path, num_threads: int) -> Callable[[int], float]:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = 512, 1, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = num_threads
    parameters.cache_ram_mib, parameters.port, parameters.verbosity = 0, 0, 1
    parameters.fit_params = parameters.ui = False
    server = xllamacpp.Server(parameters)

    def decode(num_tokens: int) -> float:
        said = server.handle_completions(
            {
                "prompt": IDS,
                "max_tokens": num_tokens + 1,
                "ignore_eos": True,
                "cache_prompt": False,
                "samplers": ["temperature"],
                "temperature": 0,
            }
        )
        return num_tokens / (said["timings"]["predicted_ms"] / 1e3)

    return decode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    source = resolve("default").path
    frozen = load_frozen(source, "default", "int4", "stream")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        q4_0 = folder / "q4_0.gguf"
        write_type(source, q4_0, "Q4_0", Quantiser(Path(xllamacpp.__path__[0])))
        contenders = {
            "ptune int4": ours(
                our_graph(folder / "int4", frozen, as_int4=True), frozen, options.threads
            ),
            "ptune Q4_1": ours(
                our_graph(folder / "own", frozen, as_int4=False), frozen, options.threads
            ),
            "llama.cpp Q4_0": theirs(q4_0, options.threads),
            "llama.cpp Q4_1": theirs(source, options.threads),
        }
        taken: dict[str, list[float]] = {label: [] for label in contenders}
        for round_number in range(options.rounds + 1):
            for label, decode in contenders.items():
                time.sleep(0.3)  # threads of the last one may still spin
                speed = decode(options.tokens)
                if round_number:
                    taken[label].append(speed)
    medians = {label: statistics.median(values) for label, values in taken.items()}
    ratios = {
        f"{our} / {their}": statistics.median(
            a / b for a, b in zip(taken[our], taken[their], strict=True)
        )
        for our, their in (
            ("ptune int4", "llama.cpp Q4_0"),
            ("ptune Q4_1", "llama.cpp Q4_1"),
            ("ptune Q4_1", "llama.cpp Q4_0"),
        )
    }
    print(json.dumps({"tokens/s": medians, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
