"""Adapters in training get other ranks: the function stays where it can, Adam's state goes along, PEFT loads the result."""

import copy

import pytest
import torch
from peft import PeftModel
from tiny_models import tiny_config, tiny_model
from transformers import AutoModelForSequenceClassification

from gelora.errors import InputError, ModelError
from gelora.ranks import allocate_ranks, apply_plan, plan_with_ranks, reallocated_plan, resize_adapters, rule_ranks, uniform_ranks
from gelora.sources import structure_of

CURVE = [10.0, 12.5, 11.0, 13.2]  # ranks 4, 1, 4 with offset 1
HEADS = {"bert": ["bert.pooler", "classifier"], "gpt2": ["score"], "llama": ["score"]}


def classifier(architecture: str):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = tiny_config(architecture)
        config.num_labels = 3
        config.pad_token_id = 0
        model = AutoModelForSequenceClassification.from_config(config)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # so that a few rows are learnt in a few steps
    return model


def batch(seed: int, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 300, (8, 12), generator=generator)
    ids = ids.to(device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 3] % 3}


def logits(model):
    model.eval()
    with torch.no_grad():
        return model(**batch(99, model.device)).logits


def train(model, optimizer, n_steps: int, autocast=False) -> list[float]:
    model.train()
    losses = []
    for step in range(n_steps):
        with torch.autocast(model.device.type, torch.bfloat16, enabled=autocast):
            loss = model(**batch(step % 4, model.device)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def adam(model, **options):
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4, **options)


def by_block(plan, ranks: dict[int, int]):
    return plan_with_ranks(plan, {module.name: ranks[module.block] for module in plan.modules})


def layers(model, plan) -> list:
    inside = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    return [next(m for key, m in inside.items() if key.endswith(module.name)) for module in plan.modules]


def update(layer) -> torch.Tensor:
    return (layer.lora_B["default"].weight @ layer.lora_A["default"].weight).detach().double()


@pytest.fixture(scope="module", params=["bert", "gpt2", "llama"])
def trained_once(request, make_profile):
    """A plan of mixed ranks, and its model and optimizer after 20 steps."""
    architecture = request.param
    structure = structure_of(tiny_model(architecture), architecture, "rev")
    plan = allocate_ranks(make_profile(CURVE, structure), "all-linear")
    model = apply_plan(classifier(architecture), plan, task_type="SEQ_CLS", modules_to_save=HEADS[architecture])
    optimizer = adam(model)
    train(model, optimizer, 20)
    assert sorted(set(plan.ranks.values())) == [1, 4]
    assert all(layer.lora_B["default"].weight.abs().max() > 1e-4 for layer in layers(model, plan))
    return architecture, plan, model, optimizer


@pytest.fixture
def trained(trained_once):
    architecture, plan, model, optimizer = trained_once
    model, optimizer = copy.deepcopy((model, optimizer))
    return architecture, plan, model, optimizer


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


def test_growing_leaves_the_function_as_it_is(trained, generator):
    _, plan, model, optimizer = trained
    before = logits(model)
    bigger = by_block(plan, {1: 5, 2: 3, 3: 4})
    done = resize_adapters(model, bigger, generator, optimizer)
    assert torch.allclose(logits(model), before, atol=1e-5, rtol=0)
    assert {r.name: (r.before, r.after) for r in done} == {m.name: {1: (4, 5), 2: (1, 3)}[m.block] for m in plan.modules if m.block < 3}
    assert all(r.dropped == 0 for r in done)
    for module, layer in zip(plan.modules, layers(model, plan), strict=True):
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        old, r = plan.ranks[module.name], bigger.ranks[module.name]
        assert (a.shape, b.shape) == ((r, module.in_features), (module.out_features, r))
        assert a[old:].std() > 0.2 * module.in_features**-0.5 if r > old + 1 else True
        assert not b[:, old:].any()


