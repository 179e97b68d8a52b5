"""Adapters of all kinds as plans: what comes back is what went in, and what PEFT itself put into the model."""

import copy
import dataclasses
import gzip
import json
import math
import re
import shutil
import warnings
from pathlib import Path

import peft
import pytest
import torch
from hypothesis import given, settings, strategies as st
from peft import AdaLoraConfig, IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils.other import get_pattern_key
from safetensors.torch import load, save_file
from tiny_models import ARCHITECTURES, EXTRA_ARCHITECTURES, tiny_config, tiny_model
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from gelora import ranks
from gelora.errors import InputError, ModelError
from gelora.ranks import apply_plan, train_head_alone, uniform_ranks
from gelora.ranks.peft.adapter_notes import WHOLE_ADAPTER
from gelora.ranks.peft.expressions import Expressions
from gelora.records import ModelStructure, RankPlan
from gelora.sources import select_modules, structure_of

ROUND_TRIPS = ("bert", "gpt2", "llama", "deberta-v2", "phi3")
HEADS = {
    "bare": (AutoModel, None),
    "causal": (AutoModelForCausalLM, "CAUSAL_LM"),
    "classes": (AutoModelForSequenceClassification, "SEQ_CLS"),
}

# What anybody might write: architecture, head, arguments of LoraConfig.
CONFIGS = {
    "patterns": ("bert", "bare", {"target_modules": ["query", "value"], "r": 4, "lora_alpha": 7,
        "rank_pattern": {"encoder.layer.1.attention.self.query": 2, r"layer\.2\..*": 3}, "alpha_pattern": {"value": 5}}),
    "patterns of a head": ("llama", "causal", {"target_modules": ["q_proj", "down_proj"], "rank_pattern": {r"^model\.layers\.1\..*": 2}}),
    "patterns of the bare": ("llama", "bare", {"target_modules": ["q_proj", "down_proj"], "rank_pattern": {r"^layers\.1\..*": 2}}),
    "regex": ("bert", "classes", {"target_modules": r".*layer\.[02]\.attention\.self\.(query|key)"}),
    "regex of a head": ("llama", "causal", {"target_modules": r"model\.layers\.\d\.self_attn\.(q|v)_proj"}),
    "regex of the bare": ("llama", "bare", {"target_modules": r"layers\.[01]\.self_attn\.(q|v)_proj"}),
    "all-linear": ("llama", "causal", {"target_modules": "all-linear", "r": 2}),
    "all-linear under a classifier": ("bert", "classes", {"target_modules": "all-linear"}),
    "all-linear, bare": ("deberta-v2", "bare", {"target_modules": "all-linear"}),
    "some layers": ("llama", "causal", {"target_modules": ["q_proj", "up_proj"],
        "layers_to_transform": [0, 2], "layers_pattern": "layers"}),
    "one layer, no pattern": ("bert", "bare", {"target_modules": ["query"], "layers_to_transform": 1}),
    "usual modules, fused": ("gpt2", "causal", {"use_rslora": True, "r": 3, "lora_alpha": 16}),
    "usual modules": ("opt", "classes", {"r": 5}),
    "rsLoRA with patterns": ("llama", "causal", {"target_modules": ["v_proj", "o_proj"], "use_rslora": True,
        "r": 4, "rank_pattern": {"o_proj": 7}}),
    "DoRA": ("llama", "causal", {"target_modules": ["q_proj", "k_proj"], "use_dora": True}),
    "head and embeddings": ("llama", "causal", {"target_modules": ["q_proj", "lm_head", "embed_tokens"]}),
    "excluded by full name": ("llama", "causal", {"target_modules": ["q_proj"], "exclude_modules": ["model.layers.1.self_attn.q_proj"]}),
    "excluded by regex": ("llama", "bare", {"target_modules": ["q_proj", "k_proj"], "exclude_modules": r"layers\.0\..*"}),
    "excluded by regex of a head": ("llama", "causal", {"target_modules": ["q_proj"], "exclude_modules": r"model\.layers\.0\..*"}),
    "saved whole in the blocks": ("llama", "causal", {"target_modules": ["q_proj", "k_proj"], "modules_to_save": ["k_proj"]}),
    "saved whole": ("deberta-v2", "classes", {"target_modules": ["query_proj", "dense"], "modules_to_save": ["pooler"]}),
    "full names": ("modernbert", "classes", {"target_modules": ["model.layers.0.attn.Wqkv", "model.layers.2.attn.Wo"]}),
    "biases": ("bert", "bare", {"target_modules": ["key"], "bias": "lora_only", "lora_bias": True}),
}  # fmt: skip


