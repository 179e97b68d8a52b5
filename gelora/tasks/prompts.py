"""A conversation as a prompt, and which of its characters are the model's answers: by its tokenizer's chat template, else
under the headings that Alpaca made usual.

Works on messages, texts and templates; does not depend on tokens' labels, models or data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gelora.errors import ModelError

Message = dict[str, str]
"""{"role": "system", "user" or "assistant", "content": text}, as chat templates take it."""


Write = Callable[[Sequence[Message], bool], str]
"""Messages, and whether a new answer is asked for, as text."""


class RefusedConversation(ModelError):
    """The chat template does not take these messages."""


@dataclass(frozen=True)
class Conversation:
    """A conversation as the model reads it.

    text: of all messages; answers: (start, end) of the characters of each assistant turn, from where the model begins to write to
    what ends its turn; prompt: what stands before the first answer when it is asked for; adds_special: whether the tokenizer
    has yet to add its own special tokens; end_added: whether the template ends no answer and the end-of-text token was put there.
    """

    text: str
    answers: tuple[tuple[int, int], ...]
    prompt: str
    adds_special: bool
    end_added: bool


def question(tokenizer: Any, instruction: str, given: str) -> str:
    """The user's message: what is to be done and what it is to be done with ("" for nothing)."""
    between = "\n\n" if tokenizer.chat_template else "\n\n### Input:\n"
    return f"{instruction}{between}{given}" if given else instruction


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system's words at the beginning of the user's first, for templates that take no system message."""
    system, first, *others = messages
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *others]


def conversation(tokenizer: Any, messages: Sequence[Message]) -> Conversation:
    """The text of messages and where its answers are: every turn of the assistant is one.

    An answer begins where the prompt of a new answer ends, and ends with the token that ends the turn in the template; white
    space after that token is no part of it. A template that marks no end gets the tokenizer's end-of-text token there.

    Args:
        tokenizer: with or without a chat template.
        messages: with an answer in them.

    Raises:
        RefusedConversation: the chat template cannot take these messages.
    """
    write = _by_template(tokenizer) if tokenizer.chat_template else _under_headings(tokenizer)
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    whole, before, after = write(messages, False), *_around(write, messages, answers)
    end = _end_of_turn(tokenizer, after[-1])
    prompts = [write(messages[:i], True) for i in answers]
    spans: list[tuple[int, int]] = []
    place = len(before)
    for i, prompt, follows in zip(answers, prompts, after, strict=True):
        stop = place + len(messages[i]["content"].strip())
        if i == answers[-1]:
            stop = len(whole) - len(follows)
        elif not whole.startswith(follows, stop):  # the template writes a part of the answer only, such as what comes after thinking
            stop = whole.find(follows, place)
        if stop < place or not whole.startswith(follows, stop):
            raise RefusedConversation("The chat template of this tokenizer writes answers in no fixed place; choose another model.")
        is_prompt = whole.startswith(prompt) and (spans[-1][1] if spans else 0) <= len(prompt) <= place
        spans.append((len(prompt) if is_prompt else place, stop + len(end) * follows.startswith(end)))
        place = stop + len(follows)
    added = "" if end else _end_of_text(tokenizer)
    if added:
        whole = whole[: spans[-1][1]] + added
        spans[-1] = (spans[-1][0], len(whole))
    return Conversation(whole, tuple(spans), prompts[0], not tokenizer.chat_template, bool(added))


def _around(write: Write, messages: Sequence[Message], answers: Sequence[int]) -> tuple[str, list[str]]:
    """What the template writes before the first answer and after each, found by words of our own in the answers' place."""
    marks = {i: f"answer-{i}-stands-here" for i in answers}
    rest = write([{**message, "content": marks.get(i, message["content"])} for i, message in enumerate(messages)], False)
    parts = []
    for mark in marks.values():
        part, found, rest = rest.partition(mark)
        if not found:
            raise RefusedConversation("The chat template of this tokenizer leaves answers out; choose another model.")
        parts.append(part)
    return parts[0], [*parts[1:], rest]


def _end_of_text(tokenizer: Any) -> str:
    return tokenizer.eos_token or tokenizer.sep_token or ""


def _end_of_turn(tokenizer: Any, tail: str) -> str:
    """What of the text after the last answer ends it: up to the first token of its own, else without the white space at its end."""
    own = {str(token) for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    found = [(tail.index(token), -len(token)) for token in own if token.strip() and token in tail]
    if not found:
        return tail.rstrip()
    place, length = min(found)
    return tail[: place - length]


def _by_template(tokenizer: Any) -> Write:
    from jinja2 import TemplateError

    def write(messages: Sequence[Message], asks: bool) -> str:
        try:
            text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=asks)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise RefusedConversation(
                f"The chat template of this tokenizer cannot be used ({str(error)[:200]}); choose another model."
            ) from error
        return text

    return write


def _under_headings(tokenizer: Any) -> Write:
    end = _end_of_text(tokenizer)
    headings = {"system": "", "user": "### Instruction:\n", "assistant": "### Response:\n"}

    def write(messages: Sequence[Message], asks: bool) -> str:
        parts = [headings[message["role"]] + message["content"] + (end if message["role"] == "assistant" else "") for message in messages]
        return "\n\n".join(parts + [headings["assistant"]] * asks)

    return write
