"""What this server keeps for all tabs: its work in the background, its measurements, and the shapes of models.

Draws nothing.
"""

import streamlit as st

from gelora.measurements import Measurements, TaskPool
from gelora.records import ModelStructure
from gelora.sources import head_size, model_structure


@st.cache_resource(show_spinner=False)
def pool() -> TaskPool:
    """The server's one pool of work in the background."""
    return TaskPool()


@st.cache_resource(show_spinner=False)
def measurements() -> Measurements:
    """The server's one store of measurements."""
    return Measurements(pool())


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
