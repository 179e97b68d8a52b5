"""Words in figures: Plotly reads names, titles and hover texts as HTML of its own, links among it. Pure, no Streamlit."""

import html
import re
from typing import Any

import plotly.graph_objects as go

_TAG = re.compile(r"<[^<>]*>")
_OURS = re.compile(r'</?(?:b|i|sub|sup|extra)>|<br>|<span style="color:[#\w(),. %-]+">|</span>')


def as_typed(text: str) -> str:
    """A word that a person, a file or a link brought, as Plotly shows it letter for letter, in a template too."""
    return html.escape(text, quote=False).replace("%{", "%&#123;")


def taken_along(text: object) -> str | None:
    """A text of a figure without its markup, as a table has it; None where there is none."""
    return html.unescape(_TAG.sub(" ", str(text))).strip() if text else None


def with_our_tags_alone(figure: go.Figure) -> go.Figure:
    """The figure, in which every tag that our charts do not write themselves (a link, an image) is shown as text."""
    shown = figure.to_dict()
    return go.Figure(_checked(shown), skip_invalid=False) if _has_others(shown) else figure


def _has_others(value: Any) -> bool:
    if isinstance(value, str):
        return any(not _OURS.fullmatch(tag) for tag in _TAG.findall(value))
    if isinstance(value, dict):
        return any(map(_has_others, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_others, value))


def _checked(value: Any) -> Any:
    if isinstance(value, str):
        return _TAG.sub(lambda tag: tag[0] if _OURS.fullmatch(tag[0]) else html.escape(tag[0], quote=False), value)
    if isinstance(value, dict):
        return {name: _checked(item) for name, item in value.items()}
    return [_checked(item) for item in value] if isinstance(value, list | tuple) else value