def test_cutting_to_the_true_rank_leaves_the_function_as_it_is(trained, generator):
    _, plan, model, optimizer = trained
    before = logits(model)
    resize_adapters(model, by_block(plan, {1: 9, 2: 6, 3: 7}), generator, optimizer)
    done = resize_adapters(model, plan, generator, optimizer)
    assert torch.allclose(logits(model), before, atol=1e-5, rtol=0)
    assert len(done) == len(plan.modules) and all(r.dropped < 1e-6 for r in done)


def test_what_is_cut_off_are_the_smallest_singular_values(trained, generator):
    _, plan, model, _ = trained
    before = [update(layer) for layer in layers(model, plan)]
    done = {r.name: r for r in resize_adapters(model, by_block(plan, {1: 2, 2: 1, 3: 3}), generator)}
    for module, old, layer in zip(plan.modules, before, layers(model, plan), strict=True):
        values = torch.linalg.svdvals(old)
        r = {1: 2, 2: 1, 3: 3}[module.block]
        error = (update(layer) - old).norm()
        lost = values[r:].norm()
        assert torch.isclose(error, lost, rtol=1e-3, atol=1e-6 * values.norm())
        if module.block != 2:
            assert done[module.name].dropped == pytest.approx(float(lost / values.norm()), rel=1e-3, abs=1e-6)
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            assert torch.allclose(a.norm(dim=1), b.norm(dim=0), rtol=1e-4)  # split evenly


def test_saved_adapter_loads_in_plain_peft(trained, generator, tmp_path):
    architecture, plan, model, optimizer = trained
    resize_adapters(model, by_block(plan, {1: 2, 2: 5, 3: 4}), generator, optimizer)
    train(model, optimizer, 2)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(classifier(architecture), tmp_path)
    assert torch.equal(logits(loaded), logits(model))


def test_parameters_and_config_are_those_of_a_model_built_with_the_plan(trained, generator, tmp_path):
    architecture, plan, model, optimizer = trained
    new = by_block(plan, {1: 2, 2: 5, 3: 4})
    resize_adapters(model, new, generator, optimizer)
    built = apply_plan(classifier(architecture), new, task_type="SEQ_CLS", modules_to_save=HEADS[architecture])
    assert [(n, p.shape, p.requires_grad) for n, p in model.named_parameters()] == [
        (n, p.shape, p.requires_grad) for n, p in built.named_parameters()
    ]
    ours, theirs = (m.peft_config["default"].to_dict() for m in (model, built))
    assert ours == theirs
    for one, other in zip(layers(model, plan), layers(built, plan), strict=True):
        for name in ("r", "lora_alpha", "scaling"):
            assert getattr(one, name) == getattr(other, name)
        assert repr(one) == repr(other)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")  # as the Trainer does it
    resumed = adam(built)
    resumed.load_state_dict(torch.load(tmp_path / "optimizer.pt"))
    built.load_state_dict(model.state_dict())
    assert train(built, resumed, 5) == train(model, optimizer, 5)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), built.parameters(), strict=True))


def test_growing_keeps_adam_s_state_of_what_stays(trained, generator):
    _, plan, model, optimizer = trained
    before = [[dict(optimizer.state[p]) for p in (x.lora_A["default"].weight, x.lora_B["default"].weight)] for x in layers(model, plan)]
    resize_adapters(model, by_block(plan, {1: 6, 2: 3, 3: 4}), generator, optimizer)
    for module, (old_a, old_b), layer in zip(plan.modules, before, layers(model, plan), strict=True):
        r = plan.ranks[module.name]
        for old, parameter, rows in ((old_a, layer.lora_A["default"].weight, True), (old_b, layer.lora_B["default"].weight, False)):
            new = optimizer.state[parameter]
            assert new["step"] == old["step"] == 20
            mean, square = (new[key] if rows else new[key].T for key in ("exp_avg", "exp_avg_sq"))
            old_mean, old_square = (old[key] if rows else old[key].T for key in ("exp_avg", "exp_avg_sq"))
            assert new["exp_avg"].shape == new["exp_avg_sq"].shape == parameter.shape
            assert torch.equal(mean[:r], old_mean) and torch.equal(square[:r], old_square)
            assert not mean[r:].any()
            assert torch.allclose(square[r:], old_square.mean(dim=0).expand_as(square[r:]))