def plan_from_adapter(adapter, structure: ModelStructure) -> RankPlan:
    """With the config of the tiny model of that name; of any other one nothing is at hand but the structure."""
    is_tiny = structure.model_id in (*ARCHITECTURES, *EXTRA_ARCHITECTURES)
    return ranks.plan_from_adapter(adapter, structure, tiny_config(structure.model_id) if is_tiny else None)


def structure(architecture: str) -> ModelStructure:
    return structure_of(tiny_model(architecture), architecture, "rev")


@pytest.fixture(scope="module")
def structures() -> dict[str, ModelStructure]:
    return {name: structure(name) for name in {*ROUND_TRIPS, *(name for name, _, _ in CONFIGS.values())}}


def adapted(architecture: str, head: str, **options) -> PeftModel:
    kind, task_type = HEADS[head]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT corrects fan_in_fan_out by itself, and says so
        return get_peft_model(kind.from_config(tiny_config(architecture)), LoraConfig(**options, task_type=task_type))


def saved(model: PeftModel, folder: Path, **options) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder, save_embedding_layers=False, **options)
    return folder


def in_peft(model: PeftModel, structure: ModelStructure) -> dict[str, tuple[int, float]]:
    """{module of the structure: rank and factor}, as they stand in a PEFT model."""
    base = model.get_base_model()
    inner = getattr(base, base.base_model_prefix, base)
    layers = {name: module for name, module in inner.named_modules() if isinstance(module, LoraLayer)}
    known = {module.name for module in structure.modules}
    return {name: (layer.r["default"], layer.scaling["default"]) for name, layer in layers.items() if name in known}


def in_plan(plan: RankPlan) -> dict[str, tuple[int, float]]:
    return {name: (r, plan.alphas[name] / r) for name, r in plan.ranks.items() if r}


def close(ours: dict[str, tuple[int, float]], theirs: dict[str, tuple[int, float]]) -> bool:
    return ours.keys() == theirs.keys() and all(
        r == theirs[name][0] and math.isclose(factor, theirs[name][1], rel_tol=1e-9) for name, (r, factor) in ours.items()
    )


# --- our own plans, there and back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ROUND_TRIPS)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_plan_comes_back_from_folder_config_and_weights(structures, tmp_path_factory, architecture, data):
    plan = uniform_ranks(structures[architecture], 1, "all-linear")
    ranks = {name: data.draw(st.integers(0, 5)) for name in plan.ranks} | {plan.modules[0].name: 0, plan.modules[-1].name: 3}
    alphas = {name: data.draw(st.sampled_from([1.0, 8.0, 12.5])) for name in ranks}
    plan = dataclasses.replace(plan, ranks=ranks, alphas=alphas)
    folder = saved(apply_plan(tiny_model(architecture), plan), tmp_path_factory.mktemp("adapter"))
    kept = {name: r for name, r in ranks.items() if r}
    for adapter in (
        folder,
        str(folder / "adapter_config.json"),
        folder / "adapter_model.safetensors",
        json.loads((folder / "adapter_config.json").read_text()),
    ):
        back = plan_from_adapter(adapter, structures[architecture])
        assert back.ranks == kept
        assert back.alphas == {name: alphas[name] for name in kept}
        assert back.block_notes == {}
        assert (back.strategy, back.offset, back.model_id) == ("imported", None, architecture)
        assert [m.name for m in select_modules(structures[architecture], back.target_modules)] == list(kept)
        assert RankPlan.from_json(back.to_json()) == back


@pytest.mark.parametrize(
    ("target_modules", "said"),
    [("attention", "attention"), ("attention-qv", "attention-qv"), ("mlp", "mlp"), ("all-linear", "all-linear"), (["k_proj"], "k_proj")],
)
def test_the_choice_of_modules_is_said_in_the_shortest_way(structures, tmp_path, target_modules, said):
    folder = saved(apply_plan(tiny_model("llama"), uniform_ranks(structures["llama"], 2, target_modules)), tmp_path)
    assert plan_from_adapter(folder, structures["llama"]).target_modules == said


