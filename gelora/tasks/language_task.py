"""A language modelling task made of rows and prompts: model with its language head, perplexity, generation.

Holds what causal language modelling and instruction tuning have in common; does not depend on their rows.
"""

from collections.abc import Iterable, Sequence

from gelora.errors import ModelError
from gelora.sources import HeadedModel, load_causal_lm, model_structure
from gelora.tasks.encoding import by_length, check_vocabulary, padding_collator
from gelora.tasks.material import Material
from gelora.tasks.next_token import Prompt, generator, next_token_scores, reduce_next_token
from gelora.tasks.splitting import digest_of
from gelora.tasks.task import Row, Task


def load_language_model(material: Material, notes: list[str]) -> HeadedModel:
    """The model with its language head.

    Raises:
        ModelError: it is an encoder, whose tokens see those that come after, has no causal form, or cannot pad.
    """
    entry, tokenizer = material.entry, material.tokenizer
    if not model_structure(material.spec.model).is_decoder:
        raise ModelError(
            f"{entry.model_id} is an encoder, whose tokens see those that they would have to guess; choose a decoder (GPT-2, Llama, …) "
            f"for {material.kind}, or a task with labels."
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(f"The tokenizer of {entry.model_id} has no padding token, so that texts cannot be batched; choose another model.")
    headed = load_causal_lm(entry, material.spec.seed)
    headed.model.config.pad_token_id = tokenizer.pad_token_id
    if headed.random_keys:
        notes.append(f"the checkpoint has no language head; {', '.join(headed.random_keys)} was drawn at random and has to be learned")
    return headed


def language_task(
    material: Material,
    headed: HeadedModel,
    train: list[Row],
    held_out: list[Row],
    prompts: Sequence[Prompt],
    n_new: int,
    texts: Iterable[str],
    notes: Sequence[str],
) -> Task:
    """The task of rows whose `labels` are tokens; prompts are what the model goes on from, by `n_new` tokens, to be shown."""
    check_vocabulary([*train, *held_out], headed.model, material.entry)
    return Task(
        kind=material.kind,
        model=headed.model,
        tokenizer=material.tokenizer,
        entry=material.entry,
        train=train,
        held_out=[held_out[i] for i in by_length(held_out)],
        collate=padding_collator(material.tokenizer),
        reduce=reduce_next_token,
        score=next_token_scores,
        show=lambda _kept: [],
        main_metric="eval_perplexity",
        higher_is_better=False,
        label_names=None,
        majority_accuracy=None,
        random_keys=headed.random_keys,
        reloaded_keys=bool(headed.mismatched_keys),
        peft_task_type="CAUSAL_LM",
        auto_class="AutoModelForCausalLM",
        texts_digest=digest_of(texts),
        notes=tuple(notes),
        generate=generator(material.tokenizer, prompts, n_new) if prompts else None,
    )
