"""The Home page: what this is, how the pipeline stands, three demonstrations, the last runs, what is on this machine."""

import streamlit as st

from app.home import parts
from app.shared import machine
from gelora.runs import list_runs

st.title("GeLoRA Lab")
st.markdown(
    "GeLoRA Lab measures how many dimensions the hidden states of a language model fill, layer by layer. "
    "A block that raises that number gets more LoRA rank: you choose the offset by eye, see what it costs, and fine-tune with it."
)
parts.picture()
st.subheader("Start with one click", anchor=False)
parts.demonstrations()
left, right = st.columns([1.3, 1], gap="large")
with left:
    st.subheader("Last runs", anchor=False)
    parts.last_runs(list_runs())
with right:
    st.subheader("On this machine", anchor=False)
    machine.draw()