def test_a_pickle_of_weights_and_weights_without_a_config(structures, tmp_path):
    plan = uniform_ranks(structures["bert"], 2, "attention", scaling=5.0)
    folder = saved(apply_plan(tiny_model("bert"), plan), tmp_path / "whole", safe_serialization=False)
    assert [path.name for path in folder.glob("adapter_model*")] == ["adapter_model.bin"]
    assert plan_from_adapter(folder, structures["bert"]).alphas == plan.alphas
    (folder / "adapter_config.json").unlink()
    alone = plan_from_adapter(folder, structures["bert"])
    assert alone.ranks == plan.ranks
    assert alone.alphas == {name: 64.0 for name in plan.ranks}
    assert "alphas are not known" in alone.block_notes[WHOLE_ADAPTER]


# --- adapters that PEFT made without us --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CONFIGS)
def test_weights_and_config_give_what_peft_put_into_the_model(structures, tmp_path, case):
    architecture, head, options = CONFIGS[case]
    model = adapted(architecture, head, **options)
    truth = in_peft(model, structures[architecture])
    folder = saved(model, tmp_path)
    assert truth
    for adapter in (folder, folder / "adapter_config.json"):
        plan = plan_from_adapter(adapter, structures[architecture])
        assert close(in_plan(plan), truth), adapter
        assert plan.n_trained_params == model.get_nb_trainable_parameters()[0], adapter
        assert [m.name for m in select_modules(structures[architecture], plan.target_modules)] == list(plan.ranks)


@pytest.mark.parametrize("case", ["patterns", "all-linear", "usual modules", "usual modules, fused", "excluded by full name"])
def test_a_config_written_by_hand_gives_what_peft_would_make_of_it(structures, case):
    architecture, head, options = CONFIGS[case]
    model = adapted(architecture, head, **copy.deepcopy(options))
    plan = plan_from_adapter({"peft_type": "LORA", "task_type": HEADS[head][1]} | options, structures[architecture])
    assert plan.n_trained_params == model.get_nb_trainable_parameters()[0]
    assert close(in_plan(plan), in_peft(model, structures[architecture]))


def test_of_patterns_that_overlap_the_weights_are_the_truth_and_the_config_is_read_as_peft_reads_it_again(structures, tmp_path):
    # The first that matches counts, and saving sorts them: PEFT itself makes other ranks of the saved config.
    patterns = {"q_proj": 2, r"layers\.1\..*": 3}
    model = adapted("llama", "causal", target_modules=["q_proj", "k_proj"], rank_pattern=patterns)
    folder = saved(model, tmp_path)
    again = get_peft_model(AutoModelForCausalLM.from_config(tiny_config("llama")), LoraConfig.from_pretrained(folder))
    truth, read_again = (in_peft(m, structures["llama"]) for m in (model, again))
    assert truth != read_again
    plan = plan_from_adapter(folder, structures["llama"])
    assert {name: r for name, (r, _) in truth.items()} == plan.ranks
    assert plan.block_notes == {2: "q_proj has rank 2 in the weights, 3 in the config"}
    assert close(in_plan(plan_from_adapter(folder / "adapter_config.json", structures["llama"])), read_again)


@given(
    st.dictionaries(
        st.sampled_from(["q", "self.q", r"layers\.1\..*", "layers.1.self.q", ".*", "^model.*", "a|q", "k$"]), st.integers(1, 9)
    ),
    st.sampled_from(["model.layers.1.self.q", "layers.11.self.q", "layers.1.self.k", "q", "layers.1.self.qq"]),
)
def test_patterns_mean_what_they_mean_to_peft(patterns, full):
    found = Expressions("a config").first_fitting("rank_pattern", patterns, [full])
    assert found.get(full, full) == get_pattern_key(patterns.keys(), full)


