"""Studies in the data folder: one JSON file each, written again whenever a race of the study has ended."""

import re
from pathlib import Path

from gelora.errors import InputError, StoreError
from gelora.home import made, reason_of, studies_dir, write_atomically
from gelora.records import Study

_NAME = re.compile(r"[\w][\w .-]{0,79}", re.ASCII)


def write_study(study: Study) -> Path:
    """Keep a study; returns its file.

    Raises:
        InputError: its name is no file's name.
        StoreError: the disk is full or not writable.
    """
    check_study_name(study.name)
    path = made(studies_dir()) / f"{study.name}.json"
    write_atomically(path, study.to_json(indent=1).encode())
    return path


def read_study(path: Path) -> Study:
    """A study's file.

    Raises:
        StoreError: it cannot be read or is no study.
    """
    try:
        return Study.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {reason_of(error)}.") from error
    except (ValueError, InputError) as error:
        raise StoreError(f"{path} is no readable study: {error}. Make it with: gelora study FILE.toml") from error


def study_files() -> list[Path]:
    """Files of all studies kept here, by name."""
    return sorted(studies_dir().glob("*.json"))


def check_study_name(name: str) -> None:
    """Raise InputError for a name that cannot be a file's."""
    if not _NAME.fullmatch(name):
        raise InputError(f"The study's name is {name!r}; give 1 to 80 letters, digits, spaces, dots, - or _, the first no dot or space.")
