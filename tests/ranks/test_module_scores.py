"""Scores of matrices against plain loops: autograd by hand, numpy's SVD, PEFT's own shares."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from peft import LoraConfig, get_eva_state_dict
from peft.tuners.lora import EvaConfig
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from gelora.errors import Cancelled, DataError, GeloraError, InputError, ModelError
from gelora.ranks import all_module_scores, module_scores
from gelora.ranks.scores.eva import input_components
from gelora.ranks.scores.module_scores import stable_rank
from gelora.ranks.scores.prepared import Objective
from gelora.records import SCORE_STRATEGIES, DataChoice, ModuleScores, Sample, SampleSource, TargetModule
from gelora.sources import TokenizedSample, find_model, load_sample, load_tokenizer, model_structure, select_modules, tokenize

THINGS = ("film", "story", "service", "train", "garden", "answer", "battery", "place", "talk", "rain")
N_ROWS, BATCH, SEED = 12, 5, 3


def rows_to(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataChoice(str(path))


def texts(n):
    """Distinct sentences of several lengths."""
    return [" and the ".join(THINGS[i % 10 : i % 10 + 1 + i % 4]) + f" of number {i} was {('good', 'bad')[i % 2]}" for i in range(n)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {
        "labelled": rows_to(folder / "labelled.jsonl", [{"text": t, "label": i % 3} for i, t in enumerate(texts(40))]),
        "scored": rows_to(folder / "scored.jsonl", [{"text": t, "label": len(t) / 20 + 0.5} for t in texts(40)]),
        "plain": rows_to(folder / "plain.jsonl", [{"text": t} for t in texts(40)]),
        "one-class": rows_to(folder / "one.jsonl", [{"text": t, "label": 1} for t in texts(40)]),
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    made = {}

    def get(architecture, **changes):
        key = f"{architecture}{sorted(changes.items())}"
        if key not in made:
            made[key] = str(save_tiny_model(architecture, root / str(len(made)), **changes))
        return made[key]

    return get


def modules_of(model, targets="all-linear"):
    return select_modules(model_structure(model), targets)


def scores_of(strategy, model, data, modules=None, **options):
    given = {"n_rows": N_ROWS, "batch_size": BATCH, "seed": SEED, "r_max": 4} | options
    return module_scores(strategy, model, data, modules or modules_of(model), **given)


def model_with_head(model, sample):
    """The same model by transformers alone, its head drawn from the same seed; and the inputs of some of the rows."""
    tokenizer = load_tokenizer(find_model(model))
    tokenizer.padding_side = "right"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        if sample.labels is None:
            network = AutoModelForCausalLM.from_pretrained(model)
        else:
            kind = {"num_labels": len(sample.label_names)} if sample.label_names else {"num_labels": 1, "problem_type": "regression"}
            network = AutoModelForSequenceClassification.from_pretrained(model, pad_token_id=tokenizer.pad_token_id, **kind)

    def inputs(rows):
        encoded = dict(tokenizer([sample.texts[i] for i in rows], padding=True, return_tensors="pt"))
        if sample.labels is None:
            encoded["labels"] = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, -100)
        else:
            encoded["labels"] = torch.tensor([sample.labels[i] for i in rows], dtype=torch.long if sample.label_names else torch.float32)
        return encoded

    return network.eval(), inputs


def by_hand(strategy, model, data, modules):
    """Both scores by a plain loop over the rows, with the losses and `.backward()` of transformers and torch.

    The gradient of the mean loss is that of the rows' sums, whichever the batches: what each row adds is left to `.grad`.
    """
    sample = load_sample(data, N_ROWS, SEED)
    network, inputs = model_with_head(model, sample)
    base = getattr(network, network.base_model_prefix)
    weights = {module.name: base.get_submodule(module.name).weight for module in modules}
    squares = dict.fromkeys(weights, 0.0)
    for row in range(len(sample)):
        batch = inputs([row])
        if strategy == "fisher":
            network.zero_grad()
        # transformers gives the mean over the predicted tokens
        (network(**batch).loss * (batch["input_ids"].shape[1] - 1 if sample.labels is None else 1)).backward()
        if strategy == "fisher":
            squares = {name: value + float((weights[name].grad ** 2).mean()) for name, value in squares.items()}
    if strategy == "fisher":
        means = squares
    else:
        means = {name: float((weight * weight.grad).abs().detach().mean()) for name, weight in weights.items()}
    return {name: mean / sum(means.values()) for name, mean in means.items()}


@pytest.mark.parametrize("strategy", ["gradient", "fisher"])
@pytest.mark.parametrize(
    ("architecture", "data"),
    [
        ("bert", "labelled"),
        ("bert", "scored"),
        ("gpt2", "labelled"),  # Conv1D, one fused qkv
        ("gpt2", "plain"),  # a decoder's own loss, padding masked
        ("llama", "labelled"),  # grouped queries: k and v are narrower
        ("llama", "plain"),
        ("deberta-v2", "labelled"),  # its projections are applied to positions too
    ],
)
def test_gradient_and_fisher_are_what_a_plain_loop_gives(models, files, strategy, architecture, data):
    model = models(architecture)
    modules = modules_of(model)
    found = scores_of(strategy, model, files[data], modules)
    assert list(found.scores) == [module.name for module in modules]
    assert found.scores == pytest.approx(by_hand(strategy, model, files[data], modules), rel=2e-3)
    assert found.n_rows == N_ROWS
    loss = {"labelled": "cross-entropy of 3 classes", "scored": "squared error", "plain": "next-token cross-entropy"}[data]
    assert loss in found.detail


class Line(torch.nn.Module):
    """y = w . x + c, without a bias: its loss of a row is (w . x + c - y)^2 / 2, its gradient (w . x + c - y) x."""

    def __init__(self, w):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(w))
        self.config = SimpleNamespace()

    def forward(self, x):
        return SimpleNamespace(logits=(x @ self.w)[:, None])


def on_a_line(w, rows):
    """Objective and weight of `Line` on rows (x, y)."""
    source = SampleSource(DataChoice("made"), "r", 0, len(rows), True, "digest")
    sample = Sample(tuple("ab" for _ in rows), None, tuple(y for _, y in rows), None, "regression", source)
    vectors = torch.tensor([x for x, _ in rows])

    class Vectors(TokenizedSample):
        def batch(self, texts, device):
            return {"x": vectors[texts]}

    texts = Vectors({}, np.full(len(rows), 2), "mean")
    line = Line(w)
    return Objective(line, texts, sample, False, 0), {"w": line.w}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 9])
def test_gradients_are_averaged_before_the_absolute_value(batch_size):
    """Errors are 2, -1, 1 at w = (1, 2): gradients (2, 0), (0, -1), (1, 1); their mean is (1, 0), so mean |w * G| = 1/2.

    Averaging |w * g| of the rows instead would give (3 + 4) / 3 / 2 = 7/6.
    """
    objective, weights = on_a_line([1.0, 2.0], [([1.0, 0.0], -1.0), ([0.0, 1.0], 3.0), ([1.0, 1.0], 2.0)])
    assert objective.gradient_product(weights, batch_size, lambda *_: None) == {"w": pytest.approx(0.5, rel=1e-6)}
    # Fisher squares each row's: (4 + 0 + 1 + 0 + 1 + 1) / 3 / 2
    assert objective.fisher(weights, lambda *_: None) == {"w": pytest.approx(7 / 6, rel=1e-6)}


def test_rows_whose_gradients_cancel_score_nothing():
    objective, weights = on_a_line([1.0, 2.0], [([1.0, 0.0], 0.0), ([1.0, 0.0], 2.0)])
    assert objective.gradient_product(weights, 1, lambda *_: None) == {"w": 0.0}
    assert objective.fisher(weights, lambda *_: None) == {"w": pytest.approx(0.5)}


@pytest.mark.parametrize("data", ["labelled", "plain"])
def test_the_rows_of_a_forward_pass_change_no_gradient_score(models, files, data):
    model = models("llama")
    first, second = (scores_of("gradient", model, files[data], batch_size=size) for size in (1, 7))
    assert first.scores == pytest.approx(second.scores, rel=1e-4)
    assert first.detail == second.detail


def rescaled_keys_and_queries(folder, copy, factor):
    """Block 1's queries times a factor and its keys divided by it: other weights, the same function."""
    tensors = load_file(f"{folder}/model.safetensors")
    for kind, by in (("query", factor), ("key", 1 / factor)):
        for part in ("weight", "bias"):
            tensors[f"encoder.layer.0.attention.self.{kind}.{part}"] *= by
    save_file(tensors, f"{copy}/model.safetensors", metadata={"format": "pt"})


