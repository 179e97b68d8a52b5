"""The entry file: page config, navigation, the frame. Start it with `streamlit run app/main.py`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT / "app") not in sys.path[1:]:
    # Streamlit puts this folder first for every run and takes it away at its end. A thread that walks the path at that
    # moment (importlib.metadata does, for versions) then misses an entry. With a lasting one, Streamlit changes nothing.
    sys.path.append(str(ROOT / "app"))

import streamlit as st  # noqa: E402

st.set_page_config(page_title="GeLoRA Lab", page_icon=str(ROOT / "assets" / "favicon.svg"), layout="wide", initial_sidebar_state="auto")

from app import frame, state  # noqa: E402
from app.calibration.choices import CHOICES as CALIBRATION  # noqa: E402
from app.evidence.choices import CHOICES as EVIDENCE  # noqa: E402
from app.shared import components, own_page, policy  # noqa: E402
from app.theory.choices import CHOICES as THEORY  # noqa: E402

own_page.refuse_others()
state.register("calibration", CALIBRATION)
state.register("evidence", EVIDENCE)
state.register("theory", THEORY)
state.restore()
pages = {
    name: st.Page(ROOT / "pages" / f"{name}.py", title=title, icon=components.ICONS[name], url_path=name, default=name == "home")
    for name, title in components.PAGES.items()
}
st.html(ROOT / "app" / "frontend" / "page.css")
policy.load_nothing_from_elsewhere()
if st.session_state["teach"]:  # no sidebar, no navigation: the six steps alone
    from app.teaching import tour

    st.navigation(list(pages.values()), position="hidden")
    state.publish()
    with components.errors_as_sentences():
        tour.draw()
    st.stop()
wanted = st.query_params.get("page")  # a link to share: /?page=ranks&offset=3
st.logo(str(ROOT / "assets" / "logo.svg"), icon_image=str(ROOT / "assets" / "favicon.svg"), size="large")
page = st.navigation(list(pages.values()))
if wanted in pages and pages[wanted] is not page:
    st.switch_page(pages[wanted])
state.publish()
with components.errors_as_sentences():
    frame.draw(next(name for name, candidate in pages.items() if candidate is page or candidate.url_path == page.url_path))
    page.run()
