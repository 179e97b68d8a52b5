"""The Calibration page: estimators on points whose dimension is known, and one of them in detail."""

import streamlit as st

from app.calibration import parts
from app.charts import calibration as estimator_charts
from app.charts.anatomy import anatomy
from app.charts.look import estimator_style
from app.shared import components, figures, measuring
from app.shared.markdown import bold, md, plain
from gelora.errors import DataError
from gelora.geometry import ESTIMATORS, summarize

st.title("Calibration")
left, right = st.columns([1, 2.4], gap="large")
with left:
    wanted = parts.choices()
with right:
    measured, trials = parts.trials_or_invitation(wanted)
    is_stale = measured != wanted
    summaries = summarize(trials)
    st.markdown(bold(parts.finding(summaries)))
    if measured.sweep == "d" and len({s.truth for s in summaries}) > 1:
        figure = estimator_charts.estimate_against_truth(summaries, stale=is_stale)
        how = (
            "the mean estimate over the draws against the true dimension, bars one standard deviation; "
            "on the dashed diagonal an estimate is right"
        )
    elif measured.sweep == "n" and len({s.case.n_samples for s in summaries}) > 1:
        figure = estimator_charts.estimate_by_sample_size(summaries, stale=is_stale)
        how = (
            "the mean estimate over the draws against the number of points, bars one standard deviation; the dashed line is the truth. "
            "A line that still climbs at the right end needs more points than you have"
        )
    else:
        figure = estimator_charts.estimates_of_one_case(trials, summaries, stale=is_stale)
        how = "each mark is the answer to one draw, with its 95% interval; the upright line is the mean, the dashed one the truth"
    figures.show(
        figure,
        "calibration_chart",
        says=f"Estimates by {measuring.labels(list(dict.fromkeys(s.estimator for s in summaries)))} beside the truth. "
        f"{parts.finding(summaries)}",
        how_to_read=f"{how}. No interval sees bias: it says how much the answer varies from draw to draw.",
    )

    table = parts.table(summaries)
    parts.draw_table(table)
    st.caption(
        plain(
            f"Milliseconds of one estimate, and of its interval, after the {1000 * summaries[-1].shared_seconds:.0f} ms that all share "
            "(copies dropped, the neighbor graph, the pass over all pairs)."
        )
    )
    st.download_button("Table as CSV", components.as_csv(table), "calibration.csv", "text/csv", icon=":material/download:")

st.subheader("Details of one estimator")
names = list(dict.fromkeys(trial.estimator for trial in trials))
if st.session_state["cal_focus"] not in names:
    st.session_state["cal_focus"] = names[0]
cases = {s.case: f"d = {s.truth}, N = {s.case.n_samples:,}" for s in summaries}
with st.container(horizontal=True):
    focus = st.selectbox("Estimator", names, key="cal_focus", format_func=lambda name: estimator_style(name)[0], width=180)
    last = len(cases) - 1
    case = st.selectbox("On", list(cases), index=last, format_func=lambda c: cases[c], width=200) if last else next(iter(cases))
kind = ESTIMATORS[focus]
st.markdown(md("{} *{}.*", kind.idea, kind.source))
try:
    picture = anatomy(focus, *parts.fitted(case, focus), truth=float(case.truth))
except DataError as error:
    st.info(plain(f"{kind.label} has no answer for the first draw: {error}"), icon=":material/do_not_disturb_on:")
else:
    if picture is None:
        st.info(plain(f"{kind.label} answers with a number alone; it has no picture of its own."), icon=":material/info:")
    else:
        for i, (column, figure) in enumerate(zip(st.columns(len(picture.figures)), picture.figures, strict=True)):
            with column:
                figures.show(figure, f"anatomy_{focus}_{i}", says=f"{figure.layout.xaxis.title.text}, as {kind.label} reads it.")
        st.caption(plain(picture.caption))
