"""Resizing the adapters of a model in training, in place: ranks grown or cut, with Adam's moments carried over.

Changes PEFT's layers and config and the state of Adam; does not depend on dimensions, training loops or checkpoints.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel

from gelora.errors import InputError, ModelError
from gelora.ranks.peft.lora_checks import ADAPTER, adapted_layers
from gelora.ranks.peft.lora_names import listed, lora_arguments, names_in_model
from gelora.records import RankPlan

_MOMENTS = {"exp_avg": 1, "exp_avg_sq": 2, "max_exp_avg_sq": 2}
"""What Adam and AdamW keep for every number of a parameter, and which power of the gradient it is a mean of."""


@dataclass(frozen=True)
class Resized:
    """What became of one adapter.

    name: the module's in the plan; before, after: its ranks; dropped: what was cut off, as a share (0 to 1) of the
    Frobenius norm of B·A.
    """

    name: str
    before: int
    after: int
    dropped: float


def resize_adapters(peft_model: PeftModel, plan: RankPlan, generator: torch.Generator, optimizer: Any = None) -> tuple[Resized, ...]:
    """Give every adapter of a model the plan's rank, in place; call it between two optimizer steps.

    Growing leaves the function as it is: A gets random rows, drawn as PEFT draws A at the start, B columns of zeros.
    Cutting keeps the best approximation of B·A of the new rank (its singular value decomposition, truncated), the
    singular values split evenly between B and A; a direction whose singular value is zero would never learn again, so
    it is drawn as in growing. alpha / r stays. An adapter that has its rank already is not touched.

    The parameters stay the same objects in the same order, as in a model built with the plan; rank and alpha of
    `peft_config` and of the layers are rewritten, so that saving gives an adapter that PEFT loads.

    Of the optimizer's state, the mean of gradients is carried exactly: cutting writes the new A as a part of the old
    one's coordinates, and gradients follow by the chain rule. The mean of squared gradients follows as if the gradients
    of an adapter's directions were uncorrelated. New directions begin with a mean of zero, and with the mean of the
    kept directions' squares: with zeros, Adam, which corrects for a late start by the step count of the whole parameter,
    would move them by up to 6.5 learning rates a step. Step counts stay.

    Args:
        peft_model: a model that `apply_plan` made, of any device and precision.
        plan: the new ranks of the same modules, at least 1 each, alpha / r as it is.
        generator: on the CPU; of the new rows of A.
        optimizer: Adam, AdamW or a wrapper with its `state`; None when there is none yet.

    Returns:
        What changed, in the plan's order; empty when every rank was right already.

    Raises:
        InputError: a rank is 0, alpha / r differs, the adapters are of a kind that cannot be resized (DoRA, experts, an
            initialisation other than PEFT's default and gaussian), or the optimizer keeps what cannot be carried.
            Nothing is changed then.
        ModelError: the plan is of another model, or its modules are not those that have adapters.
    """
    config: LoraConfig = peft_model.peft_config[ADAPTER]
    names = _checked_names(peft_model, plan, config)
    base = peft_model.get_base_model()
    layers: dict[str, Any] = {name: base.get_submodule(full) for name, full in names.items()}
    changing = {name: layer for name, layer in layers.items() if layer.r[ADAPTER] != plan.ranks[name]}
    states = {} if optimizer is None else optimizer.state
    for layer in changing.values():
        for parameter in _parameters(layer):
            _check_state(states.get(parameter, {}), parameter)
    result = []
    with torch.no_grad():
        for name, layer in changing.items():
            before, after = layer.r[ADAPTER], plan.ranks[name]
            a, b = _parameters(layer)
            change = _change(a.detach(), b.detach(), after, _Rows(config.init_lora_weights, after, generator))
            for parameter, value, mapping, is_a in ((a, change.a, change.of_a, True), (b, change.b, change.of_b, False)):
                _carry(states.get(parameter, {}), mapping, is_a)
                parameter.data = value.to(parameter.dtype).contiguous()
                parameter.grad = None
            result.append(Resized(name, before, after, change.dropped))
    arguments = lora_arguments(plan, names)
    for name, layer in layers.items():
        layer.r[ADAPTER] = layer.lora_A[ADAPTER].out_features = layer.lora_B[ADAPTER].in_features = plan.ranks[name]
        layer.lora_alpha[ADAPTER] = arguments["alpha_pattern"].get(re.escape(names[name]), arguments["lora_alpha"])
        layer.scaling[ADAPTER] = layer.lora_alpha[ADAPTER] / layer.r[ADAPTER]
    for key in ("r", "lora_alpha", "rank_pattern", "alpha_pattern"):
        setattr(config, key, arguments[key])
    return tuple(result)


@dataclass(frozen=True)
class _Change:
    """New weights A' [r', in], B' [out, r'], and the maps [r', r] that give their gradients: of_a @ dA and dB @ of_b.T."""

    a: torch.Tensor
    b: torch.Tensor
    of_a: torch.Tensor
    of_b: torch.Tensor
    dropped: float


@dataclass(frozen=True)
class _Rows:
    """Draws rows of A as PEFT does for an adapter of rank `r`; where it makes A and B together, as it does by default."""

    init: Any
    r: int
    generator: torch.Generator

    def __call__(self, n_rows: int, like: torch.Tensor) -> torch.Tensor:
        rows = torch.empty(n_rows, like.shape[1], dtype=torch.float32)
        if self.init == "gaussian":
            rows.normal_(std=1 / self.r, generator=self.generator)
        else:  # kaiming_uniform_ with a = sqrt(5)
            bound = 1 / math.sqrt(like.shape[1])
            rows.uniform_(-bound, bound, generator=self.generator)
        return rows.to(like)


def _change(a: torch.Tensor, b: torch.Tensor, r: int, rows: _Rows) -> _Change:
    """The weights of rank r that stand for the same product, or for its best approximation."""
    if r >= len(a):
        eye = torch.eye(len(a), dtype=torch.float64, device=a.device)
        return _grown(_Change(a, b, eye, eye, 0.0), r, rows)
    q_b, r_b = torch.linalg.qr(b.double())  # the small matrix r_b r_a^T has the singular values of B·A
    q_a, r_a = torch.linalg.qr(a.double().T)
    u, values, v = torch.linalg.svd(r_b @ r_a.T)
    zero = values[0] * max(len(b), a.shape[1]) * torch.finfo(torch.float32).eps
    n = min(r, int((values > zero).sum()))
    left, right, root = q_b @ u[:, :n], q_a @ v[:n].T, values[:n].sqrt()
    # A' = of_b @ A and B' = B @ of_a.T, so the gradients of A' are of_a @ dA, those of B' are dB @ of_b.T.
    of_a = ((a.double() @ right) / root).T
    of_b = (left.T @ b.double()) / root[:, None]
    norm = float(values.norm())
    dropped = float(values[n:].norm()) / norm if norm > 0 else 0.0
    return _grown(_Change(((right * root).T).to(a), (left * root).to(b), of_a, of_b, dropped), r, rows)


def _grown(change: _Change, r: int, rows: _Rows) -> _Change:
    new = r - len(change.a)
    return _Change(
        torch.cat([change.a, rows(new, change.a)]),
        torch.cat([change.b, change.b.new_zeros(len(change.b), new)], dim=1),
        torch.cat([change.of_a, change.of_a.new_zeros(new, change.of_a.shape[1])]),
        torch.cat([change.of_b, change.of_b.new_zeros(new, change.of_b.shape[1])]),
        change.dropped,
    )


def _carry(state: dict[str, Any], mapping: torch.Tensor, is_a: bool) -> None:
    """Adam's moments of a parameter before its change as those after it; `state` is changed in place."""
    kept = mapping.any(dim=1)
    for key, power in _MOMENTS.items():
        if key in state:
            old = state[key] if is_a else state[key].T
            new = mapping**power @ old.double()
            if power == 2 and kept.any():
                new[~kept] = new[kept].mean(dim=0)
            state[key] = (new if is_a else new.T).to(state[key]).contiguous()


def _parameters(layer: Any) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    return layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight


def _check_state(state: dict[str, Any], parameter: torch.Tensor) -> None:
    odd = [key for key, value in state.items() if key not in _MOMENTS and torch.is_tensor(value) and value.numel() > 1]
    odd += [key for key, value in state.items() if key in _MOMENTS and value.shape != parameter.shape]
    if odd:
        raise InputError(f"The optimizer keeps {listed(odd)} of an adapter, which cannot be carried to another rank; use AdamW.")


def _checked_names(peft_model: PeftModel, plan: RankPlan, config: LoraConfig) -> dict[str, str]:
    """{name in the plan: name in the base model}, of a plan that the model's adapters can follow."""
    zero = [name for name, rank in plan.ranks.items() if rank == 0]
    if zero:
        raise InputError(f"The new rank of {listed(zero)} is 0, but an adapter needs at least 1; use an offset of at least 1.")
    kinds = {"DoRA": config.use_dora, "rank-stabilized LoRA": config.use_rslora, "LoRA with a bias": config.lora_bias}
    kinds["LoRA of experts"] = bool(config.target_parameters) or any(module.n_experts > 1 for module in plan.modules)
    kinds[f"init_lora_weights {config.init_lora_weights!r}"] = config.init_lora_weights not in (True, "gaussian")
    for kind, is_there in kinds.items():
        if is_there:
            raise InputError(f"Adapters of {kind} cannot be resized; use plain LoRA.")
    names = names_in_model(plan, peft_model.get_base_model())
    adapted: dict[str, Any] = adapted_layers(peft_model)
    if set(adapted) != set(names.values()):
        wrong = sorted(set(adapted) ^ set(names.values()))
        raise ModelError(f"The plan and the model's adapters are not of the same modules: {listed(wrong)}. Use a plan of this model.")
    for name, full in names.items():
        if adapted[full].merged:
            raise InputError(f"The adapter of {name} is merged into its weight; unmerge it first.")
        now, asked = adapted[full].scaling[ADAPTER], plan.alphas[name] / plan.ranks[name]
        if not math.isclose(now, asked, rel_tol=1e-6):
            raise InputError(f"alpha / r of {name} is {now:g}, the plan's is {asked:g}; it has to stay as it is.")
    return names
