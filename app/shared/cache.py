"""What this server keeps for all tabs: its work in the background, what that gave, and the shapes of models.

Draws nothing.
"""

from typing import TypeVar

import streamlit as st

from gelora.measurements import Measurements, ResultStore, TaskPool
from gelora.record_json import Record
from gelora.records import ModelStructure
from gelora.sources import head_size, model_structure

AnyRecord = TypeVar("AnyRecord", bound=Record)


@st.cache_resource(show_spinner=False)
def measurements() -> Measurements:
    """The server's one store of measurements."""
    return Measurements()


def pool() -> TaskPool:
    """The server's one pool of work in the background."""
    return measurements().pool


@st.cache_resource(show_spinner=False)
def _store(name: str, kind: type[Record]) -> ResultStore[Record]:
    return ResultStore(name, kind, lambda old, new: new)


def store(name: str, kind: type[AnyRecord]) -> ResultStore[AnyRecord]:
    """The server's one store of records of that kind in `cache/<name>`; a newer one takes the place of an older."""
    return _store(name, kind)  # type: ignore[return-value]  # of a name there is one kind


@st.cache_data(show_spinner="Reading the model's configuration ...", max_entries=32)
def structure(model: str) -> ModelStructure:
    """A model's structure from its configuration alone.

    Raises:
        GeloraError: the model is unknown or unreachable, or has no shape that can be adapted.
    """
    return model_structure(model)


@st.cache_data(show_spinner="Counting the head's parameters ...", max_entries=32)
def head_parameters(model: str, n_labels: int) -> int:
    """Parameters of a classifier's head, trained and saved beside the adapter, from the configuration alone.

    Raises:
        GeloraError: the model is unknown or unreachable, or has no classifier.
    """
    return head_size(model, n_labels)
