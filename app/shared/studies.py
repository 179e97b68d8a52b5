"""Studies that the pages can show: the recorded ones that come with the dashboard, and those made here."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from gelora.records import Study
from gelora.runs import read_study, study_files
from gelora.study_findings import verdict

RECORDED = Path(__file__).resolve().parents[2] / "assets" / "studies"


@dataclass(frozen=True)
class StudyChoice:
    """A study's file; `recorded` ones come with the dashboard."""

    path: Path
    recorded: bool

    @property
    def name(self) -> str:
        """As the chooser and the address say it."""
        return self.path.stem


def choices() -> list[StudyChoice]:
    """All studies, the recorded ones first; of two with one name the one made here."""
    here = {path.stem: StudyChoice(path, False) for path in study_files()}
    recorded = {path.stem: StudyChoice(path, True) for path in sorted(RECORDED.glob("*.json"))}
    return list((recorded | here).values())


def study_of(choice: StudyChoice) -> Study:
    """The study; read again when its file has changed.

    Raises:
        StoreError: the file is damaged.
    """
    return _read(str(choice.path), choice.path.stat().st_mtime_ns)


def recorded_verdict() -> str:
    """What the recorded studies say together of strategies at one budget, in one sentence; empty without any comparison."""
    found = [study_of(choice) for choice in choices() if choice.recorded]
    references = {study.reference for study in found}
    if len(references) != 1:
        return ""
    said = verdict([row for study in found for row in study.rows], references.pop())
    return said.sentence if said.n_compared else ""


@st.cache_data(show_spinner=False, max_entries=16)
def _read(path: str, changed: int) -> Study:
    return read_study(Path(path))
