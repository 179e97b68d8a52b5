"""Which parts of a model are trained whole: what a checkpoint lacks, the head alone, the biases, everything.

These are the references that adapters are compared with. Does not depend on ranks, training loops or files.
"""

import warnings
from collections.abc import Iterable, Sequence

from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

from gelora.errors import ModelError
from gelora.ranks.peft.lora_checks import ADAPTER, HEADS_BY_TASK, check_fresh, check_saved, is_inside, saved_modules, trainable
from gelora.ranks.peft.lora_names import base_prefix, listed, matches


def modules_to_save(model: nn.Module, missing_keys: Iterable[str]) -> list[str]:
    """Names of the modules to train and save whole beside the adapter: what the checkpoint lacks, and the pooler.

    What the checkpoint lacks was filled with random numbers, which another process would draw again. PEFT itself saves
    only `classifier` and `score`; the random pooler of DeBERTa-v2 and the `head` of ModernBERT would be lost. A pooler
    is trained even where the checkpoint has one: frozen, it can make training collapse.

    Args:
        model: a model with a head, loaded from a base checkpoint.
        missing_keys: `missing_keys` of the loading info that `from_pretrained(..., output_loading_info=True)` returns
            (together with the names in its `mismatched_keys`, when mismatched sizes were allowed).

    Returns:
        Full module names, sorted; none inside another.

    Raises:
        ModelError: the checkpoint lacks weights inside the base model itself, or PEFT would take more modules than meant.
    """
    prefix = base_prefix(model)
    poolers = [name for name, module in model.named_modules() if matches("pooler", name) and list(module.parameters())]
    found, lacking = set(poolers), []
    for key in sorted(missing_keys):
        if any(key.startswith(f"{pooler}.") for pooler in poolers):
            continue
        if (prefix and key.startswith(f"{prefix}.")) or not prefix or "." not in key:
            lacking.append(key)
        else:
            found.add(key.split(".", 1)[0])
    if lacking:
        raise ModelError(
            f"The checkpoint lacks weights of the model itself: {listed(lacking)}. They would stay random and frozen; "
            "use a checkpoint of this very architecture."
        )
    names = sorted(found)
    # PEFT takes every module whose name ends with the text, even in the middle of a word.
    surplus = sorted(key for key, _ in model.named_modules() if key.endswith(tuple(names)) and key not in found) if names else []
    if surplus:
        raise ModelError(f"PEFT would also save {listed(surplus)} when told to save {', '.join(names)}.")
    return names


def head_modules(model: nn.Module, missing_keys: Iterable[str], task_type: str) -> list[str]:
    """Names of the modules that make up the head of a task, sorted: `modules_to_save` and what PEFT adds by itself.

    A causal language model's head came with the checkpoint and counts as part of the base; see `language_head`.

    Raises:
        ModelError: as `modules_to_save`.
    """
    ends = HEADS_BY_TASK.get(task_type, ())
    found = {*modules_to_save(model, missing_keys)}
    found |= {name for name, module in model.named_modules() if ends and name.endswith(ends) and list(module.parameters())}
    return sorted(name for name in found if not any(is_inside(name, other) for other in found - {name}))


def language_head(model: nn.Module) -> str:
    """Name of the map of a causal language model from hidden states to tokens.

    Raises:
        ModelError: the model has none.
    """
    find = getattr(model, "get_output_embeddings", None)
    head = find() if callable(find) else None
    name = next((name for name, module in model.named_modules() if head is not None and module is head), None)
    if name is None:
        raise ModelError(f"{type(model).__name__} has no language-model head that could be trained alone; choose method 'lora' or 'full'.")
    return name


def train_head_alone(model: nn.Module, modules_to_save: Sequence[str], task_type: str = "SEQ_CLS") -> PeftModel:
    """`model` with its blocks frozen and the named modules trained, as an adapter that adapts nothing.

    It is saved, checkpointed and loaded like any other adapter, so that a head-only run is the plain reference for one.
    Where a language model's head shares its weight with the embeddings, a copy of it is trained: the embeddings, and with
    them the hidden states, stay those of the checkpoint.

    Args:
        model: a model with a head.
        modules_to_save: its head, see `head_modules` and `language_head`; PEFT adds `classifier` and `score` to a
            classifier's by itself, and `qa_outputs` to that of question answering.
        task_type: PEFT's name for the task.

    Raises:
        InputError: the model has an adapter already.
        ModelError: PEFT trains something else than was asked.
    """
    check_fresh(model)
    saved = saved_modules(model, modules_to_save, [])
    config = LoraConfig(task_type=task_type, target_modules=DUMMY_TARGET_MODULES, modules_to_save=list(modules_to_save) or None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")  # the copy is meant
        peft_model = get_peft_model(model, config)
    check_saved(peft_model, saved, task_type)
    made = peft_model.peft_config[ADAPTER]
    if made.modules_to_save:
        made.modules_to_save = sorted(set(made.modules_to_save))
    return peft_model


def train_biases(model: nn.Module, head: Sequence[str]) -> tuple[int, int]:
    """Freeze all of `model` but its biases and its head, in place (BitFit; Ben Zaken et al. 2022, arXiv 2106.10199).

    Args:
        model: a plain transformers model.
        head: names of the modules that are trained whole; see `head_modules`.

    Returns:
        (parameters of biases outside the head, parameters of the head).

    Raises:
        ModelError: there are no biases outside the head.
    """
    biases: dict[str, int] = {}
    inside: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        in_head = any(is_inside(name, module) for module in head)
        parameter.requires_grad_(in_head or name.endswith(".bias"))
        if parameter.requires_grad:
            (inside if in_head else biases)[name] = parameter.numel()
    if not biases:
        raise ModelError(
            f"{type(model).__name__} has no biases, so that BitFit has nothing to train; choose method 'lora', 'head' or 'full'."
        )
    return sum(biases.values()), sum(inside.values())


def train_everything(model: nn.Module, head: Sequence[str]) -> tuple[int, int]:
    """Unfreeze all of `model`, in place: (parameters outside the head, parameters of the head); shared weights count once."""
    outside = inside = 0
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(True)
        if any(is_inside(name, module) for module in head):
            inside += parameter.numel()
        else:
            outside += parameter.numel()
    return outside, inside


def count_parameters(peft_model: PeftModel) -> tuple[int, int]:
    """Trainable parameters of the adapter and of everything else, the head: (n_adapter, n_head).

    Their sum is the first number of PEFT's own `get_nb_trainable_parameters()`.
    """
    adapter, head = trainable(peft_model)
    return sum(adapter.values()), sum(head.values())
