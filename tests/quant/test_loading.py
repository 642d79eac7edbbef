from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from quant.embedding import QuantEmbedding
from quant.errors import QuantError
from quant.linear import Kernel, QuantLinear
from quant.loading import load
from quant.nf4 import NF4Tensor
from quant.packing import QuantTensor, weights_hash
from quant.weights import Scheme
from tests.quant.conftest import as_floats, float_twin, logits


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "smollm3"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_equals_transformers_with_the_dequantised_weights(
    tmp_path: Path, make_model: Callable[..., Any], family: str, tied: bool
) -> None:
    make_model(family, tie_word_embeddings=tied).save_pretrained(tmp_path)
    loaded = load(tmp_path)
    torch.testing.assert_close(logits(loaded.model), logits(float_twin(loaded)))
    assert loaded.report.family == family


@pytest.mark.parametrize("scheme", ["int4", "nf4"])
def test_both_kernels_give_the_same_answer(llama_folder: Path, scheme: Scheme) -> None:
    answers = [
        logits(load(llama_folder, scheme=scheme, kernel=kernel).model)
        for kernel in ("stream", "cached")
    ]
    torch.testing.assert_close(answers[0], answers[1])


@pytest.mark.parametrize(("scheme", "kind"), [("int4", QuantTensor), ("nf4", NF4Tensor)])
def test_matrices_are_on_the_scheme_and_the_vocabulary_on_eight_bits(
    llama_folder: Path, scheme: Scheme, kind: type
) -> None:
    loaded = load(llama_folder, scheme=scheme)
    assert isinstance(loaded.weights["model.layers.1.mlp.down_proj.weight"], kind)
    assert isinstance(loaded.weights["model.norm.weight"], Tensor)
    embedding = loaded.weights["model.embed_tokens.weight"]
    assert isinstance(embedding, QuantTensor)
    assert embedding.spec.bits == 8
    assert set(loaded.weights) == set(load_file(llama_folder / "model.safetensors"))


def test_a_tied_head_shares_the_weight_of_the_embedding(llama_folder: Path) -> None:
    loaded = load(llama_folder)
    head, embedding = loaded.model.get_output_embeddings(), loaded.model.get_input_embeddings()
    assert isinstance(head, QuantLinear)
    assert isinstance(embedding, QuantEmbedding)
    assert head.weight is embedding.weight is loaded.weights["model.embed_tokens.weight"]


def test_an_untied_head_has_eight_bits_of_its_own(
    tmp_path: Path, make_model: Callable[..., Any]
) -> None:
    make_model(tie_word_embeddings=False).save_pretrained(tmp_path)
    head = load(tmp_path).weights["lm_head.weight"]
    assert isinstance(head, QuantTensor)
    assert head.spec.bits == 8


@pytest.mark.parametrize("kernel", ["stream", "cached"])
def test_the_model_is_frozen_and_passes_gradients_to_its_input(
    llama_folder: Path, kernel: Kernel
) -> None:
    model = load(llama_folder, kernel=kernel).model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    inputs = torch.randn(1, 4, 64, requires_grad=True)
    model(inputs_embeds=inputs).logits.sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0


def test_the_model_generates(llama_folder: Path) -> None:
    loaded = load(llama_folder, kernel="stream")
    ids = torch.tensor([[5, 6, 7]])
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    ours = loaded.model.generate(ids, **options)
    assert torch.equal(ours, float_twin(loaded).generate(ids, **options))


def test_a_compute_dtype_reaches_every_layer(llama_folder: Path) -> None:
    loaded = load(llama_folder, compute_dtype=torch.bfloat16)
    assert loaded.model.dtype == loaded.config.dtype == torch.bfloat16
    assert loaded.model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert logits(loaded.model).dtype == torch.bfloat16
    assert loaded.report.weights_hash == load(llama_folder).report.weights_hash


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_checkpoints(
    tmp_path: Path, make_model: Callable[..., Any], dtype: torch.dtype
) -> None:
    make_model(tie_word_embeddings=True).to(dtype).save_pretrained(tmp_path)
    loaded = load(tmp_path)
    torch.testing.assert_close(logits(loaded.model), logits(float_twin(loaded)))


