"""Hostile words in all that takes Markdown of Streamlit, each by `plain` and by `md`: the page of `test_plain_words.py`."""

import streamlit as st
from hostile_words import EACH

from app.shared.markdown import bold, md, plain

for number, word in enumerate(EACH):
    text = plain(word)
    with st.container(key=f"word{number}"):
        for draw in (st.markdown, st.caption, st.error, st.success, st.title, st.subheader, st.expander, st.popover):
            draw(text)
        st.markdown(md("before **{}** and *{}*: {} after", word, word, word))
        st.markdown(md("\n- {}\n- {}", word, word))
        st.caption(md("> {}", word))
        st.info(bold(word), icon=":material/check:")
        st.button(text, key=f"button{number}")
        st.toggle(text, key=f"toggle{number}")
        st.radio("Choice", [text, bold(word)], key=f"radio{number}")
        st.segmented_control("Choice", [text], key=f"segment{number}")
        st.progress(0.5, text=text)
        st.metric(text, text, text)
        st.page_link("https://localhost", label=text)
        st.table({"cell": [text]}, hide_index=True)
st.header("The end")
