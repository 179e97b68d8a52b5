"""The Theory page: why a block that raises the dimension needs rank, in eight cards that compute what they show."""

import streamlit as st

from app.theory import basics, block, card, maps, sinks, texts, updates

st.title("Theory")
st.markdown("Eight ideas behind the ranks. Everything shown is computed here, on points, maps and models that you choose.")
cards = {
    "dimension": (texts.DIMENSION, basics.dimension),
    "twonn": (texts.TWONN, basics.twonn),
    "sinks": (texts.SINKS, sinks.sinks),
    "map": (texts.MAP, maps.chosen_map),
    "block": (texts.BLOCK, block.real_block),
    "update": (texts.UPDATE, updates.lora_update),
    "fisher": (texts.FISHER, updates.fisher),
    "limits": (texts.LIMITS, maps.rotation),
}
for number, (key, (words, body)) in enumerate(cards.items(), start=1):
    card.draw(number, key, words, body)
