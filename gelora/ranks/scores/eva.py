"""EVA's explained variance of the inputs of linear maps, by PEFT's own classes: every component's share, before any budget.

`peft.get_eva_state_dict` gives only the ranks that it shares out under the budget of one config; these are the ratios
that it sorts for that. Does not depend on losses, labels or ranks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft.tuners.lora.eva import HashHook, SVDHook, find_equal_values, prepare_layer_inputs_fn_language_modeling

from gelora.errors import DataError, ModelError
from gelora.records import Progress, TargetModule

if TYPE_CHECKING:
    from torch import nn

    from gelora.sources import TokenizedSample

_TAU = 0.99
"""PEFT's default of the similarity at which a component counts as converged. Every row is read here, so none is left out for it."""


def input_components(
    base: "nn.Module", modules: Sequence[TargetModule], texts: "TokenizedSample", batch_size: int, r_max: int, report: Progress
) -> dict[str, np.ndarray]:
    """The share of the variance of each module's inputs along each of their first principal directions.

    One pass over all rows, padding left out, by PEFT's `SVDHook`; modules with equal inputs (q, k, v) share one, found by
    PEFT's `HashHook`. With `batch_size` >= the number of rows it is one singular value decomposition of them all.

    Args:
        base: the model without its head, in evaluation mode.
        modules: linear maps of it that are called with one state for every token.
        texts: the rows.
        batch_size: rows of a step, at least 1; more where so few rows have too few tokens for PEFT's decomposition.
        r_max: most directions for a module; no more than half its inputs (PEFT computes twice as many as it keeps) and
            than its smaller side.
        report: called with ("Inputs of the matrices", batches done, batches).

    Returns:
        float64 [n_components] by module name, descending.

    Raises:
        DataError: the rows have fewer than 2 * r_max tokens together, or a module's inputs are all equal, NaN or infinite.
        ModelError: a module is not called, or not with one state for every token.

    Source: Paischer et al. 2024, EVA, arXiv 2410.07170, section 3; peft.tuners.lora.eva.
    """
    n_components = {module.name: max(1, min(r_max, module.in_features // 2)) for module in modules}
    batches = _batches(texts, batch_size, 2 * max(n_components.values()))
    device = str(next(base.parameters()).device)

    hashes = {name: HashHook(name=name, prepare_layer_inputs_fn=_token_states, gather_distributed_inputs=False) for name in n_components}
    with _attached(base, hashes):
        _forward(base, texts, batches[0][:1], hashes, device)  # one row tells equal inputs from others
    silent = [name for name, hook in hashes.items() if not hook.hashed_inputs]
    if silent:
        raise ModelError(f"{silent[0]} is not called when the model runs, so it has no inputs to measure; leave it out.")
    groups = find_equal_values({name: hook.hashed_inputs[0] for name, hook in hashes.items()}).values()
    first_of = {name: group[0] for group in groups for name in group}

    hooks = {
        name: SVDHook(
            n_components=n,
            sim_thresh=_TAU,
            name=name,
            prepare_layer_inputs_fn=_token_states,
            gather_distributed_inputs=False,
        )
        for name, n in n_components.items()
        if first_of.get(name, name) == name
    }
    with _attached(base, hooks):
        for done, rows in enumerate(batches):
            report("Inputs of the matrices", done, len(batches))
            _forward(base, texts, rows, hooks, device)
    report("Inputs of the matrices", len(batches), len(batches))

    components = {}
    for module in modules:
        svd = hooks[first_of.get(module.name, module.name)].svd
        # Equal rows leave nothing but float32 rounding, some 1e-7 of their size.
        if not float(svd.var_.sum()) > 1e-12 * float(svd.mean_.square().sum()):
            raise DataError(f"The inputs of {module.name} are all equal, so no direction explains their variance; give other rows.")
        components[module.name] = svd.explained_variance_ratio_[: module.smaller_side].double().cpu().numpy()
    return components


def _batches(texts: "TokenizedSample", batch_size: int, n_tokens: int) -> list[np.ndarray]:
    """The rows in order, in groups of at least `batch_size` rows and `n_tokens` tokens; what is left joins the last."""
    total = int(texts.lengths.sum())
    if total < n_tokens:
        raise DataError(
            f"The {len(texts.lengths)} rows have {total} tokens together, and r_max {n_tokens // 2} needs {n_tokens}; give more rows or a "
            "smaller r_max."
        )
    batches: list[list[int]] = [[]]
    for row in range(len(texts.lengths)):
        if len(batches[-1]) >= batch_size and texts.lengths[batches[-1]].sum() >= n_tokens:
            batches.append([])
        batches[-1].append(row)
    if len(batches) > 1 and texts.lengths[batches[-1]].sum() < n_tokens:
        batches[-2] += batches.pop()
    return [np.array(rows) for rows in batches]


@contextmanager
def _attached(base: "nn.Module", hooks: dict[str, Any]) -> Iterator[None]:
    handles = [base.get_submodule(name).register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _forward(base: "nn.Module", texts: "TokenizedSample", rows: np.ndarray, hooks: dict[str, Any], device: str) -> None:
    inputs = texts.batch(rows, device)
    for hook in hooks.values():
        hook.model_input = inputs["attention_mask"]
    with torch.no_grad():
        base(**inputs)


def _token_states(layer_input: Any, mask: torch.Tensor, name: str) -> torch.Tensor:
    """The states of the tokens that are no padding, [n_tokens, in_features]; called by PEFT's hooks."""
    states = layer_input[0] if isinstance(layer_input, tuple) and layer_input else layer_input
    shape = tuple(getattr(states, "shape", ()))
    if shape[:-1] == tuple(mask.shape):
        tokens = prepare_layer_inputs_fn_language_modeling(states, mask.nonzero(), name)
    elif shape[:-1] == (mask.numel(),):  # texts and tokens in one axis
        tokens = states[mask.flatten().bool()]
    else:
        raise ModelError(
            f"{name} is called with inputs of shape {list(shape)} for {list(mask.shape)} texts and tokens, not with one state for every "
            "token; leave it out, or choose another strategy."
        )
    if not torch.isfinite(tokens).all():
        raise DataError(f"The inputs of {name} are NaN or infinite; choose another checkpoint or other data.")
    return tokens
