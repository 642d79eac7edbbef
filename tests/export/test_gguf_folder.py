"""A GGUF file has the weights that were trained on, and llama.cpp answers from it as we do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from gguf import GGUFReader, TokenType

from export.errors import NotCarriedError
from export.gguf_folder import MODEL_FILE
from export.gguf_header import header_of
from export.manifest_file import FOLDER_CARD
from export.ollama import OLLAMA_FILE
from export.prompts import load_prompt
from export.runtime import Bundle
from export.sampling import log_softmax
from ptune_tui.config import DataConfig
from ptune_tui.tasks import ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from quant.gguf import open_gguf
from tests.export.conftest import Exported, train_and_export, tuned_model


def write(made: Exported, folder: Path) -> Path:
    task = ExportTask(str(made.run), str(folder), "mine", format="gguf")
    list(export(task, Channel(made.run)))
    return folder / MODEL_FILE


@dataclass(frozen=True)
class Written:
    """A run and its GGUF file."""

    made: Exported
    path: Path


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, exported: Exported) -> Written:
    return Written(exported, write(exported, tmp_path_factory.mktemp("labels") / "gguf"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, exported_text: Exported) -> Written:
    return Written(exported_text, write(exported_text, tmp_path_factory.mktemp("text") / "gguf"))


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory, text: Written) -> Written:
    """A run on a GGUF file, which is itself an export of ours."""
    folder = tmp_path_factory.mktemp("chained")
    data = DataConfig(train=str(text.made.rows))
    made = train_and_export(folder, text.path, data, num_virtual_tokens=3)
    return Written(made, write(made, folder / "gguf"))


def test_every_weight_is_the_one_that_was_trained_on(text: Written) -> None:
    source, tuned = open_gguf(text.path), tuned_model(text.made.run)
    card = json.loads((text.path.parent / FOLDER_CARD).read_text())
    for name, weight in tuned.frozen.loaded.weights.items():
        if name == "model.embed_tokens.weight":
            found = source.rows(name, 0, weight.shape[0])
            assert torch.equal(found, weight.dequantize().half().float())
        elif isinstance(weight, torch.Tensor):
            assert torch.equal(source.read(name), weight)
        else:
            found = source.quantised(name)
            assert found is not None
            assert torch.equal(found.dequantize(), weight.dequantize())
    virtual = source.rows("model.embed_tokens.weight", 325, 330)
    assert torch.equal(virtual, tuned.prompt.embeddings_PH.half().float())
    assert max(card["rounding"].values()) < 2**-11
    assert set(card["files"]) == {MODEL_FILE, OLLAMA_FILE}


def test_the_header_names_the_virtual_tokens_and_places_them(text: Written) -> None:
    fields = GGUFReader(text.path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    assert tokens[320:] == [
        *(f"<|unused_{token}|>" for token in range(320, 325)),
        *(f"<|soft_{number}|>" for number in range(5)),
    ]
    assert types[320:] == [int(TokenType.UNUSED)] * 5 + [int(TokenType.CONTROL)] * 5
    template = fields["tokenizer.chat_template"].contents()
    assert template.startswith('{{ "<|soft_0|><|soft_1|>')
    assert fields["tokenizer.ggml.add_bos_token"].contents() is False
    model_file = (text.path.parent / OLLAMA_FILE).read_text()
    beginning = "".join(f"<|soft_{number}|>" for number in range(5))
    assert f'TEMPLATE """{beginning}<|im_start|>user\n{{{{ .Prompt }}}}<|im_end|>' in model_file


def test_the_head_s_rows_of_virtual_tokens_are_a_quiet_token_s(text: Written) -> None:
    head = next(t for t in GGUFReader(text.path).tensors if t.name == "output.weight")
    quiet = json.loads((text.path.parent / FOLDER_CARD).read_text())["quiet_token_id"]
    assert (head.data[325:] == head.data[quiet]).all()


def test_a_run_on_a_gguf_file_keeps_its_bytes(text: Written, chained: Written) -> None:
    before = {tensor.name: tensor for tensor in GGUFReader(text.path).tensors}
    after = {tensor.name: tensor for tensor in GGUFReader(chained.path).tensors}
    assert set(before) == set(after)
    for name, tensor in before.items():
        # What a file has in floats goes on our grid; the quantised weights stay what they are.
        if name not in ("token_embd.weight", "output.weight"):
            assert after[name].tensor_type == tensor.tensor_type
            assert np.array_equal(after[name].data, tensor.data)
    head = tuned_model(chained.made.run).frozen.loaded.weights["lm_head.weight"]
    assert not isinstance(head, torch.Tensor)
    expected = head.dequantize().half().numpy()
    assert np.array_equal(after["output.weight"].data[: len(expected)], expected)
    tokens = GGUFReader(chained.path).fields["tokenizer.ggml.tokens"].contents()
    assert tokens[325:] == [f"<|soft_{n}|>" for n in range(5)] + [
        f"<|soft2_{n}|>" for n in range(3)
    ]