@pytest.mark.parametrize("steps", [0, 6])
def test_adalora_gives_the_ranks_that_are_left_and_the_factor_of_its_own_class(structures, tmp_path, steps):
    config = AdaLoraConfig(init_r=4, target_r=2, tinit=1, tfinal=1, deltaT=1, total_step=6, lora_alpha=6, target_modules=["query", "key"])
    model = get_peft_model(tiny_model("bert"), config)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
        model.base_model.update_and_allocate(step)
    folder = saved(model, tmp_path)
    loaded = PeftModel.from_pretrained(tiny_model("bert"), folder).get_base_model()
    layers = {name: layer for name, layer in loaded.named_modules() if isinstance(layer, LoraLayer)}
    truth = {n: (len(x.lora_E["default"]), float(x.scaling["default"] / x.ranknum["default"])) for n, x in layers.items()}
    assert len({r for r, _ in truth.values()}) > 1 if steps else {r for r, _ in truth.values()} == {4}
    for adapter in (folder, folder / "adapter_config.json"):
        plan = plan_from_adapter(adapter, structures["bert"])
        assert close(in_plan(plan), truth)
        assert ("pruning left" if steps else "not pruned yet") in plan.block_notes[WHOLE_ADAPTER]


def test_parameters_of_experts_are_found_by_the_nesting_of_their_wrappers(tmp_path):
    model = AutoModelForCausalLM.from_config(tiny_config("mixtral"))
    structure = structure_of(model, "mixtral", "rev")
    experts = [module for module in structure.modules if module.n_experts > 1]
    maps = tuple(module for module in structure.modules if module.n_experts == 1)
    options = {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
    adapter = get_peft_model(model, LoraConfig(**options, r=3, rank_pattern={"experts.down_proj": 2}, task_type="CAUSAL_LM"))
    folder = saved(adapter, tmp_path)
    wanted = {f"layers.{i}.self_attn.q_proj": 3 for i in range(3)} | {m.name: 2 if "down" in m.name else 3 for m in experts}
    for path in (folder, folder / "adapter_config.json"):
        plan = plan_from_adapter(path, structure)
        assert plan.ranks == wanted and len(experts) == 6
        assert plan.n_adapter_params == adapter.get_nb_trainable_parameters()[0]
        without = plan_from_adapter(path, dataclasses.replace(structure, modules=maps))
        assert list(without.ranks) == [f"layers.{i}.self_attn.q_proj" for i in range(3)]
        assert [part.what for part in without.also_trained] == ["modules in the blocks that are no linear map of their own"]
        assert without.n_trained_params == plan.n_adapter_params


# --- what is worth knowing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "lines"),
    [
        ("head and embeddings", ["modules outside the blocks: 5,632 (lm_head, model.embed_tokens)"]),
        ("saved whole", ["modules trained whole: 1,122 (classifier, pooler)"]),
        ("DoRA", ["magnitude vectors of DoRA: 144"]),
        (
            "all-linear under a classifier",
            ["modules outside the blocks: 512 (bert.pooler.dense)", "modules trained whole: 66 (classifier)"],
        ),
        ("biases", ["biases of lora_B: 96", "biases of the model: 96"]),
    ],
)
def test_what_a_plan_does_not_hold_is_counted_in_lines_of_its_own(structures, tmp_path, case, lines):
    architecture, head, options = CONFIGS[case]
    folder = saved(adapted(architecture, head, **options), tmp_path)
    for path in (folder, folder / "adapter_config.json"):
        parts = plan_from_adapter(path, structures[architecture]).also_trained
        said = [f"{part.what}: {part.n_params:,}" + (f" ({', '.join(sorted(part.modules))})" if part.modules else "") for part in parts]
        assert said == lines


def test_another_way_of_scaling_is_said(structures, tmp_path):
    architecture, head, options = CONFIGS["rsLoRA with patterns"]
    folder = saved(adapted(architecture, head, **options), tmp_path)
    assert "alpha / sqrt(r)" in plan_from_adapter(folder, structures[architecture]).block_notes[WHOLE_ADAPTER]


def test_another_base_model_is_a_note_unless_only_its_owner_is_missing(structures):
    config = {"peft_type": "LORA", "target_modules": ["q_proj"], "base_model_name_or_path": "somebody/llama"}
    assert plan_from_adapter(config, structures["llama"]).block_notes == {}
    config["base_model_name_or_path"] = "somebody/llama-chat"
    assert "base model is somebody/llama-chat, the plan is for llama" in plan_from_adapter(config, structures["llama"]).block_notes[0]