def test_cutting_turns_the_mean_gradient_into_that_of_the_new_weights(trained, generator):
    _, plan, model, optimizer = trained
    resize_adapters(model, by_block(plan, {1: 6, 2: 3, 3: 6}), generator, optimizer)  # two directions too many each, B zero there
    model.eval()
    model(**batch(5)).loss.backward()
    for layer in layers(model, plan):
        for weight in (layer.lora_A["default"].weight, layer.lora_B["default"].weight):
            optimizer.state[weight]["exp_avg"] = weight.grad.clone()
    resize_adapters(model, plan, generator, optimizer)  # the same function in fewer directions
    assert all(weight.grad is None for x in layers(model, plan) for weight in (x.lora_A["default"].weight, x.lora_B["default"].weight))
    model.zero_grad()
    model(**batch(5)).loss.backward()
    for layer in layers(model, plan):
        for weight in (layer.lora_A["default"].weight, layer.lora_B["default"].weight):
            carried = optimizer.state[weight]["exp_avg"]
            assert torch.allclose(carried, weight.grad, rtol=1e-3, atol=1e-4 * float(weight.grad.abs().max()))
            assert (optimizer.state[weight]["exp_avg_sq"] >= 0).all()


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
def test_training_goes_on(trained, generator, autocast):
    _, plan, model, optimizer = trained
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 / (1 + step / 200))
    resize_adapters(model, by_block(plan, {1: 2, 2: 6, 3: 5}), generator, optimizer)
    grown = layers(model, plan)[len(plan.modules) // 2].lora_B["default"].weight
    losses = train(model, optimizer, 40, autocast)
    scheduler.step()
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])
    assert grown[:, 1:].abs().max() > 1e-4  # the new directions learn


def test_fused_adam_goes_on(trained, generator):
    _, plan, model, _ = trained
    optimizer = adam(model, fused=True)
    train(model, optimizer, 3)
    resize_adapters(model, by_block(plan, {1: 2, 2: 6, 3: 5}), generator, optimizer)
    losses = train(model, optimizer, 40)
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_resized_on_a_gpu_with_fused_adam_in_bfloat16(trained, generator):
    _, plan, model, _ = trained
    model.cuda()
    optimizer = adam(model, fused=True)
    train(model, optimizer, 3, autocast=True)
    before = logits(model)
    resize_adapters(model, by_block(plan, {1: 6, 2: 3, 3: 7}), generator, optimizer)
    assert torch.allclose(logits(model), before, atol=1e-5, rtol=0)
    resize_adapters(model, plan, generator, optimizer)
    assert torch.allclose(logits(model), before, atol=1e-5, rtol=0)
    resize_adapters(model, by_block(plan, {1: 2, 2: 6, 3: 5}), generator, optimizer)
    assert all(value.is_cuda for state in optimizer.state.values() for value in state.values())
    losses = train(model, optimizer, 40, autocast=True)
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])


def test_same_seed_gives_the_same_weights_and_no_other_generator_is_drawn_from(trained):
    _, plan, model, _ = trained
    twin = copy.deepcopy(model)
    bigger = by_block(plan, {1: 6, 2: 6, 3: 6})
    state = torch.get_rng_state()
    resize_adapters(model, bigger, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)
    resize_adapters(twin, bigger, torch.Generator().manual_seed(3))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def bert_with(r: int, **options):
    structure = structure_of(tiny_model("bert"), "bert", "rev")
    plan = uniform_ranks(structure, r)
    return plan, apply_plan(classifier("bert"), plan, **options)


