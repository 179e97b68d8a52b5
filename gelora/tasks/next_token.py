"""What causal language modelling and instruction tuning share: token losses, perplexity, and generated text.

Takes logits and labels, or generates; does not depend on where texts come from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gelora.tasks.encoding import IGNORED, logits_alone
from gelora.tasks.task import ShownExample


@dataclass(frozen=True)
class Prompt:
    """Tokens that a model goes on from: `given` and `truth` as text for the person."""

    ids: list[int]
    given: str
    truth: str


def reduce_next_token(outputs: Any, labels: Any) -> Any:
    """Logits [n_rows, n_tokens, vocabulary] -> float32 [n_rows, 3]: negative log likelihood in nats, tokens counted, tokens right.

    One row at a time, so that no second copy of the logits is made in float32.
    """
    import torch
    from torch.nn.functional import cross_entropy

    logits = logits_alone(outputs)
    kept = []
    for scores, truth in zip(logits[:, :-1], labels[:, 1:], strict=True):
        counted = truth != IGNORED
        scores, truth = scores[counted].float(), truth[counted]
        kept.append(torch.stack([cross_entropy(scores, truth, reduction="sum"), counted.sum(), (scores.argmax(-1) == truth).sum()]))
    return torch.stack(kept).float()


def next_token_scores(kept: Any, _labels: Any) -> dict[str, float]:
    """`loss`, the mean negative log likelihood of all counted tokens in nats, `perplexity`, its exp, and `token_accuracy`.

    `kept` is [n_rows, 3]. The Trainer's own mean of batches' means weighs a token by how few its batch has; `loss` replaces it.
    """
    nats, n_tokens, n_right = np.asarray(kept, dtype=np.float64).reshape(-1, 3).sum(axis=0)
    if n_tokens == 0:
        return dict.fromkeys(("loss", "perplexity", "token_accuracy"), float("nan"))
    with np.errstate(over="ignore"):
        mean = nats / n_tokens
        return {"loss": float(mean), "perplexity": float(np.exp(mean)), "token_accuracy": float(n_right / n_tokens)}


def generator(tokenizer: Any, prompts: Sequence[Prompt], n_new: int) -> Callable[[Any], list[ShownExample]]:
    """A function that lets a model go on from the prompts, at most `n_new` tokens each, always with the likeliest token.

    No random number is drawn, and the model is left in the mode in which it was.
    """

    def generate(model: Any) -> list[ShownExample]:
        import torch
        from transformers import GenerationConfig

        device = next(model.parameters()).device
        width = max(len(prompt.ids) for prompt in prompts)
        ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(prompt.ids)) + prompt.ids for prompt in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts], device=device)
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=n_new,
            use_cache=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        was_training = model.training
        model.eval()
        try:
            with torch.no_grad():
                answers = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        finally:
            model.train(was_training)
        texts = tokenizer.batch_decode(answers[:, width:], skip_special_tokens=True)
        return [ShownExample(prompt.given, prompt.truth, text.strip(), None) for prompt, text in zip(prompts, texts, strict=True)]

    return generate


def end_of_text(tokenizer: Any) -> int | None:
    """The token that ends a text."""
    found = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    return None if found is None else int(found)
