"""Sessions are for this dashboard's own page: Streamlit also lets in a page that another port of this machine serves."""

from urllib.parse import urlsplit

import streamlit as st


def refuse_others() -> None:
    """End the run of a session whose page came from another address than this server's, before anything of the user's is sent."""
    origin, host = st.context.headers.get("Origin"), st.context.headers.get("Host")
    if origin is not None and urlsplit(origin).netloc != host:
        st.error("This page was not sent by the dashboard that it talks to; open the dashboard's own address.", icon=":material/error:")
        st.stop()
