"""Chats in a table: whole, for who learns their answers, and as columns of their first exchange, for who measures texts.

Works on cells; does not depend on files or on what columns mean.
"""

from dataclasses import dataclass
from typing import Any

Chat = tuple[dict[str, str], ...]
"""Messages {"role": "system", "user" or "assistant", "content": text} up to the last answer; empty where there is no answer."""

_ROLES = {
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "model", "chatgpt", "bot"),
    "system": ("system", "developer"),
}


@dataclass(frozen=True)
class ChatColumns:
    """columns: the table's, in the place of chats `user` and `assistant`, the first exchange of each, and `system`; chats: the
    whole ones, by the names of their columns of user and assistant; notes: what was done, in words."""

    columns: dict[str, list[Any]]
    chats: dict[tuple[str, str], list[Chat]]
    notes: tuple[str, ...]


def with_chats(columns: dict[str, list[Any]]) -> ChatColumns:
    """The columns, each one of chats as columns of its own.

    A chat is a list of {"role", "content"} (as chat templates take it) or {"from", "value"} (ShareGPT's form). It is read up to
    the first message that is no text of user, assistant or system (a tool's, a picture).
    """
    result: dict[str, list[Any]] = {}
    chats: dict[tuple[str, str], list[Chat]] = {}
    notes: list[str] = []
    for name, values in columns.items():
        present = [value for value in values if value is not None]
        if not present or not all(_is_chat(value) for value in present[:200]) or not all(isinstance(value, list) for value in present):
            result[name] = values
            continue
        read = [_texts_of(value or []) for value in values]
        names = {role: role if role not in columns and role not in result else f"{name}.{role}" for role in _ROLES}
        exchanges = [_first_exchange(messages) for messages in read]
        for role, column in names.items():
            texts = [exchange.get(role) for exchange in exchanges]
            if any(text is not None for text in texts):
                result[column] = texts
        whole = chats[names["user"], names["assistant"]] = [_up_to_last_answer(messages) for messages in read]
        n_longer = sum(sum(message["role"] == "assistant" for message in chat) > 1 for chat in whole)
        n_short = sum(len(messages) < len(value or []) for messages, value in zip(read, values, strict=True))
        longer = f"; {n_longer:,} go on after it, and instruction tuning learns every answer of a chat" if n_longer else ""
        short = f"; {n_short:,} are read up to a message that is no text of user, assistant or system" if n_short else ""
        notes.append(f"{name!r} holds chats: the first exchange of each is read as user and assistant{longer}{short}.")
    return ChatColumns(result, chats, tuple(notes))


def _is_chat(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(
        isinstance(turn, dict) and (("role" in turn and "content" in turn) or ("from" in turn and "value" in turn)) for turn in value
    )


def _texts_of(turns: list[Any]) -> list[dict[str, str]]:
    messages = []
    for turn in turns:
        said = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
        role = next((role for role, names in _ROLES.items() if said in names), None)
        text = _spoken(turn.get("content", turn.get("value"))) if role else None
        if role is None or text is None or not text.strip():
            break
        messages.append({"role": role, "content": text})
    return messages


def _first_exchange(messages: list[dict[str, str]]) -> dict[str, str]:
    """The first text of the user, the answer to it and the system's text, those that there are."""
    found: dict[str, str] = {}
    for message in messages:
        role = message["role"]
        if role == "user" and "user" in found:
            break
        if role != "assistant" or "user" in found:  # a greeting is no answer
            found.setdefault(role, message["content"])
    return found


def _up_to_last_answer(messages: list[dict[str, str]]) -> Chat:
    n = max((i for i, message in enumerate(messages, start=1) if message["role"] == "assistant"), default=0)
    return tuple(messages[:n])


def _spoken(content: Any) -> str | None:
    """The text of a message, also where it is a list of parts."""
    if isinstance(content, list):
        parts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        return "\n".join(parts) if parts else None
    return content if isinstance(content, str) else None