def test_shards_give_the_same_model(tmp_path: Path, make_model: Callable[..., Any]) -> None:
    model = make_model(tie_word_embeddings=True)
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="50KB")
    assert (tmp_path / "many" / "model.safetensors.index.json").exists()
    one, many = load(tmp_path / "one"), load(tmp_path / "many")
    assert one.report.weights_hash == many.report.weights_hash


def test_the_report_adds_up(llama_folder: Path, make_model: Callable[..., Any]) -> None:
    seen: list[tuple[int, int, str]] = []
    loaded = load(llama_folder, on_progress=lambda *step: seen.append(step))
    report = loaded.report
    model = make_model(tie_word_embeddings=True)
    assert report.num_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert report.weights_hash == weights_hash(loaded.weights)
    assert report.quantised_bytes < 0.3 * report.float_bytes
    assert report.relative_error is not None
    assert 0.02 < report.relative_error < 0.09
    names = [layer.name for layer in report.layers]
    assert [step[:2] for step in seen] == [(number + 1, len(names)) for number in range(len(names))]
    for name, (_, _, place) in zip(names, seen, strict=True):
        layer = name.split(".")[2] if name.startswith("model.layers.") else None
        assert place == (name if layer is None else f"layer {int(layer) + 1} of 2")
    assert set(names) == set(loaded.weights)
    for layer in report.layers:
        weight = loaded.weights[layer.name]
        nbytes = weight.nbytes if isinstance(weight, Tensor) else weight.num_bytes
        assert layer.num_bytes == nbytes


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors")


def refusal(path: Path) -> str:
    with pytest.raises(QuantError) as caught:
        load(path)
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


def test_old_rotary_buffers_and_a_stored_tied_head_are_passed_over(llama_folder: Path) -> None:
    expected = load(llama_folder).report.weights_hash
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    head = load_file(llama_folder / "model.safetensors")["model.embed_tokens.weight"]
    extra = {name: torch.ones(8), "lm_head.weight": head}
    edit_weights(llama_folder, lambda weights: weights.update(extra))
    assert load(llama_folder).report.weights_hash == expected


def test_a_stored_head_of_other_values_is_not_tied(llama_folder: Path) -> None:
    extra = {"lm_head.weight": torch.ones(100, 64)}
    edit_weights(llama_folder, lambda weights: weights.update(extra))
    loaded = load(llama_folder)
    assert not loaded.config.tie_word_embeddings
    head = as_floats(loaded.weights["lm_head.weight"])
    assert torch.allclose(head, torch.ones(100, 64), atol=1e-2)
    torch.testing.assert_close(logits(loaded.model), logits(float_twin(loaded)))


def test_a_tied_embedding_that_is_stored_as_the_head(llama_folder: Path) -> None:
    expected = load(llama_folder).report.weights_hash

    def rename(weights: dict[str, Tensor]) -> None:
        weights["lm_head.weight"] = weights.pop("model.embed_tokens.weight")

    edit_weights(llama_folder, rename)
    assert load(llama_folder).report.weights_hash == expected


def test_names_without_the_prefix_of_the_model(llama_folder: Path) -> None:
    expected = load(llama_folder).report.weights_hash

    def rename(weights: dict[str, Tensor]) -> None:
        for name in list(weights):
            weights[name.removeprefix("model.")] = weights.pop(name)

    edit_weights(llama_folder, rename)
    assert load(llama_folder).report.weights_hash == expected


def test_an_old_gpt2_checkpoint(tmp_path: Path, make_model: Callable[..., Any]) -> None:
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
    make_model("gpt2", **sizes).save_pretrained(tmp_path)
    expected = load(tmp_path)

    def age(weights: dict[str, Tensor]) -> None:
        for name in list(weights):
            weights[name.removeprefix("transformer.")] = weights.pop(name)
        weights["h.0.attn.bias"] = torch.ones(1, 1, 64, 64)

    edit_weights(tmp_path, age)
    assert load(tmp_path).report.weights_hash == expected.report.weights_hash
    torch.testing.assert_close(logits(expected.model), logits(float_twin(expected)))