def test_sensitivity_does_not_see_a_rescaling_that_fisher_sees(models, files, tmp_path):
    model = models("bert")
    copy = save_tiny_model("bert", tmp_path / "copy")
    rescaled_keys_and_queries(model, copy, 4.0)
    query, key = (f"encoder.layer.0.attention.self.{kind}" for kind in ("query", "key"))
    modules = modules_of(model)
    before, after = ({s: scores_of(s, str(m), files["labelled"], modules).scores for s in ("gradient", "fisher")} for m in (model, copy))
    # w becomes 4 w and its gradient dL/dw / 4: their product stays, the squared gradient falls to a sixteenth.
    assert after["gradient"] == pytest.approx(before["gradient"], rel=1e-3)
    ratio = {when: fisher[query] / fisher[key] for when, fisher in (("before", before["fisher"]), ("after", after["fisher"]))}
    assert ratio["after"] / ratio["before"] == pytest.approx(4.0**-4, rel=1e-3)


def test_the_stable_rank_of_planted_singular_values():
    rng = np.random.default_rng(0)
    u, _ = np.linalg.qr(rng.normal(size=(7, 3)))
    v, _ = np.linalg.qr(rng.normal(size=(5, 3)))
    planted = torch.tensor(u @ np.diag([3.0, 2.0, 1.0]) @ v.T)
    assert stable_rank(planted) == pytest.approx(14 / 9)
    assert stable_rank(planted.T) == pytest.approx(14 / 9)
    assert stable_rank(torch.eye(6)) == pytest.approx(6)
    assert stable_rank(torch.stack([planted, torch.eye(7, 5)])) == pytest.approx((14 / 9 + 5) / 2)  # two experts
    assert stable_rank(torch.zeros(3, 4)) == 0
    assert np.isnan(stable_rank(torch.full((3, 4), np.nan)))


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-4, 4, width=16)),
    st.floats(0.125, 8.0),
)
def test_the_stable_rank_lies_between_one_and_the_rank_and_ignores_scale(weight, factor):
    found = stable_rank(torch.tensor(weight))
    if not weight.any():
        assert found == 0
        return
    assert 1 - 1e-9 <= found <= np.linalg.matrix_rank(weight) + 1e-6
    assert stable_rank(torch.tensor(weight * factor)) == pytest.approx(found)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_the_weight_spectrum_is_numpy_s_and_needs_no_data(models, architecture):
    model = models(architecture)
    modules = modules_of(model)
    found = scores_of("weight-spectrum", model, None, modules)
    base = AutoModel.from_pretrained(model)
    ranks = {}
    for module in modules:
        values = np.linalg.svd(base.get_submodule(module.name).weight.detach().double().numpy(), compute_uv=False)
        ranks[module.name] = (values**2).sum() / values[0] ** 2
    assert found.scores == pytest.approx({name: rank / sum(ranks.values()) for name, rank in ranks.items()}, rel=1e-9)
    assert (found.n_rows, found.components) == (0, {})


