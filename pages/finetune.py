"""The Fine-tune page: what will be trained and what it costs; Start; then the run's live metrics."""

import streamlit as st

from app import components, live, state
from gelora.records import RunSpec, TrainingConfig
from gelora.runs import start_run

st.title("Fine-tune")
DEFAULTS = TrainingConfig()
run_id = live.chosen_run()

with st.expander("A new run", expanded=run_id is None, icon=":material/tune:"):
    settings, summary = st.columns([1.4, 1], gap="large")
    with settings:
        method = st.segmented_control(
            "What to train",
            ("plan", "uniform", "head"),
            default="plan",
            key="train_what",
            format_func={"plan": "These ranks", "uniform": "One rank everywhere", "head": "Head only"}.__getitem__,
            persist_state="session",
        )
        with st.container(horizontal=True):
            if method == "uniform":
                r = st.number_input("Rank", 1, 256, 2, key="train_rank", persist_state="session")
            epochs = st.number_input("Epochs", 0.1, 100.0, DEFAULTS.epochs, 0.5, key="train_epochs", persist_state="session")
            n_train = st.number_input("Training rows", 16, 1_000_000, DEFAULTS.n_train, 500, key="train_n", persist_state="session")
            n_eval = st.number_input("Held-out rows", 8, 100_000, DEFAULTS.n_eval, 100, key="train_n_eval", persist_state="session")
        with st.container(horizontal=True):
            rate = st.number_input(
                "Learning rate", 1e-6, 1.0, DEFAULTS.learning_rate, format="%.2e", key="train_lr", persist_state="session"
            )
            batch = st.number_input("Batch size", 1, 1024, DEFAULTS.batch_size, key="train_batch", persist_state="session")
            seed = st.number_input("Seed", 0, 2**31, 0, key="train_seed", persist_state="session")
    with components.errors_as_sentences():
        plan = components.training_plan(method or "plan", int(r) if method == "uniform" else None)
        training = TrainingConfig(
            method="lora" if plan else "head",
            n_train=int(n_train),
            n_eval=int(n_eval),
            epochs=float(epochs),
            batch_size=int(batch),
            learning_rate=float(rate),
            max_length=st.session_state["length"],
        )
        wanted = state.measurement()
        spec = RunSpec(wanted.model, wanted.data, plan, training, int(seed))
    with summary:
        live.draw_intention(spec)
        if st.button("Start", type="primary", width="stretch", key="start_run", icon=":material/play_arrow:"):
            with components.errors_as_sentences(), st.spinner("Starting the run's process ..."):
                state.choose("run", start_run(spec))
            st.rerun()

if run_id is None:
    st.info("No run yet. Start one above: it goes on when this tab or the dashboard is closed, and this page finds it again.")
else:
    live.follow(run_id)