def test_names_that_many_architectures_share_are_a_note_and_a_refusal_only_when_another_base_is_named(structures):
    config = {"peft_type": "LORA", "target_modules": ["q_proj", "lm_head", "c_attn"], "rank_pattern": {"c_attn": 2}}
    plan = plan_from_adapter(config, structures["llama"])
    assert list(plan.ranks) == [f"layers.{i}.self_attn.q_proj" for i in range(3)]
    assert [part.modules for part in plan.also_trained] == [("lm_head",)]
    assert (
        "nothing in this model: c_attn" in plan.block_notes[0] and "patterns that mean none of these modules: c_attn" in plan.block_notes[0]
    )
    with pytest.raises(ModelError, match="c_attn") as error:
        plan_from_adapter(config | {"base_model_name_or_path": "gpt2"}, structures["llama"])
    assert "its base model is gpt2" in str(error.value) and "lm_head" not in str(error.value)


# --- bad input ---------------------------------------------------------------------------------------------------------

GOOD = {"peft_type": "LORA", "target_modules": ["q_proj"], "r": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "holds a JSON list"),
        ('{"model_type": "bert"}', "no peft_type"),
        (json.dumps(GOOD | {"r": "8"}), "r is '8'; it must be a whole number"),
        (json.dumps(GOOD | {"r": True}), "r is True; it must be a whole number"),
        (json.dumps(GOOD | {"lora_alpha": float("nan")}), "lora_alpha is nan; it must be a number"),
        (json.dumps(GOOD | {"lora_alpha": 0}), "The alpha of layers.0.self_attn.q_proj is 0.0; it must be positive"),
        (json.dumps(GOOD | {"rank_pattern": {"q_proj": 2.5}}), "rank_pattern is .* whole numbers"),
        (json.dumps(GOOD | {"rank_pattern": {"q_(proj": 2}}), r"'q_\(proj' is no regular expression"),
        (json.dumps(GOOD | {"target_modules": "q_(proj"}), r"'q_\(proj' is no regular expression"),
        (json.dumps(GOOD | {"target_modules": "a{99999999999}"}), "is no regular expression"),
        (json.dumps(GOOD | {"target_modules": 3}), "target_modules is 3; it must be a list of names"),
        (json.dumps(GOOD | {"target_modules": ".*q_proj", "layers_to_transform": [0]}), "PEFT allows no layers_to_transform"),
        (json.dumps(GOOD | {"layer_replication": [[0, 2], [1, 3]]}), "layer_replication"),
        (json.dumps(GOOD | {"target_modules": "dummy-target-modules"}), "adapts no module"),
        (json.dumps({"peft_type": "ADALORA", "target_modules": ["q_proj"], "rank_pattern": {"q_proj": 3}}), "lists of true and false"),
    ],
)
def test_a_file_that_is_no_config_of_a_lora_is_one_sentence(structures, tmp_path, text, said):
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        plan_from_adapter(tmp_path, structures["llama"])
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_config_with_a_byte_order_mark_or_packed_is_read(structures, tmp_path):
    text = json.dumps(GOOD).encode()
    forms = {"adapter_config.json": [b"\xef\xbb\xbf" + text, text.decode().encode("utf-16"), gzip.compress(text, mtime=0)]}
    forms["adapter_config.json.gz"] = [gzip.compress(text, mtime=0)]
    for name, contents in forms.items():
        for content in contents:
            (tmp_path / name).write_bytes(content)
            for adapter in (tmp_path, tmp_path / name):
                assert set(plan_from_adapter(adapter, structures["llama"]).ranks.values()) == {2}
        (tmp_path / name).unlink()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 134\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("adapter_config.json", LFS, "is a Git LFS pointer, not the data themselves; fetch them with `git lfs pull`"),
        ("adapter_model.safetensors", LFS, "is a Git LFS pointer, not the data themselves; fetch them with `git lfs pull`"),
        ("adapter_model.bin", LFS, "is a Git LFS pointer, not the data themselves; fetch them with `git lfs pull`"),
        ("adapter_config.json", b"<!DOCTYPE html><html>", "is a web page"),
        ("adapter_model.safetensors", b"<html>", "is a web page"),
        ("adapter_model.safetensors", gzip.compress(b"x", mtime=0), "is packed with gzip; unpack it first"),
        ("adapter_config.json", gzip.compress(b"{}", mtime=0)[:-9], "packed with gzip and damaged"),
        ("adapter_config.json", b'{"peft_type": "\xe9"}', "is not UTF-8 text"),
        ("adapter_config.json", json.dumps(GOOD | {"target_modules": []}).encode(), "target_modules is an empty list"),
        ("adapter_config.json", json.dumps(GOOD | {"layers_pattern": "h"}).encode(), "layers_pattern stands without layers_to_transform"),
        ("adapter_config.json", json.dumps(GOOD | {"task_type": "POETRY"}).encode(), "task_type is 'POETRY'"),
        ("adapter_config.json", json.dumps(GOOD | {"task_type": {"a": 1}}).encode(), "task_type is {'a': 1}"),
        ("adapter_config.json", json.dumps(GOOD | {"lora_alpha": 10**400}).encode(), "it must be a number"),
        ("adapter_config.json", json.dumps(GOOD | {"bias": "some"}).encode(), "bias is 'some'; it must be none, all or lora_only"),
        ("adapter_config.json", json.dumps(GOOD | {"trainable_token_indices": ["a"]}).encode(), "trainable_token_indices is ['a']"),
    ],
)
def test_a_file_of_another_kind_is_named(structures, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(said)) as error:
        plan_from_adapter(tmp_path, structures["llama"])
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def test_a_rank_that_peft_refuses_is_refused_with_its_reason(structures):
    with pytest.raises(ModelError, match=r"PEFT cannot make this adapter on LlamaForCausalLM .*positive integer.*correct its config"):
        plan_from_adapter(GOOD | {"r": 0}, structures["llama"])


