"""A base checkpoint with a task head on it: sequence classifier (or regression), question answerer, causal language model.

Says which weights the checkpoint lacks, which are then random numbers. Does not depend on adapters, training or scores.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gelora.errors import ModelError
from gelora.sources.catalog import ModelEntry
from gelora.sources.loading import load_errors, quiet

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class HeadedModel:
    """A model with its head, float32 on the CPU, and what of it is random.

    missing_keys, mismatched_keys: names of parameters that the checkpoint lacks, or has in another size; sorted.
    """

    model: Any
    missing_keys: tuple[str, ...]
    mismatched_keys: tuple[str, ...]

    @property
    def random_keys(self) -> tuple[str, ...]:
        """All parameters that were drawn instead of loaded."""
        return tuple(sorted({*self.missing_keys, *self.mismatched_keys}))


def load_classifier(entry: ModelEntry, tokenizer: Any, label_names: tuple[str, ...] | None, seed: int) -> HeadedModel:
    """The checkpoint as a sequence classifier, or for regression, with a head drawn from `seed` where it has none that fits.

    Torch's CPU generator is seeded and goes on from there, so that an adapter that is made next is seeded too; whoever
    has to leave the generator as it was forks it (`torch.random.fork_rng`).

    Args:
        entry: from `find_model`.
        tokenizer: the model's, with a padding token, whose id the model is told.
        label_names: of the classes, in the order of their numbers; None for regression (one output).
        seed: of the head, at least 0.

    Raises:
        ModelError, InputError: the model has no classification form, its weights cannot be read, or the tokenizer cannot pad.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    _check_padding(entry, tokenizer)
    options: dict[str, Any] = {"num_labels": 1, "problem_type": "regression"}
    if label_names:
        labels = {"id2label": dict(enumerate(label_names)), "label2id": {name: i for i, name in enumerate(label_names)}}
        options = {"num_labels": len(label_names), "problem_type": "single_label_classification", **labels}
    torch.default_generator.manual_seed(seed)
    with load_errors(entry, "sequence classifier"), quiet():
        model, info = AutoModelForSequenceClassification.from_pretrained(
            entry.path, ignore_mismatched_sizes=True, **_always(entry), **options
        )
    model.config.pad_token_id = tokenizer.pad_token_id
    return _headed(entry, model, info)


def load_question_answerer(entry: ModelEntry, tokenizer: Any, seed: int) -> HeadedModel:
    """The checkpoint with two outputs a token, the start and the end of an answer; drawn from `seed` where it has none.

    Torch's CPU generator is seeded and goes on from there, as in `load_classifier`.

    Args:
        entry: from `find_model`.
        tokenizer: the model's, with a padding token, whose id the model is told.
        seed: of the head, at least 0.

    Raises:
        ModelError, InputError: the model has no such form, its weights cannot be read, or the tokenizer cannot pad.
    """
    import torch
    from transformers import AutoModelForQuestionAnswering

    _check_padding(entry, tokenizer)
    torch.default_generator.manual_seed(seed)
    with load_errors(entry, "question answering model"), quiet():
        model, info = AutoModelForQuestionAnswering.from_pretrained(entry.path, ignore_mismatched_sizes=True, **_always(entry))
    model.config.pad_token_id = tokenizer.pad_token_id
    return _headed(entry, model, info)


def load_causal_lm(entry: ModelEntry, seed: int) -> HeadedModel:
    """The checkpoint as a causal language model, with a head drawn from `seed` where it has none and shares no embeddings.

    Torch's CPU generator is seeded and goes on from there, as in `load_classifier`.

    Args:
        entry: from `find_model`.
        seed: of the head, at least 0.

    Raises:
        ModelError, InputError: the model has no causal form, or its weights cannot be read.
    """
    import torch
    from transformers import AutoModelForCausalLM

    torch.default_generator.manual_seed(seed)
    with load_errors(entry, "causal language model"), quiet():
        model, info = AutoModelForCausalLM.from_pretrained(entry.path, **_always(entry))
    return _headed(entry, model, info)


def longest_input(wanted: int, tokenizer: Any, config: Any, model: "nn.Module | None" = None) -> int:
    """The wanted length in tokens, cut to what tokenizer and position embeddings can hold.

    With the model itself, the positions that RoBERTa and its kin keep for padding count as taken.
    """
    positions = getattr(config, "max_position_embeddings", None) or math.inf
    for name, module in model.named_modules() if model is not None else ():
        padding = getattr(module, "padding_idx", None)
        if name.rpartition(".")[2] == "position_embeddings" and padding is not None:
            positions = min(positions, int(module.num_embeddings) - padding - 1)
    return int(min(wanted, tokenizer.model_max_length or math.inf, positions))


def _check_padding(entry: ModelEntry, tokenizer: Any) -> None:
    if tokenizer.pad_token_id is None:
        raise ModelError(f"The tokenizer of {entry.model_id} has no padding token, so that texts cannot be batched; choose another model.")


def _always(entry: ModelEntry) -> dict[str, Any]:
    import torch

    options: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True, "trust_remote_code": False}
    return options | ({"use_safetensors": True} if entry.origin == "bundled" else {})


def _headed(entry: ModelEntry, model: Any, info: dict[str, Any]) -> HeadedModel:
    config: Any = model.config
    if getattr(config, "use_cache", False):
        config.use_cache = False  # keys and values of past tokens serve generation, and here only cost memory
    mismatched = sorted(key if isinstance(key, str) else key[0] for key in info["mismatched_keys"])
    headed = HeadedModel(model, tuple(sorted(info["missing_keys"])), tuple(mismatched))
    # A pooler belongs to the head, since many checkpoints have none; a block that is random is no pretrained model. So it would
    # be with Llama's own form for question answering, which looks for the blocks of a language model under another name.
    lacking = [key for key in headed.random_keys if key.startswith(f"{model.base_model_prefix}.") and "pooler" not in key]
    if lacking:
        raise ModelError(
            f"The weights of {entry.model_id} do not fit {type(model).__name__}: {len(lacking)} of the model itself are missing or have "
            f"another size, such as {lacking[0]}. Choose another checkpoint, or for question answering an encoder."
        )
    return headed
