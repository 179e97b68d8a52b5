"""How an instruction is put to a model: by its tokenizer's chat template, else under the headings that Alpaca made usual.

Knows texts and templates; knows nothing of tokens' labels, models or data.
"""

from typing import Any

from gelora.errors import ModelError


def prompt_and_answer(tokenizer: Any, instruction: str, given: str, answer: str) -> tuple[str, str, bool]:
    """(prompt, answer with what ends it, whether special tokens stand in the text already).

    Args:
        tokenizer: with or without a chat template.
        instruction: what is to be done.
        given: what it is to be done with, "" for nothing.
        answer: what the model is to say.

    Raises:
        ModelError: the chat template cannot take a question and an answer.
    """
    if not tokenizer.chat_template:
        about = f"### Input:\n{given}\n\n" if given else ""
        return f"### Instruction:\n{instruction}\n\n{about}### Response:\n", answer, False
    question = {"role": "user", "content": f"{instruction}\n\n{given}" if given else instruction}
    from jinja2 import TemplateError

    try:
        prompt = tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([question, {"role": "assistant", "content": answer}], tokenize=False)
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise ModelError(f"The chat template of this tokenizer cannot be used ({str(error)[:200]}); choose another model.") from error
    # Some templates write more into the prompt of a new answer than into an old one (an opened thinking part).
    return (prompt, whole[len(prompt) :], True) if whole.startswith(prompt) else (prompt, answer, True)
