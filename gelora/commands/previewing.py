"""`gelora preview`: a dataset as it was read, before anything is measured or trained."""

import argparse

from gelora.commands.options import data_choice
from gelora.terminal import TerminalProgress, print_table, write_json


def preview(options: argparse.Namespace) -> int:
    """First rows, counts and labels of a dataset under the roles of its columns; exit status 1 where it cannot be used so."""
    from gelora.sources import preview_dataset

    progress = TerminalProgress()
    found = preview_dataset(data_choice(options), options.rows, progress)
    progress.close()
    write_json(found.to_json(indent=1), options.json)
    if options.json != "-":
        roles = list(found.rows[0])
        print_table(
            f"{found.choice.dataset}: {found.report.kind}, {found.n_rows:,} rows, columns {', '.join(found.columns)}",
            roles,
            [[_short(row[role]) for role in roles] for row in found.rows],
        )
        print(
            f"{found.n_usable:,} rows can be used, {found.n_distinct:,} with texts of their own; {found.n_empty:,} without text, "
            f"{found.n_unlabelled:,} without label, {found.report.n_rejected:,} rejected; longest text {found.longest:,} characters."
        )
        if found.label_counts:
            shown = ", ".join(f"{name} {n:,}" for name, n in list(found.label_counts.items())[:10])
            print(f"Labels: {shown}{', ...' if found.n_classes > 10 else ''}")
        for sentence in (*found.taken_for, *found.report.rejected):
            print(sentence)
        if found.problem:
            print(f"Not usable so: {found.problem}")
    return 1 if found.problem else 0


def _short(cell: str) -> str:
    line = " ".join(cell.split())
    return line if len(line) <= 60 else line[:59] + "…"