def layer_inputs(model, data, modules):
    """The inputs of every module over all tokens but padding, one text at a time, [n_tokens, in_features]."""
    sample = load_sample(data, N_ROWS, SEED)
    base, tokenizer = AutoModel.from_pretrained(model).eval(), load_tokenizer(find_model(model))
    seen = {module.name: [] for module in modules}
    for name, states in seen.items():
        base.get_submodule(name).register_forward_hook(lambda _, args, __, states=states: states.append(args[0][0].double().numpy()))
    with torch.no_grad():
        for text in sample.texts:
            base(**tokenizer(text, return_tensors="pt"))
    return {name: np.concatenate(states) for name, states in seen.items()}


@pytest.mark.parametrize(("batch_size", "tolerance"), [(N_ROWS, 1e-4), (BATCH, 0.1)])
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_eva_s_components_are_the_explained_variance_of_the_inputs(models, files, architecture, batch_size, tolerance):
    """At once it is exact (16 components of 32 need all 32 directions); in steps PEFT keeps only so many between them."""
    model = models(architecture)
    modules = modules_of(model)
    found = scores_of("eva", model, files["plain"], modules, batch_size=batch_size, r_max=16)
    inputs = layer_inputs(model, files["plain"], modules)
    for module in modules:
        states = inputs[module.name]
        values = np.linalg.svd(states - states.mean(axis=0), compute_uv=False) ** 2
        ratios = found.components[module.name]
        assert len(ratios) == 16
        assert ratios[:8] == pytest.approx((values / values.sum())[:8], rel=tolerance)
        assert 0 < ratios.sum() <= 1 + 1e-6
    total = sum(ratios.sum() for ratios in found.components.values())
    assert found.scores == pytest.approx({name: ratios.sum() / total for name, ratios in found.components.items()})