class LlamaCpp:
    """llama.cpp's server, in this process."""

    def __init__(self, path: Path) -> None:
        xllamacpp = pytest.importorskip("xllamacpp")
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = 512
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.warmup = False
        params.cpuparams.n_threads = 1
        self.server = xllamacpp.Server(params)

    def complete(self, ids: list[int], num_tokens: int) -> dict[str, Any]:
        answer: dict[str, Any] = self.server.handle_completions(
            {
                "prompt": ids,
                "max_tokens": num_tokens,
                "temperature": 0,
                "logprobs": 10,
            }
        )
        return dict(answer["choices"][0])

    def chat(self, text: str, num_tokens: int) -> dict[str, Any]:
        answer: dict[str, Any] = self.server.handle_chat_completions(
            {
                "messages": [{"role": "user", "content": text}],
                "max_tokens": num_tokens,
                "temperature": 0,
            }
        )
        return answer


@pytest.mark.parametrize("which", ["labels", "text", "chained"])
def test_llama_cpp_has_our_tokens_and_nearly_our_logits(
    request: pytest.FixtureRequest, which: str
) -> None:
    written: Written = request.getfixturevalue(which)
    theirs = LlamaCpp(written.path)
    bundle = Bundle.open(written.made.bundle, "exact", num_threads=1)
    tuned = bundle.tuned()
    prompt = load_prompt(bundle.folder / tuned.record.file, tuned.record.kind)
    first = bundle.manifest.shape.vocab_size
    quiet = json.loads((written.path.parent / FOLDER_CARD).read_text())["quiet_token_id"]
    num_compared = 0
    for words in ("say 7", "the cat", "red <|im_end|>"):
        ids = tuned.encoder.encode_prompt(words)[0]
        start = bundle.session.begin(prompt, [])
        virtual = list(range(first, first + start))
        answer, chat = theirs.complete([*virtual, *ids], 8), theirs.chat(words, 8)
        assert chat["usage"]["prompt_tokens"] == start + len(ids)
        assert whole(chat["choices"][0]["message"]["content"]) == whole(answer["text"])
        for _ in range(12):
            bundle.session.begin(prompt, [])
            expected = log_softmax(bundle.session.forward(ids, start))[0]
            likeliest = int(expected.argmax())
            # llama.cpp's list leaves out tokens that end within a character.
            if "\ufffd" not in bundle.tokenizer.decode([likeliest]):
                num_compared += 1
                compare(theirs.complete([*virtual, *ids], 1), expected, quiet)
            ids = [*ids, likeliest]
    assert num_compared > 6


@pytest.mark.parametrize("which", ["labels", "text"])
def test_llama_cpp_python_answers_as_the_model_in_torch_does(
    request: pytest.FixtureRequest, which: str
) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    written: Written = request.getfixturevalue(which)
    theirs = llama_cpp.Llama(str(written.path), n_ctx=256, n_threads=1, verbose=False)
    bundle = Bundle.open(written.made.bundle, "exact", num_threads=1)
    tuned = bundle.tuned()
    prompt = load_prompt(bundle.folder / tuned.record.file, tuned.record.kind)
    first = bundle.manifest.shape.vocab_size
    ids = tuned.encoder.encode_prompt("the cat")[0]
    start = bundle.session.begin(prompt, [])
    expected = log_softmax(bundle.session.forward(ids, start))[0]
    theirs.reset()
    theirs.eval([*range(first, first + start), *ids])
    context = theirs.ctx
    got = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, -1), (first,))
    assert expected[int(got.argmax())] > expected.max() - 0.3
    likely = expected > expected.max() - 4
    shifted = got - got.max() + expected[int(got.argmax())]
    assert np.abs(shifted - expected)[likely].max() < 0.3


def compare(answer: dict[str, Any], expected: np.ndarray, quiet: int) -> None:
    """llama.cpp's ten likeliest next tokens with our log-probabilities, float [V].

    Its sum over the vocabulary has the virtual tokens in it, each as likely as the quiet one.
    """
    best = answer["logprobs"]["content"][0]["top_logprobs"]
    # Keys and values in float16, activations in 8 bits.
    assert expected[best[0]["id"]] > expected.max() - 0.3
    assert best[0]["id"] < len(expected)
    for entry in best:
        token = entry["id"] if entry["id"] < len(expected) else quiet
        assert entry["logprob"] == pytest.approx(float(expected[token]), abs=0.3)


def whole(answer: str) -> str:
    """An answer without a character that its last token begins only, and spaces around it."""
    return answer.rstrip("\ufffd").strip()


def test_a_layer_prefix_is_refused_and_nothing_is_left(
    exported_prefix: Exported, tmp_path: Path
) -> None:
    with pytest.raises(NotCarriedError, match="keys and values of every layer"):
        write(exported_prefix, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_bias": True}, "has biases"),
        ({"hidden_act": "gelu"}, "activation `gelu`"),
        ({"model_type": "qwen3"}, "of the type `qwen3`"),
    ],
)
def test_what_llama_cpp_s_llama_does_not_compute_is_refused(
    tiny_model: Path, changes: dict[str, Any], message: str
) -> None:
    config = transformers.AutoConfig.from_pretrained(tiny_model)
    for name, value in changes.items():
        setattr(config, name, value)
    with pytest.raises(NotCarriedError, match=message) as caught:
        header_of("tiny", config, (tiny_model / "tokenizer.json").read_text(), 325)
    assert "--format transformers" in caught.value.hint


def test_a_tokenizer_that_llama_cpp_has_no_name_for_is_refused(tiny_model: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(tiny_model)
    content = json.loads((tiny_model / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {"type": "Whitespace"}
    with pytest.raises(NotCarriedError, match="splits words"):
        header_of("tiny", config, json.dumps(content), 325)
