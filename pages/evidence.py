"""The Evidence page: what choosing ranks was worth in races against an even spread, and what was not tried."""

import streamlit as st

from app.evidence import parts
from app.shared.markdown import bold
from gelora.study_findings import verdict

st.title("Evidence")
with st.container(horizontal=True):
    study = parts.chosen_study()
    rows = [] if study is None else parts.chosen_rows(study)
if study is None:
    parts.invitation()
    st.stop()
st.markdown(bold(verdict(rows, study.reference).sentence))
parts.forest(study, rows)
if rows:
    parts.race_these(study, rows)
parts.worth(study, rows)
parts.what_was_run(study, rows)
if rows:
    parts.table(study, rows)