def test_matrices_with_the_same_inputs_share_their_components(models, files):
    found = scores_of("eva", models("bert"), files["plain"])
    q, k, v = (found.components[f"encoder.layer.1.attention.self.{kind}"] for kind in ("query", "key", "value"))
    assert np.array_equal(q, k)
    assert np.array_equal(q, v)
    assert not np.array_equal(q, found.components["encoder.layer.1.attention.output.dense"])


def test_a_narrow_matrix_has_no_more_components_than_its_smaller_side(models, files):
    found = scores_of("eva", models("llama", num_key_value_heads=1), files["plain"], r_max=99, batch_size=N_ROWS)
    lengths = {name.rpartition(".")[2]: len(ratios) for name, ratios in found.components.items() if name.startswith("layers.0.")}
    assert lengths == {"q_proj": 16, "k_proj": 8, "v_proj": 8, "o_proj": 16, "gate_proj": 16, "up_proj": 16, "down_proj": 32}


def test_the_largest_components_are_the_ranks_that_peft_shares_out(models, files):
    """PEFT's own function on one batch of all rows, r 2 and rho 2, against the 2 * n largest of our ratios."""
    model = models("bert")
    modules = modules_of(model, "attention")
    found = scores_of("eva", model, files["plain"], modules, batch_size=N_ROWS, r_max=4)
    sample, tokenizer = load_sample(files["plain"], N_ROWS, SEED), load_tokenizer(find_model(model))
    batch = dict(tokenizer(list(sample.texts), padding=True, return_tensors="pt"))
    config = LoraConfig(r=2, init_lora_weights="eva", eva_config=EvaConfig(rho=2.0), target_modules=[m.name for m in modules])
    theirs = get_eva_state_dict(AutoModel.from_pretrained(model), [batch], config, show_progress_bar=False)
    ranked = sorted(((ratio, name) for name, ratios in found.components.items() for ratio in ratios), reverse=True)[: 2 * len(modules)]

    def by_input(names):
        """q, k and v have equal inputs and equal ratios; which of them gets a unit is a matter of sorting."""
        counts = {}
        for name, units in names:
            group = name.replace("key", "query").replace("value", "query")
            counts[group] = counts.get(group, 0) + units
        return {group: units for group, units in counts.items() if units}

    ours = by_input((name, 1) for _, name in ranked)
    assert ours == by_input((name, len(directions)) for name, directions in theirs.items())
    assert len(set(ours.values())) > 1  # the budget does move


def test_experts_in_one_parameter_get_the_mean_over_experts(models, files):
    model = models("mixtral")
    experts = (
        TargetModule("layers.0.mlp.experts.gate_up_proj", 1, "expert", 32, 128, 2),
        TargetModule("layers.0.mlp.experts.down_proj", 1, "expert", 64, 32, 2),
    )
    modules = (*modules_of(model, "attention"), *experts)
    found = scores_of("weight-spectrum", model, None, experts).scores
    base = AutoModel.from_pretrained(model)
    values = {m.name: np.linalg.svd(base.get_parameter(m.name).detach().double().numpy(), compute_uv=False) for m in experts}
    ranks = {name: np.mean((v**2).sum(axis=1) / v[:, 0] ** 2) for name, v in values.items()}
    assert found == pytest.approx({name: rank / sum(ranks.values()) for name, rank in ranks.items()})
    for strategy in ("gradient", "fisher"):
        scores = scores_of(strategy, model, files["plain"], modules).scores
        assert all(scores[expert.name] > 0 for expert in experts)
    with pytest.raises(InputError, match=r"several experts in one parameter.*leave experts out"):
        scores_of("eva", model, files["plain"], modules)


