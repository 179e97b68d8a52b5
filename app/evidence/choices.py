"""What a person chooses on the Evidence page, as URL and session hold it. Pure: no Streamlit."""

from collections.abc import Callable

# key of the widget and the URL -> default, and what reads it from text
CHOICES: dict[str, tuple[object, Callable[[str], object]]] = {
    "ev_study": ("", str),
    "ev_task": ("", str),
    "ev_model": ("", str),
    "ev_budget": ("", str),
    "ev_change": ("", str),
}