def test_directions_that_hold_nothing_are_drawn_anew(generator):
    plan, model = bert_with(4)  # not trained: B is zero, so its decomposition says nothing of A
    resize_adapters(model, by_block(plan, dict.fromkeys((1, 2, 3), 2)), generator)
    for layer in layers(model, plan):
        assert layer.lora_A["default"].weight.abs().max() > 0.05
        assert not layer.lora_B["default"].weight.any()


def test_gaussian_rows_have_peft_s_spread(generator):
    plan, model = bert_with(2, init_lora_weights="gaussian")
    resize_adapters(model, by_block(plan, dict.fromkeys((1, 2, 3), 8)), generator)
    new = torch.cat([layer.lora_A["default"].weight[2:].flatten() for layer in layers(model, plan)])
    assert float(new.detach().std()) == pytest.approx(1 / 8, rel=0.1)


def test_what_cannot_be_resized_is_refused_and_left_alone(generator):
    plan, model = bert_with(2)
    bigger = by_block(plan, dict.fromkeys((1, 2, 3), 4))
    without_block_1 = uniform_ranks(structure_of(tiny_model("bert"), "bert", "rev"), 2, [m.name for m in plan.modules if m.block > 1])
    other_scaling = uniform_ranks(structure_of(tiny_model("bert"), "bert", "rev"), 4, scaling=16.0)
    sgd = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
    model.train()
    model(**batch(0)).loss.backward()
    sgd.step()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for error, message, arguments in (
        (InputError, r"rank of encoder.* is 0", (by_block(plan, {1: 0, 2: 4, 3: 4}), generator)),
        (InputError, "alpha / r of .* is 32, the plan's is 16", (other_scaling, generator)),
        (InputError, "momentum_buffer", (bigger, generator, sgd)),
        (ModelError, "not of the same modules", (without_block_1, generator)),
    ):
        with pytest.raises(error, match=message):
            resize_adapters(model, *arguments)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    plan, dora = bert_with(2, use_dora=True)
    with pytest.raises(InputError, match="DoRA"):
        resize_adapters(dora, bigger, generator)
    plan, orthogonal = bert_with(2, init_lora_weights="orthogonal")
    with pytest.raises(InputError, match="orthogonal"):
        resize_adapters(orthogonal, bigger, generator)


def test_reallocated_plan_is_the_rule_on_the_present_curve(make_structure, make_profile):
    structure = make_structure(3)
    plan = allocate_ranks(make_profile(CURVE, structure), offset=2)
    now = make_profile([10.0, 10.5, 30.0, None], structure)
    assert set(rule_ranks(plan, now).items()) == {(m.name, {1: 3, 2: 8, 3: 2}[m.block]) for m in plan.modules}  # 8: smaller side
    new = reallocated_plan(plan, now)
    assert new.ranks == rule_ranks(plan, now)
    assert all(new.alphas[name] == 32 * new.ranks[name] for name in new.ranks)
    assert (new.strategy, new.offset, new.profile_digest) == ("gelora", 2, now.digest())
    assert set(new.block_notes) == {3}
    uniform = uniform_ranks(structure, 4, scaling=2.0)
    assert reallocated_plan(uniform, now).block_ranks() == {1: 2, 2: 8, 3: 1}
    assert reallocated_plan(uniform, now).alphas["layers.0.q"] == 4.0


def test_plan_that_may_take_an_adapter_away_is_not_renewed(make_structure, make_profile):
    now = make_profile(CURVE, make_structure(3))
    with pytest.raises(InputError, match=r"4 of 12 modules have rank 0.* offset of at least 1"):
        reallocated_plan(allocate_ranks(now, offset=0), now)
    rising = make_profile([1.0, 2.0, 3.0, 4.0], make_structure(3))
    with pytest.raises(InputError, match="Offset 0 may give rank 0"):
        reallocated_plan(allocate_ranks(rising, offset=0), rising)