def test_all_strategies_at_once_give_what_each_gives_alone(models, files):
    model = models("bert")
    modules = modules_of(model, "attention")
    options = {"n_rows": N_ROWS, "batch_size": BATCH, "seed": SEED, "r_max": 4}
    together = all_module_scores(reversed(SCORE_STRATEGIES), model, files["labelled"], modules, **options)
    assert tuple(together) == SCORE_STRATEGIES[::-1]
    for strategy, found in together.items():
        alone = scores_of(strategy, model, files["labelled"], modules)
        assert found.scores == pytest.approx(alone.scores, rel=1e-5)
        assert (found.strategy, found.n_rows, found.detail) == (strategy, alone.n_rows, alone.detail)
        assert ModuleScores.from_json(found.to_json()) == found


def test_the_same_seed_gives_the_same_scores_and_no_global_random_state_moves(models, files):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    torch.rand(7)  # a place that no seed of ours leads to
    before = states()
    first, second = (scores_of("gradient", models("bert"), files["labelled"]) for _ in range(2))
    scores_of("eva", models("bert"), files["labelled"])
    assert states() == before
    assert first.scores == second.scores
    other = scores_of("gradient", models("bert"), files["labelled"], seed=SEED + 1)
    assert first.scores != other.scores


@pytest.mark.parametrize("stage", ["Reading the model", "Gradients", "Fisher information", "Inputs of the matrices", "Weight spectrum"])
def test_cancelling_at_any_stage_leaves_nothing_behind(models, files, stage, gelora_home):
    before = torch.get_rng_state()
    seen = []

    def cancel(name, done, total):
        seen.append(name)
        assert 0 <= done <= total
        if name == stage:
            raise Cancelled("stop")

    options = {"n_rows": N_ROWS, "batch_size": BATCH, "progress": cancel}
    with pytest.raises(Cancelled):
        all_module_scores(SCORE_STRATEGIES, models("bert"), files["labelled"], modules_of(models("bert"), "attention"), **options)
    assert seen[-1] == stage
    assert torch.equal(torch.get_rng_state(), before)
    assert [path for path in gelora_home.rglob("*") if path.is_file()] == []


def test_inputs_that_are_all_equal_have_no_components(models, files, tmp_path):
    folder = save_tiny_model("bert", tmp_path / "bert")
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.startswith("embeddings"):
            tensors[name] = torch.full_like(tensors[name], 0.3)  # whichever the token, the first block sees the same
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="all equal"):
        scores_of("eva", str(folder), files["plain"])


def test_cancelling_eva_takes_its_hooks_off(models, files):
    model = models("bert")
    base = AutoModel.from_pretrained(model).eval()
    rows = tokenize(load_tokenizer(find_model(model)), load_sample(files["plain"], N_ROWS, SEED), 64, "mean")

    def cancel(stage, done, total):
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        input_components(base, modules_of(model), rows, BATCH, 4, cancel)
    assert not any(module._forward_hooks for module in base.modules())


def test_texts_of_one_token_have_no_next_one(models, tmp_path):
    rows = [*texts(6), "a", "b"]
    data = rows_to(tmp_path / "short.jsonl", [{"text": text} for text in rows])
    found = scores_of("fisher", models("gpt2"), data)  # GPT-2 frames a text with nothing
    assert found.n_rows == 6
    letters = rows_to(tmp_path / "letters.jsonl", [{"text": letter} for letter in "abcdef"])
    with pytest.raises(DataError, match="no next token"):
        scores_of("gradient", models("gpt2"), letters)


