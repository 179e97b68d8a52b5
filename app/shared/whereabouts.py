"""Where a chosen model or dataset comes from, in a few words: bundled, local or the hub; here or to be fetched; size; licence.

Asks the sources; what only the hub knows is looked up in the background. Draws nothing.
"""

from app.shared import machine
from app.shared.lookups import ask
from app.shared.run_words import size
from gelora.home import local_path
from gelora.records import DataChoice
from gelora.sources import HubFacts, bundled_datasets, bundled_models, data_at_hand, hub_facts, model_at_hand, models_fetched, names_a_file

_ORIGINS = {"bundled": "bundled", "local": "local folder", "hub": "fetched from the hub"}
_LOOK_AGAIN_SECONDS = 30.0


def model_words(model_id: str) -> str:
    """A model in a few words."""
    entry = model_at_hand(model_id)
    if entry is None:
        return _elsewhere(model_id, "model")
    licence = next((known.licence for known in bundled_models() if known.model_id == entry.model_id), None)
    return _phrase(_ORIGINS[entry.origin], "here", size(entry.size_bytes or 0), licence)


def data_words(choice: DataChoice) -> str:
    """A dataset in a few words."""
    bundled = next((entry for entry in bundled_datasets() if entry.dataset == choice.dataset), None)
    if bundled is not None:
        return _phrase("bundled", "here" if data_at_hand(choice) else "read once at the first use", _short_licence(bundled.licence))
    path = local_path(choice.dataset)
    if path.is_file():
        return _phrase("local file", "here", size(path.stat().st_size))
    if data_at_hand(choice):
        return _phrase("fetched from the hub", "here")
    return _elsewhere(choice.dataset, "dataset")


def fetched() -> tuple[str, ...]:
    """The hub's models that are here, as far as that is known by now."""
    known, names = ask("models fetched", models_fetched, _LOOK_AGAIN_SECONDS)
    return tuple(names or ()) if known else ()


def _elsewhere(name: str, kind: str) -> str:
    """What is not on this machine: a path that leads nowhere, or something of the hub's."""
    if name.startswith(("/", ".", "~")) or names_a_file(name):
        return "there is no such file or folder"
    if machine.network() is None:
        return "not here; asking whether the hub can be reached …"
    if not machine.is_online():
        return "not here, and the hub is unreachable"
    known, facts = ask(f"facts of {kind} {name}", lambda: hub_facts(name, kind))
    if not known:
        return "not here; asking the hub …"
    if not isinstance(facts, HubFacts):
        return f"not here, and the hub shows no such {kind}"
    n_bytes = "" if facts.size_bytes is None else size(facts.size_bytes)
    return _phrase("from the hub", f"must be fetched: {n_bytes}" if n_bytes else "must be fetched", facts.licence or "no licence given")


def _phrase(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)


def _short_licence(licence: str | None) -> str | None:
    """A licence without what it is of: BSD-3-Clause (numpy), MIT (plotly) -> BSD-3-Clause, MIT."""
    if licence is None:
        return None
    kept, depth = [], 0
    for character in licence:
        depth += character == "("
        if depth == 0:
            kept.append(character)
        depth -= character == ")"
    return ", ".join(" ".join(part.split()) for part in "".join(kept).split(","))
