"""What an opened layer says as texts: the nearest sentences of a sentence, and those that share a vector.

Draws with Streamlit from an `OpenedLayer`; computes nothing about geometry.
"""

import random

import pandas as pd
import streamlit as st

from app.shared import components
from app.shared.markdown import Markdown, md, plain
from gelora.geometry import LabelOverlap
from gelora.opened_layer import Neighbor, OpenedLayer

_LISTED = 2000  # sentences that the chooser offers; a browser grows slow beyond
_GROUPS = 40  # groups of copies on the page; the file has all
_IN_GROUP = 6  # sentences of a group that are shown
_LONG = 280  # letters of a text in a table


def noun(opened: OpenedLayer) -> str:
    """What a row is: a sentence, a pair or a token."""
    return "token" if opened.pooling == "tokens" else "sentence" if opened.text_pairs is None else "pair"


def depth(name: str) -> str:
    """The name of a layer inside a sentence."""
    return "the embeddings" if name == "embeddings" else name


def clipped(text: str, longest: int = _LONG) -> str:
    """The text in one line, its end left out where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def neighbors(opened: OpenedLayer) -> None:
    """A sentence, and the nearest ones at this depth."""
    what = noun(opened)
    if opened.graph is None:
        st.info(plain(f"No neighbors at {depth(opened.name)}: all vectors are equal."), icon=":material/do_not_disturb_on:")
        return
    row = _chooser(opened, what)
    st.markdown(md("> {}", clipped(opened.words(row), 600)))
    found = opened.neighbors(row)
    label, copies = opened.label(row), opened.copies(row)
    if copies:
        st.caption(md("{} other {}{} exactly this vector; see *Duplicates*.", len(copies), what, "s have" if len(copies) > 1 else " has"))
    table = {"distance": [f"{n.distance:#.3g}".rstrip(".") for n in found]}
    if label is not None:
        table["label"] = [clipped(opened.label(n.row) or "", 40) for n in found]
    if opened.layer and opened.were_before is not None:
        table["also before"] = ["yes" if n.was_before else "no" for n in found]
    table[what] = [clipped(opened.words(n.row)) for n in found]
    st.markdown(md("**The nearest at {}**{}", depth(opened.name), _own_words(opened, found, label)))
    _table(table)
    st.download_button(
        "CSV", lambda: components.as_csv(neighbor_table(opened, row)), "neighbors.csv", "text/csv", key="neighbors_csv",
        icon=":material/download:", type="tertiary", on_click="ignore",
    )  # fmt: skip
    st.markdown(md("{} {}", _label_words(opened.label_overlap(), opened.graph.n_neighbors), _before_words(opened)))


def _table(columns: dict[str, list[str]]) -> None:
    """Columns of words as a table, whose cells Streamlit takes for Markdown."""
    n = len(next(iter(columns.values())))
    cells = {name: list(map(plain, words)) for name, words in columns.items()}
    st.table(pd.DataFrame(cells, index=pd.RangeIndex(1, n + 1)), hide_index=True)


def _own_words(opened: OpenedLayer, found: list[Neighbor], label: str | None) -> Markdown:
    if label is None:
        return Markdown("")
    labelled = md(", to a {} labelled *{}*", noun(opened), clipped(label, 40))
    if opened.task != "classification":
        return labelled
    return md("{}; {} of {} have its label", labelled, sum(opened.label(n.row) == label for n in found), len(found))


def neighbor_table(opened: OpenedLayer, row: int) -> pd.DataFrame:
    """The neighbors of a row with whole texts, as they are taken along."""
    found = opened.neighbors(row)
    return pd.DataFrame(
        {
            "of": [opened.words(row)] * len(found),
            "distance": [n.distance for n in found],
            "label": [opened.label(n.row) for n in found],
            "also before": [n.was_before for n in found],
            "text": [opened.words(n.row) for n in found],
        }
    )


def _chooser(opened: OpenedLayer, what: str) -> int:
    n = opened.n_rows
    st.session_state["sentence"] = min(st.session_state["sentence"], n - 1)
    listed = list(range(min(n, _LISTED)))
    if st.session_state["sentence"] not in listed:
        listed.append(st.session_state["sentence"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            plain(what.capitalize() + ("" if n <= _LISTED else f" (the first {_LISTED:,} of {n:,}; another one at random may be any)")),
            listed,
            key="sentence",
            format_func=lambda i: f"{i + 1} · {clipped(opened.words(i), 100)}",
            help="Type to search.",
        )
        st.button("Another one", key="another_sentence", icon=":material/casino:", on_click=_another, args=(n,), help="One at random")
    return int(st.session_state["sentence"])


def _another(n: int) -> None:
    st.session_state["sentence"] = random.randrange(n)


def _label_words(overlap: LabelOverlap | None, k: int) -> Markdown:
    if overlap is None:
        return Markdown("")
    if overlap.kind == "classification":
        chance = f"{k} nearest have the same label; by chance it would be {overlap.chance:.0%}."
        return md("Over all, **{:.0%}** of the {}", overlap.near, chance)
    chance = f"those of a random pair by {overlap.chance:.3g}."
    return md("Over all, the labels of the {} nearest differ by **{:.3g}** on average; {}", k, overlap.near, chance)


def _before_words(opened: OpenedLayer) -> str:
    share = opened.share_before()
    if share is not None:
        return f"{share:.0%} of all neighbors were neighbors at {depth(opened.layer_names[opened.layer - 1])} too."
    if opened.layer:
        return f"At {depth(opened.layer_names[opened.layer - 1])} all vectors are equal, so nobody was near anybody there."
    return ""


def duplicates(opened: OpenedLayer) -> None:
    """The groups of sentences whose vectors are equal to the last bit."""
    what, groups = noun(opened), opened.duplicates()
    if not groups:
        st.success(
            plain(f"No two {what}s have the same vector at {depth(opened.name)}: all {opened.n_rows:,} differ."), icon=":material/check:"
        )
        return
    if opened.n_points == 1:
        told = plain(f"All {opened.n_rows:,} {what}s have the same vector at {depth(opened.name)}.")
    else:
        n_extra = opened.n_rows - opened.n_points
        told = md(
            "At {} **{:,}** vectors differ among {}. Estimators count each vector once.", depth(opened.name), opened.n_points,
            f"{opened.n_rows:,} {what}s: {n_extra:,} repeat{'s' if n_extra == 1 else ''} one that is there already, in {len(groups):,} "
            f"group{'s' if len(groups) > 1 else ''}",
        )  # fmt: skip
    st.markdown(plain(told))
    shown = groups[:_GROUPS]
    texts = [", ".join(f"“{clipped(opened.words(row), 90)}”" for row in group[:_IN_GROUP]) for group in shown]
    more = [f", and {len(group) - _IN_GROUP:,} more" if len(group) > _IN_GROUP else "" for group in shown]
    table = {
        "times": [f"{len(group):,}" for group in shown],
        f"{what}s with this vector": [t + m for t, m in zip(texts, more, strict=True)],
    }
    _table(table)
    if len(groups) > _GROUPS:
        st.caption(plain(f"The {_GROUPS} largest of {len(groups):,} groups; the file has all."))
    st.download_button(
        "CSV", lambda: components.as_csv(duplicate_table(opened)), "duplicates.csv", "text/csv", key="duplicates_csv",
        icon=":material/download:", type="tertiary", on_click="ignore",
    )  # fmt: skip


def duplicate_table(opened: OpenedLayer) -> pd.DataFrame:
    """Every row that shares its vector, with the number of its group."""
    return pd.DataFrame(
        [
            {"group": number, "label": opened.label(row), "text": opened.words(row)}
            for number, group in enumerate(opened.duplicates(), start=1)
            for row in group
        ]
    )
