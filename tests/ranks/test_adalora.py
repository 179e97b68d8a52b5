"""AdaLoRA at a plan's budget: PEFT's own choice where all modules have one shape, the budget kept where they have not."""

import dataclasses

import pytest
import torch
from peft import AdaLoraConfig, get_peft_model
from peft.tuners.adalora import AdaLoraLayer
from tiny_models import tiny_config, tiny_model
from transformers import AutoModelForSequenceClassification

from gelora.errors import InputError, ModelError
from gelora.ranks import allocate, apply_adalora, found_plan, to_adalora_config, uniform_ranks
from gelora.records import RankPlan
from gelora.sources import structure_of

STEPS = 20
TOKENS, LABELS = torch.arange(4, 52).reshape(6, -1), torch.tensor([0, 1, 2, 0, 1, 2])


def classifier(architecture: str):
    torch.manual_seed(0)
    config = tiny_config(architecture)
    config.num_labels = 3
    return AutoModelForSequenceClassification.from_config(config)


def plan_of(architecture: str, rank: int = 2, target_modules: str = "attention") -> RankPlan:
    return uniform_ranks(structure_of(tiny_model(architecture), architecture, "rev"), rank, target_modules)


def train(model, after_step, steps: int = STEPS) -> list[float]:
    torch.manual_seed(1)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for step in range(1, steps + 1):
        loss = model(input_ids=TOKENS, labels=LABELS).loss
        loss.backward()
        optimizer.step()
        after_step(step)
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def singular_values(model) -> dict[str, torch.Tensor]:
    return {name: m.lora_E["default"].detach().clone() for name, m in model.named_modules() if isinstance(m, AdaLoraLayer)}


def test_where_all_modules_have_one_shape_it_is_peft_s_own():
    plan = plan_of("bert")
    torch.manual_seed(5)
    ours = apply_adalora(classifier("bert"), plan, STEPS, task_type="SEQ_CLS")
    made = ours.peft_config["default"]
    assert (made.init_r, made.target_r, made.lora_alpha, made.tinit, made.tfinal, made.deltaT) == (3, 2, 96, 3, 8, 1)
    torch.manual_seed(5)
    theirs = get_peft_model(
        classifier("bert"),
        AdaLoraConfig(
            task_type="SEQ_CLS",
            target_modules=sorted(made.target_modules),
            **{name: getattr(made, name) for name in ("init_r", "target_r", "lora_alpha", "tinit", "tfinal", "deltaT", "total_step")},
        ),
    )
    a = train(ours, lambda step: allocate(ours, step))
    b = train(theirs, theirs.base_model.update_and_allocate)
    assert a == b
    ours_e, theirs_e = singular_values(ours), singular_values(theirs)
    assert all(torch.equal(ours_e[name], theirs_e[name]) for name in ours_e)
    assert sum(int((e != 0).sum()) for e in ours_e.values()) == 2 * len(plan.modules)


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_where_shapes_differ_the_plan_s_parameters_are_kept(architecture):
    plan = plan_of(architecture, 2, "all-linear")
    costs = {module.n_params_per_rank for module in plan.modules}
    assert len(costs) > 1
    model = apply_adalora(classifier(architecture), plan, STEPS)
    budgets = []
    train(model, lambda step: (allocate(model, step), budgets.append(found_plan(model, plan).n_adapter_params)))
    assert budgets[2] > plan.n_adapter_params  # it begins with more
    assert plan.n_adapter_params - min(costs) < budgets[-1] <= plan.n_adapter_params
    assert len(set(budgets[STEPS - 8 :])) == 1  # in the last phase nothing changes


def test_modules_of_rank_zero_take_part_and_alpha_over_r_is_the_plan_s():
    plan = plan_of("bert")
    ranks = {name: 0 if "layer.1." in name else 3 for name in plan.ranks}
    plan = dataclasses.replace(plan, ranks=ranks, alphas={name: 16.0 * r for name, r in ranks.items()})
    model = apply_adalora(classifier("bert"), plan, STEPS)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, AdaLoraLayer)}
    assert len(layers) == 12
    assert {float(m.scaling["default"] / m.ranknum["default"]) for m in layers.values()} == {16.0}


def test_the_loss_on_held_out_rows_has_no_term_of_adalora_s():
    model = apply_adalora(classifier("bert"), plan_of("bert"), STEPS)
    model.train()
    with torch.no_grad():
        trained_on = model(input_ids=TOKENS, labels=LABELS).loss
        model.eval()
        held_out = model(input_ids=TOKENS, labels=LABELS).loss
        plain = torch.nn.functional.cross_entropy(model(input_ids=TOKENS).logits, LABELS)
    assert torch.equal(held_out, plain)
    assert trained_on > held_out + 0.1


def test_what_it_cannot_do_is_said():
    plan = plan_of("bert")
    with pytest.raises(InputError, match="needs at least 10"):
        to_adalora_config(plan, classifier("bert"), 9)
    experts = dataclasses.replace(plan, modules=tuple(dataclasses.replace(m, n_experts=2) for m in plan.modules))
    with pytest.raises(InputError, match="cannot adapt parameters of experts"):
        to_adalora_config(experts, classifier("bert"), STEPS)
    with pytest.raises(ModelError, match="Every singular value of AdaLoRA is zero"):
        found_plan(apply_adalora(classifier("bert"), plan, STEPS), plan)
    model = apply_adalora(classifier("bert"), plan, STEPS)
    with pytest.raises(InputError, match="has a LoRA adapter already"):
        apply_adalora(model.get_base_model(), plan, STEPS)
