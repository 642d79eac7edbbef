"""How far `throughput` is from `exact` on the default model, by the number of loud channels.

    PTUNE_REAL_DATA=FOLDER python bench/loud_channels.py [--rows 20]

Rows of SST-2 and E2E are read behind a first token that `exact` computed. Prints KL in nats and
the share of positions with the same most likely token, as JSON lines (docs/decisions.md).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from export import rowwise
from export.blobs import BlobFile
from export.family import decoder_spec
from export.graph import build_graph, shape_of
from export.parity import kl_divergence
from export.projection import BlockProducts
from export.rotary import rotary_tables
from export.session import DecoderSession
from export.stored_model import StoredModel, store_model
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.outliers import input_loudness
from ptune_tui.models import resolve

# Channels per loud one in front of: q, k, v; behind the attention; gate and up; the last product.
SETTINGS = {
    "none": (0, 0, 0, 0),
    "16, none behind the attention, 64": (36, 0, 36, 24),
    "16, none behind the attention, 128": (36, 0, 36, 12),
    "16 everywhere, 128": (36, 36, 36, 12),
    "32, none behind the attention, 128": (18, 0, 18, 12),
    "as shipped": tuple(role.channels_per_loud for role in rowwise._ROLES),
}


def texts(data: Path, num_rows: int) -> list[str]:
    found = []
    for name, template in (
        ("sst2/validation", "Review: {prompt}\nSentiment: {response}"),
        ("e2e_nlg/test", "{prompt}\nDescription: {response}"),
    ):
        lines = (data / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:num_rows]
        found += [template.format(**json.loads(line)) for line in lines]
    return found


def throughput_graph(
    folder: Path, stored: StoredModel, heard: dict[str, torch.Tensor], setting: tuple[int, ...]
) -> Path:
    roles = zip(rowwise._ROLES, setting, strict=True)
    rowwise._ROLES = tuple(replace(role, channels_per_loud=number) for role, number in roles)
    blobs = BlobFile(folder / "throughput.data")
    products = rowwise.store_integers(stored, heard, blobs)
    blobs.close()
    path = folder / "throughput.onnx"
    path.write_bytes(build_graph(stored, products, [blobs], has_layout=True).SerializeToString())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20)
    options = parser.parse_args()
    frozen: FrozenModel = load_frozen(resolve("default").path, "default", "int4", "cached")
    spec = decoder_spec(frozen.config)
    rows = [
        frozen.text.tokenizer.encode(text).ids
        for text in texts(Path(os.environ["PTUNE_REAL_DATA"]), options.rows)
    ]
    heard = input_loudness(
        frozen, lambda: [frozen.network(torch.tensor([row])) for row in rows[::3]]
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blobs = BlobFile(folder / "model.data")
        tables = rotary_tables(frozen.network.model.rotary_emb, spec)
        stored = store_model(spec, frozen.loaded.weights, tables, blobs)
        blobs.close()
        graphs = {}
        for precision in ("exact", "fast"):
            products = BlockProducts(stored.weights, is_exact=precision == "exact")
            graphs[precision] = folder / f"{precision}.onnx"
            graphs[precision].write_bytes(build_graph(stored, products).SerializeToString())
        exact = DecoderSession(graphs["exact"], shape_of(spec))
        first = {}
        expected = []
        for row in rows:
            exact.forward(row[:1], 0)
            first[row[0]] = exact.prefix(1)
            expected.append(exact.forward(row[1:], 1, wanted=range(len(row) - 1)))
        for label in ("fast", *SETTINGS):
            path = graphs.get(label) or throughput_graph(folder, stored, heard, SETTINGS[label])
            session = DecoderSession(path, shape_of(spec))
            divergence, num_same, num_positions = 0.0, 0, 0
            for row, logits in zip(rows, expected, strict=True):
                session.restore(first[row[0]])
                got = session.forward(row[1:], 1, wanted=range(len(row) - 1))
                divergence += kl_divergence(logits, got)
                num_same += int((got.argmax(-1) == logits.argmax(-1)).sum())
                num_positions += len(got)
            figures = {"kl": divergence / num_positions, "top1": num_same / num_positions}
            print(json.dumps({"channels": label} | figures), flush=True)


if __name__ == "__main__":
    main()