@pytest.mark.parametrize(
    ("strategy", "data", "options", "error", "sentence"),
    [
        ("gradient", "plain", {}, InputError, "no labels and .* is an encoder.*decoder.*eva or weight-spectrum"),
        ("fisher", "one-class", {}, DataError, "same label"),
        ("eva", None, {}, InputError, "eva needs data.*weight-spectrum"),
        ("magnitude", "labelled", {}, InputError, "choose one of: gradient, fisher, eva, weight-spectrum"),
        ("gradient", "labelled", {"n_rows": 1}, InputError, "n_rows is 1"),
        ("gradient", "labelled", {"batch_size": 0}, InputError, "batch_size is 0"),
        ("eva", "labelled", {"r_max": 0}, InputError, "r_max is 0"),
        ("gradient", "labelled", {"device": "tpu"}, InputError, "choose one of: auto, cpu, cuda"),
        ("eva", "plain", {"n_rows": 2, "max_length": 4, "r_max": 16}, DataError, "8 tokens together.*more rows or a smaller r_max"),
        ("gradient", "labelled", {"modules": ()}, InputError, "at least one"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(models, files, strategy, data, options, error, sentence):
    model = models("bert")
    options = {"modules": modules_of(model), "n_rows": N_ROWS} | options
    with pytest.raises(error, match=sentence):
        module_scores(strategy, model, files[data] if data else None, **options)


def test_eva_needs_no_labels_and_no_classes(models, files):
    assert scores_of("eva", models("bert"), files["one-class"]).n_rows == N_ROWS


def test_modules_of_another_model_are_refused(models):
    with pytest.raises(ModelError, match=r"layers\.0.* lacks it; use its own modules"):
        scores_of("weight-spectrum", models("bert"), None, modules_of(models("llama")))
    with pytest.raises(ModelError, match=r"in the shape \[16, 32\]"):
        scores_of("weight-spectrum", models("llama"), None, modules_of(models("llama", num_key_value_heads=1)))


def test_no_strategy_at_all_is_one_sentence(models):
    with pytest.raises(InputError, match="No strategy"):
        all_module_scores((), models("bert"), None, modules_of(models("bert")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_one_sentence(models):
    with pytest.raises(InputError, match="sees no GPU"):
        scores_of("weight-spectrum", models("bert"), None, device="cuda")


def test_weights_that_are_missing_or_not_numbers_are_one_sentence(models, files, tmp_path):
    folder = save_tiny_model("bert", tmp_path / "bert")
    tensors = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.attention.self.query.weight"
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, folder / "model.safetensors", metadata={"format": "pt"})
    for strategy in SCORE_STRATEGIES:
        with pytest.raises(ModelError, match=r"query\.weight"):
            scores_of(strategy, str(folder), files["labelled"])
    save_file(tensors | {name: torch.full((32, 32), float("nan"))}, folder / "model.safetensors", metadata={"format": "pt"})
    for strategy in SCORE_STRATEGIES:
        with pytest.raises(GeloraError, match=r"NaN or infinite"):
            scores_of(strategy, str(folder), files["labelled"])


def a_record(**changes):
    fields = {
        "strategy": "eva",
        "scores": {"a": 0.1, "b": 0.9},
        "components": {"a": np.array([0.5, 1 / 3]), "b": np.array([0.25])},
        "model_id": "m",
        "revision": "r",
        "n_rows": 3,
        "detail": "So.",
        "seconds": 1.0,
    }
    return ModuleScores(**(fields | changes))


def test_a_file_of_the_gradient_s_first_definition_is_refused_and_one_of_another_strategy_is_read():
    old = json.loads(a_record().to_json())
    del old["definition"]
    assert ModuleScores.from_json(json.dumps(old)) == a_record()
    with pytest.raises(InputError, match="Measure them again"):
        ModuleScores.from_json(json.dumps(old | {"strategy": "gradient", "components": {}}))


def test_the_record_survives_json_and_its_time_is_no_part_of_it():
    record = a_record()
    assert ModuleScores.from_json(record.to_json()) == record
    assert record.digest() == a_record(seconds=7.0).digest() != a_record(n_rows=4).digest()
    assert not record.components["a"].flags.writeable


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"strategy": "uniform"}, "choose one of: gradient"),
        ({"scores": {"a": 0.5, "b": 0.6}}, "must sum to 1"),
        ({"scores": {"a": 0.0, "b": 0.0}}, "must sum to 1"),
        ({"scores": {"a": -0.1, "b": 1.1}}, "score of a is -0.1"),
        ({"scores": {"a": float("nan"), "b": 1.0}}, "score of a is nan"),
        ({"components": {"a": np.ones(1)}}, "exactly the modules"),
        ({"strategy": "fisher"}, "only eva and look-back have any"),
        ({"components": {"a": np.array([0.1, 0.2]), "b": np.ones(1)}}, "components of a"),
        ({"components": {"a": np.array([]), "b": np.ones(1)}}, "components of a"),
        ({"components": {"a": np.ones(1), "b": np.array([np.nan])}}, "components of b"),
        ({"n_rows": -1}, "n_rows is -1"),
        ({"strategy": "gradient", "components": {}}, "gradient are of definition 1.*present one is definition 2.*again"),
        ({"definition": 2}, "eva are of definition 2"),
    ],
)
def test_a_record_that_says_nothing_is_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        a_record(**changes)
