"""What a training step of a plan takes in memory, and whether it fits the GPU that is there.

Draws with Streamlit; the arithmetic is `gelora.ranks.memory_estimate`.
"""

import sys

import pandas as pd
import streamlit as st

from app import state
from app.shared import data_preview, planning
from app.shared.cache import head_parameters
from app.shared.markdown import md, plain
from app.shared.run_words import size
from gelora.doctor import GpuMemory, gpu_memory
from gelora.errors import GeloraError, InputError
from gelora.ranks import memory_estimate, plan_budget
from gelora.records import IdProfile, RankPlan

DTYPES = ("float32", "bfloat16", "float16")


def memory(plan: RankPlan, profile: IdProfile | None) -> None:
    """What a training step takes, by part, and whether it fits the GPU that is there."""
    expander = st.expander("Does it fit? Memory of a training step", on_change="rerun", key="memory_open")
    with expander:
        if not expander.open:
            return
        with st.container(horizontal=True, vertical_alignment="bottom"):
            batch = st.number_input("Batch size", 1, 4096, 16, key="memory_batch", persist_state="session", width=130)
            length = st.number_input(
                "Tokens per text", 4, 100_000, st.session_state["length"], key="memory_length", persist_state="session", width=150
            )
            dtype = st.selectbox("Weights in", DTYPES, key="memory_dtype", persist_state="session", width=140)
            task = st.segmented_control(
                "Task", ["classification", "causal-lm"], default="classification", key="memory_task", persist_state="session"
            )  # fmt: skip
            checkpointing = st.toggle("Gradient checkpointing", key="memory_checkpointing", persist_state="session")
        try:
            n_head = _head_parameters() if task != "causal-lm" else 0
        except GeloraError as error:
            st.caption(plain(f"The head is not counted: {error}"))
            n_head = 0
        try:
            estimate = memory_estimate(
                plan, planning.structure_of(profile), batch_size=int(batch), length=int(length), dtype=dtype, n_head_params=n_head,
                task=task or "classification", gradient_checkpointing=checkpointing,
            )  # fmt: skip
        except InputError as error:  # a profile imported from before the shapes that this needs were kept
            st.info(plain(error), icon=":material/info:")
            return
        parts = {
            "weights": estimate.weights_bytes, "gradients": estimate.gradient_bytes, "AdamW's two moments": estimate.optimizer_bytes,
            "activations": estimate.activation_bytes, "in all": estimate.total_bytes,
        }  # fmt: skip
        budget = plan_budget(plan, n_head)
        st.dataframe(
            pd.DataFrame([{"part": part, "MB": n_bytes / 1e6} for part, n_bytes in parts.items()]),
            hide_index=True, column_config={"MB": st.column_config.NumberColumn(format="%.2f")},
        )  # fmt: skip
        st.caption(
            plain(
                f"{budget.n_adapter_params:,} parameters of the adapter and {n_head:,} of the head are trained and saved: "
                f"{size(budget.adapter_bytes)}. The estimate of activations is arithmetic on the "
                "model's shape; docs/ranks.md says how near it came to measured ones."
            )
        )
        gpu = gpu_there()
        if gpu is None:
            st.caption("No GPU is seen here; gelora plan says it on the machine that has one.")
        else:
            words = "It fits" if estimate.fits(gpu.free_bytes) else "It does not fit"
            st.markdown(md("**{} the {}**: {:.1f} of {:.1f} GB are free.", words, gpu.name, gpu.free_bytes / 1e9, gpu.total_bytes / 1e9))


def _head_parameters() -> int:
    wanted = state.measurement()
    found = data_preview.chosen()
    preview = found.preview if isinstance(found, data_preview.Reading) else None
    return head_parameters(wanted.model, preview.n_classes if preview is not None and preview.task == "classification" else 1)


def gpu_there() -> GpuMemory | None:
    """The GPU that is there, once torch is loaded; loading it is not the page's work."""
    torch = sys.modules.get("torch")  # never import it on the page's first paint
    return gpu_memory() if torch is not None and hasattr(torch, "cuda") else None


def fits_sentence(plan: RankPlan, profile: IdProfile | None) -> str | None:
    """Whether a step of the default batch fits that GPU, in words; None without one."""
    gpu = gpu_there()
    if gpu is None:
        return None
    structure = planning.structure_of(profile)
    if structure.traits is None:
        return None
    estimate = memory_estimate(plan, structure, batch_size=16, length=st.session_state["length"], dtype="float32")
    words = "fits" if estimate.fits(gpu.free_bytes) else "does not fit"
    return f"a step with batch 16 {words} the {gpu.name}"
