"""Decoding of the int4 grid beside the default model's own grid and llama.cpp, in turns.

    python bench/decode_int4.py [--rounds 9] [--tokens 64] [--threads 2]

The int4 grid is what float checkpoints get (blocks of 32, zero points); here it is made of the
default model's dequantised weights, as llama.cpp's Q4_0 is. Prints tokens/s of decoding behind 16
tokens, each contender in a process of its own: medians over the rounds, and of the rounds' ratios
to llama.cpp, as JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from export.blobs import BlobFile
from export.family import decoder_spec
from export.graph import build_graph, shape_of
from export.projection import BlockProducts
from export.rotary import rotary_tables
from export.session import DecoderSession
from export.shape import DecoderShape
from export.stored_model import store_model
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.models import resolve
from ptune_tui.worker.bench.answering.gguf_types import Quantiser, write_type
from quant.int4 import quantize
from quant.packing import QuantSpec, QuantTensor

IDS = list(range(1000, 1016))
SPAWN = multiprocessing.get_context("spawn")
Maker = Callable[[str, DecoderShape, int], Callable[[int], float]]
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


def ours(path: str, shape: DecoderShape, num_threads: int) -> Callable[[int], float]:
    session = DecoderSession(Path(path), shape, num_threads)

    def decode(num_tokens: int) -> float:
        token = int(session.forward(IDS, 0)[0].argmax())
        started = time.perf_counter()
        for position in range(len(IDS), len(IDS) + num_tokens):
            token = int(session.forward([token], position)[0].argmax())
        return num_tokens / (time.perf_counter() - started)

    return decode


def theirs(path: str, _: DecoderShape, num_threads: int) -> Callable[[int], float]:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
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


def serve(pipe: Connection, make: Maker, path: str, shape: DecoderShape, threads: int) -> None:
    """A contender in a process of its own: a number of tokens in, tokens/s out."""
    decode = make(path, shape, threads)
    while (num_tokens := pipe.recv()) is not None:
        pipe.send(decode(num_tokens))


def open_contender(make: Maker, path: Path, shape: DecoderShape, threads: int) -> Connection:
    here, there = SPAWN.Pipe()
    SPAWN.Process(target=serve, args=(there, make, str(path), shape, threads), daemon=True).start()
    return here


def prepare(folder: Path) -> tuple[dict[str, tuple[Maker, Path]], DecoderShape]:
    import xllamacpp

    source = resolve("default").path
    frozen = load_frozen(source, "default", "int4", "stream")
    q4_0 = folder / "q4_0.gguf"
    write_type(source, q4_0, "Q4_0", Quantiser(Path(xllamacpp.__path__[0])))
    contenders: dict[str, tuple[Maker, Path]] = {
        "ptune int4": (ours, our_graph(folder / "int4", frozen, as_int4=True)),
        "ptune Q4_1": (ours, our_graph(folder / "own", frozen, as_int4=False)),
        "llama.cpp Q4_0": (theirs, q4_0),
        "llama.cpp Q4_1": (theirs, source),
    }
    return contenders, shape_of(decoder_spec(frozen.config))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        contenders, shape = prepare(Path(name))
        pipes = {
            label: open_contender(make, path, shape, options.threads)
            for label, (make, path) in contenders.items()
        }
        taken: dict[str, list[float]] = {label: [] for label in contenders}
        for round_number in range(options.rounds + 1):
            for label, pipe in pipes.items():
                pipe.send(options.tokens)
                speed = pipe.recv()
                time.sleep(0.3)  # its threads may still spin
                if round_number:
                    taken[label].append(speed)
        for pipe in pipes.values():
            pipe.send(None)
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