def test_a_head_under_its_old_name(tmp_path: Path, make_model: Callable[..., Any]) -> None:
    make_model("gpt_neox", tie_word_embeddings=False).save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    old, new = "embed_out.weight", "lm_head.weight"
    stored = old if old in names else new
    other = new if stored == old else old
    expected = load(tmp_path).report.weights_hash
    edit_weights(tmp_path, lambda weights: weights.update({other: weights.pop(stored)}))
    assert load(tmp_path).report.weights_hash == expected


def test_no_such_path(tmp_path: Path) -> None:
    assert "no model here" in refusal(tmp_path / "nothing")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"x")
    assert "no model here" in refusal(path)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    assert "fetch the model" in refusal(tmp_path)


def test_a_folder_with_pickles_only(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert "pickles" in refusal(tmp_path)


def test_no_configuration(llama_folder: Path) -> None:
    (llama_folder / "config.json").unlink()
    assert "config.json: no such file" in refusal(llama_folder)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_configuration(llama_folder: Path, text: str) -> None:
    (llama_folder / "config.json").write_text(text)
    assert "config.json: not " in refusal(llama_folder)


@pytest.mark.parametrize("family", ["nonesuch", "t5"])
def test_a_family_that_transformers_does_not_know_or_that_continues_no_text(
    llama_folder: Path, family: str
) -> None:
    edit_config(llama_folder, model_type=family)
    assert f"'{family}'" in refusal(llama_folder)


def test_a_checkpoint_that_is_quantised_already(llama_folder: Path) -> None:
    edit_config(llama_folder, quantization_config={"quant_method": "gptq"})
    assert "'gptq'" in refusal(llama_folder)


def test_a_missing_tensor(llama_folder: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    edit_weights(llama_folder, lambda weights: weights.pop(name))
    assert f"1 tensors are missing, the first is {name}" in refusal(llama_folder)


def test_a_tensor_without_a_place(llama_folder: Path) -> None:
    extra = {"model.layers.0.self_attn.q_proj.bias": torch.ones(64)}
    edit_weights(llama_folder, lambda weights: weights.update(extra))
    assert "no place in the model" in refusal(llama_folder)


def test_another_shape_than_the_configuration_says(llama_folder: Path) -> None:
    edit_config(llama_folder, intermediate_size=96)
    message = refusal(llama_folder)
    assert "(128, 64)" in message
    assert "(96, 64)" in message


def test_a_tensor_of_integers(llama_folder: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    integers = {name: torch.ones(128, 64, dtype=torch.int8)}
    edit_weights(llama_folder, lambda weights: weights.update(integers))
    assert "has the type I8" in refusal(llama_folder)


def test_weights_that_are_not_finite(llama_folder: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    edit_weights(llama_folder, lambda weights: weights[name].fill_(torch.nan))
    assert name in refusal(llama_folder)


@pytest.mark.parametrize("length", [0, 4, 100, 5000])
def test_a_safetensors_file_that_is_cut_off(llama_folder: Path, length: int) -> None:
    path = llama_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert "model.safetensors: not a readable safetensors file" in refusal(llama_folder)


def test_a_missing_shard(tmp_path: Path, make_model: Callable[..., Any]) -> None:
    make_model().save_pretrained(tmp_path, max_shard_size="50KB")
    sorted(tmp_path.glob("*.safetensors"))[1].unlink()
    assert "model-00002" in refusal(tmp_path)


@pytest.mark.parametrize(("option", "value"), [("scheme", "int3"), ("kernel", "fast")])
def test_an_unknown_option(llama_folder: Path, option: str, value: str) -> None:
    with pytest.raises(QuantError, match=value):
        load(llama_folder, **{option: value})  # type: ignore[arg-type]
