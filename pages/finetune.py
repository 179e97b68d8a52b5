"""The Fine-tune page: what will be trained and what it costs; Start; then the run's live metrics."""

import streamlit as st

from app import live, planning, state
from gelora.errors import GeloraError
from gelora.records import RunSpec, TrainingConfig
from gelora.runs import start_run

WHAT = {"plan": "These ranks", "uniform": "One rank everywhere", "head": "Head only"}
DEFAULTS = TrainingConfig()


def settings() -> tuple[str, int, TrainingConfig, int]:
    """The form: what to train, the rank of a uniform adapter, the training settings, the seed."""
    keep = {"persist_state": "session"}
    what = (
        st.segmented_control("What to train", list(WHAT), default="plan", key="train_what", format_func=WHAT.__getitem__, **keep) or "plan"
    )
    r = 2
    with st.container(horizontal=True):
        if what == "uniform":
            r = st.number_input("Rank", 1, 256, 2, key="train_rank", **keep)
        epochs = st.number_input("Epochs", 0.1, 100.0, DEFAULTS.epochs, 0.5, key="train_epochs", **keep)
        n_train = st.number_input("Training rows", 16, 1_000_000, DEFAULTS.n_train, 500, key="train_n", **keep)
        n_eval = st.number_input("Held-out rows", 8, 100_000, DEFAULTS.n_eval, 100, key="train_n_eval", **keep)
    with st.container(horizontal=True):
        rate = st.number_input("Learning rate", 1e-6, 1.0, DEFAULTS.learning_rate, format="%.2e", key="train_lr", **keep)
        batch = st.number_input("Batch size", 1, 1024, DEFAULTS.batch_size, key="train_batch", **keep)
        seed = st.number_input("Seed", 0, 2**31, 0, key="train_seed", **keep)
    training = TrainingConfig(
        method="head" if what == "head" else "lora",
        n_train=int(n_train),
        n_eval=int(n_eval),
        epochs=float(epochs),
        batch_size=int(batch),
        learning_rate=float(rate),
        max_length=st.session_state["length"],
    )
    return what, int(r), training, int(seed)


def new_run() -> None:
    """The form beside what will happen; Start. What cannot be started says why, and the rest of the page goes on."""
    left, right = st.columns([1.4, 1], gap="large")
    with left:
        what, r, training, seed = settings()
    wanted = state.measurement()
    with right:
        try:
            spec = RunSpec(wanted.model, wanted.data, planning.training_plan(what, r), training, seed)
            can_start = live.draw_intention(spec)
        except GeloraError as error:
            st.info(str(error), icon=":material/info:")
            return
        if st.button("Start", type="primary", width="stretch", key="start_run", icon=":material/play_arrow:", disabled=not can_start):
            try:
                with st.spinner("Starting the run's process ..."):
                    state.choose("run", start_run(spec))
            except GeloraError as error:
                st.error(str(error), icon=":material/error:")
                return
            st.rerun()


st.title("Fine-tune")
run_id = live.chosen_run()
with st.expander("A new run", expanded=run_id is None, icon=":material/tune:"):
    new_run()
if run_id is None:
    st.info("No run yet. Start one above: it goes on when this tab or the dashboard is closed, and this page finds it again.")
else:
    live.follow(run_id)