@pytest.mark.parametrize(
    ("config", "kind"),
    [(IA3Config(), "IA3"), (PrefixTuningConfig(num_virtual_tokens=3), "PREFIX_TUNING"), (peft.LoHaConfig(), "LOHA")],
)
def test_another_kind_of_adapter_is_said_to_be_no_lora(structures, tmp_path, config, kind):
    config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"peft_type is {kind}, which is no LoRA"):
        plan_from_adapter(tmp_path, structures["llama"])


def test_what_is_not_there_is_said(structures, tmp_path):
    for absent in (tmp_path / "nothing", "owner/adapter-on-the-hub", json.dumps(GOOD) * 100):
        with pytest.raises(InputError, match=r"There is no file or folder .*\(hf download"):
            plan_from_adapter(absent, structures["llama"])
    with pytest.raises(InputError, match=r"has no adapter_config\.json and no adapter_model"):
        plan_from_adapter(tmp_path, structures["llama"])
    (tmp_path / "notes.txt").write_text("r = 8")
    with pytest.raises(InputError, match="is no file of an adapter"):
        plan_from_adapter(tmp_path / "notes.txt", structures["llama"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="its folders mine hold adapters"):
        plan_from_adapter(tmp_path, structures["llama"])


@pytest.mark.parametrize("layers", [[0, 7], 7, [-1]])
def test_layers_that_the_model_lacks_are_named(structures, layers):
    with pytest.raises(ModelError, match=r"block -?\d \(counted from 0\)"):
        plan_from_adapter(GOOD | {"layers_to_transform": layers}, structures["llama"])


@pytest.mark.parametrize(
    "rest", [{"layers_to_transform": [0], "layers_pattern": "h"}, {"exclude_modules": ["q_proj"]}, {"modules_to_save": ["self_attn"]}]
)
def test_a_config_that_leaves_out_all_that_it_names(structures, rest):
    with pytest.raises(InputError, match="adapts nothing in llama: layers_to_transform"):
        plan_from_adapter(GOOD | rest, structures["llama"])


@pytest.mark.parametrize("targets", [["query"], ".*query", ["q_proj", "model.layers.7.self_attn.q_proj"], ["q_proj", "7.self_attn.q_proj"]])
def test_a_config_of_another_model_is_refused_and_its_modules_named(structures, targets):
    with pytest.raises(ModelError, match="does not fit llama") as error:
        plan_from_adapter(GOOD | {"target_modules": targets, "base_model_name_or_path": "b"}, structures["llama"])
    assert "its base model is b" in str(error.value)
    assert (targets if isinstance(targets, str) else targets[-1]) in str(error.value)


@pytest.mark.parametrize("name", ["model.layers.7.self_attn.q_proj", "7.self_attn.q_proj"])
def test_a_block_that_the_model_lacks_is_refused_whoever_the_base_model_is(structures, name):
    with pytest.raises(ModelError, match="does not fit llama") as error:
        plan_from_adapter(GOOD | {"target_modules": ["q_proj", name]}, structures["llama"])
    assert f"no linear maps: {name}. " in str(error.value)


def test_weights_of_another_model_are_refused_and_say_in_what_they_differ(structures, tmp_path):
    folder = saved(adapted("llama", "causal", target_modules=["q_proj", "k_proj"]), tmp_path / "llama")
    with pytest.raises(ModelError, match=r"does not fit bert.*model\.layers\.0\.self_attn\.\w_proj.* and 2 more"):
        plan_from_adapter(folder, structures["bert"])
    deeper = structures["llama"]
    shallow = dataclasses.replace(deeper, n_layers=2, modules=tuple(m for m in deeper.modules if m.block < 3))
    with pytest.raises(ModelError, match=r"no linear maps: model\.layers\.2\.self_attn\.\w_proj, model\.layers\.2\.self_attn\.\w_proj\."):
        plan_from_adapter(folder, shallow)
    wider = structure_of(tiny_model("llama", num_key_value_heads=4), "wider", "rev")
    with pytest.raises(ModelError, match=r"other shapes: .*layers\.0\.self_attn\.k_proj 32 to 16 \(here 32 to 32\)"):
        plan_from_adapter(folder, wider)
    weights = load((folder / "adapter_model.safetensors").read_bytes())
    twice = weights | {key.replace("model.layers", "tower.layers"): value.clone() for key, value in weights.items()}
    save_file(twice, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="several stacks of blocks"):
        plan_from_adapter(folder, structures["llama"])


def test_a_model_that_peft_has_no_usual_modules_for(structures):
    with pytest.raises(InputError, match="no usual ones for a model of type modernbert"):
        plan_from_adapter({"peft_type": "LORA"}, structures["modernbert"])


def test_weights_without_blocks(structures, tmp_path):
    folder = saved(adapted("llama", "causal", target_modules=["lm_head"]), tmp_path / "head")
    with pytest.raises(ModelError, match=r"does not fit llama.* lm_head"):
        plan_from_adapter(folder, structures["llama"])
    classifier = AutoModelForSequenceClassification.from_config(tiny_config("bert"))
    folder = saved(train_head_alone(classifier, ["classifier"]), tmp_path / "alone")
    for adapter in (folder, folder / "adapter_config.json"):
        with pytest.raises(InputError, match="adapts no module"):
            plan_from_adapter(adapter, structures["bert"])


def test_damaged_weights_are_one_sentence(structures, tmp_path):
    folder = saved(adapted("llama", "causal", target_modules=["q_proj"]), tmp_path / "whole")
    path = folder / "adapter_model.safetensors"
    whole, weights = path.read_bytes(), load(path.read_bytes())
    for damaged in (b"", whole[:50], whole[:-10]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is no readable safetensors file"):
            plan_from_adapter(folder, structures["llama"])
    one = next(key for key in weights if "lora_B" in key)
    for wrong, said in (
        ({key: value for key, value in weights.items() if key != one}, "is damaged"),
        (weights | {one: torch.zeros(32, 5)}, "is damaged"),
        (weights | {one: torch.zeros(3)}, "is damaged"),
    ):
        save_file(wrong, path)
        with pytest.raises(InputError, match=said):
            plan_from_adapter(folder, structures["llama"])
    shutil.copy(folder / "adapter_config.json", tmp_path)
    save_file(tiny_model("llama").state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(InputError, match="holds no lora_A and lora_B"):
        plan_from_adapter(tmp_path / "model.safetensors", structures["llama"])


class _Trap:
    """Unpickled without care, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_is_never_run(structures, tmp_path):
    path, sprung = tmp_path / "adapter_model.bin", tmp_path / "sprung"
    torch.save({"base_model.model.layers.0.self_attn.q_proj.lora_A.weight": _Trap(sprung)}, path)
    for content in (path.read_bytes(), b"", b"\x80\x04K\x01.", b"\x80\x02}q\x00(", path.read_bytes()[:200], b"garbage" * 50):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"is no readable file of tensors|holds something else"):
            plan_from_adapter(path, structures["llama"])
    assert not sprung.exists()
    torch.save([torch.zeros(2)], path)
    with pytest.raises(InputError, match="holds something else than named tensors"):
        plan_from_adapter(path, structures["llama"])
