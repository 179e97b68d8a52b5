"""What a person says of a run: a name, notes, tags, in its folder.

Does not depend on how a run is trained; nobody else writes the file, and nothing of a run depends on it.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gelora.errors import InputError, StoreError
from gelora.runs.records.record_file import read_record, write_json

_FILE = "notes.json"
_LONGEST_NAME, _LONGEST_TEXT, _LONGEST_TAG, _MOST_TAGS = 120, 20_000, 40, 20


@dataclass(frozen=True)
class RunNotes:
    """A name (one line), notes (any text) and tags (words without a comma) of a run; all empty until somebody says something."""

    name: str = ""
    text: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, value, longest in (("name", self.name, _LONGEST_NAME), ("notes", self.text, _LONGEST_TEXT)):
            if len(value) > longest:
                raise InputError(f"The {what} of a run may have {longest:,} characters; these are {len(value):,}.")
        if "\n" in self.name or "\r" in self.name:
            raise InputError("The name of a run is one line; write the rest into its notes.")
        if len(self.tags) > _MOST_TAGS:
            raise InputError(f"A run may have {_MOST_TAGS} tags; these are {len(self.tags)}.")
        for tag in self.tags:
            if not tag.strip() or "," in tag or "\n" in tag or len(tag) > _LONGEST_TAG:
                raise InputError(f"{tag!r} is no tag: give 1 to {_LONGEST_TAG} characters without a comma.")

    def with_tags(self, text: str) -> "RunNotes":
        """The same with tags as a person writes them, with commas between them; each once."""
        return dataclasses.replace(self, tags=tuple(dict.fromkeys(tag.strip() for tag in text.split(",") if tag.strip())))

    @property
    def words(self) -> Sequence[str]:
        """All that can be looked for."""
        return (self.name, self.text, *self.tags)


def read_notes(folder: Path) -> RunNotes:
    """The notes in a run's folder; where their file is damaged, the notes say so."""
    try:
        return read_record(folder / _FILE, RunNotes) or RunNotes()
    except StoreError as error:
        return RunNotes(text=f"The notes cannot be read: {error}."[:_LONGEST_TEXT])


def write_notes(folder: Path, notes: RunNotes) -> None:
    """Keep notes in a run's folder, in place of those before.

    Raises:
        StoreError: the disk is full or not writable.
    """
    write_json(folder / _FILE, dataclasses.asdict(notes))
