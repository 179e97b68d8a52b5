"""The Theory page: why a block that raises the dimension needs rank, in eight cards that compute what they show."""

import streamlit as st

from app import theory_basics, theory_block, theory_card, theory_maps, theory_sinks, theory_texts, theory_updates

st.title("Theory")
st.markdown("Eight ideas behind the ranks. Everything shown is computed here, on points, maps and models that you choose.")
cards = {
    "dimension": (theory_texts.DIMENSION, theory_basics.dimension),
    "twonn": (theory_texts.TWONN, theory_basics.twonn),
    "sinks": (theory_texts.SINKS, theory_sinks.sinks),
    "map": (theory_texts.MAP, theory_maps.chosen_map),
    "block": (theory_texts.BLOCK, theory_block.real_block),
    "update": (theory_texts.UPDATE, theory_updates.lora_update),
    "fisher": (theory_texts.FISHER, theory_updates.fisher),
    "limits": (theory_texts.LIMITS, theory_maps.rotation),
}
for number, (key, (words, body)) in enumerate(cards.items(), start=1):
    theory_card.draw(number, key, words, body)
