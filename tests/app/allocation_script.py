"""A page with nothing but a rank allocation on made data, and what Python has heard of it, for the browser tests.

The address chooses the data (`?blocks=12&offset=1&kind=limits`), or the field "Case", so that a test need not load a page of
its own: another case is another allocation in a state as if new. The buttons stand for a budget match and for news of no offset.
"""

from urllib.parse import parse_qsl

import streamlit as st
from made_allocation import made_allocation

from app.ranks.allocation import AllocationAnswer, rank_allocation

st.set_page_config(layout="wide")
state = st.session_state
case = st.sidebar.text_input("Case") or "&".join(f"{name}={value}" for name, value in st.query_params.items())
options = dict(parse_qsl(case))
if state.get("case") != case:
    state.update({"case": case, "offset": int(options.get("offset", 1)), "heard": [], "edits": [], "fixed": {}, "news": 0})


def heard(answer: AllocationAnswer) -> None:
    if answer.edit is None:
        state.heard = [*state.heard, answer.offset]
        state.offset = min(answer.offset, int(options.get("refuse_above", 99)))
    else:
        state.edits = [*state.edits, [answer.edit["block"], answer.edit["rank"]]]
        state.fixed = state.fixed | {answer.edit["block"]: answer.edit["rank"]}


def match_budget() -> None:
    state.offset = 2


def tell() -> None:
    state.news += 1


if st.sidebar.radio("Page", ["Allocation", "Other"]) == "Allocation":
    kind = options.get("kind", "usual")
    data = made_allocation(int(options.get("blocks", 6)), state.offset, kind=kind, fixed=state.fixed, fits=f"fits, news {state.news}")
    answer = rank_allocation(data, key=f"allocation {case}", on_change=heard)
    if answer.edit is None and min(answer.offset, int(options.get("refuse_above", 99))) != state.offset:
        heard(answer)  # as on the page: after a restart the first word of an open tab comes without its callback
        st.rerun()
    st.text(f"heard {state.heard} edits {state.edits} answer {answer.offset} {answer.edit and answer.edit['rank']}")
    st.button("Match a budget", on_click=match_budget)
    st.button("Tell news", on_click=tell)
    for i in range(int(options.get("lines", 0))):
        st.text(f"line {i}")
else:
    st.text("The other page")
st.caption(f"case {case}")
