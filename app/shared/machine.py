"""What is on this machine, as Home says it: device, memory, disk, network, versions; nothing that holds up the page.

Asks `gelora.doctor` and the sources' hub; draws with Streamlit.
"""

import html
import os
import shutil
import sys
from pathlib import Path

import psutil
import streamlit as st

from app.shared.lookups import ask
from app.shared.redraw import poll
from app.shared.run_words import size
from gelora.doctor import GpuMemory, gpu_memory, gpu_of_driver, package_versions
from gelora.home import home
from gelora.sources import is_offline, is_reachable

_NETWORK_SECONDS = 60.0  # after which the network is asked for again
_SHOWN_VERSIONS = ("Python", "torch", "transformers", "peft", "streamlit")


def device() -> str | None:
    """The device that work takes, in words; None while that is being found out."""
    known, gpu = _gpu()
    if not known:
        return None
    if gpu is None:
        return f"CPU, {n_cores()} cores"
    return f"{gpu.name}, {size(gpu.free_bytes)} of {size(gpu.total_bytes)} free"


def n_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def network() -> str | None:
    """Whether the hub is reachable, in words; None while that is being asked. The answer is at most a minute old."""
    known, answer = ask("network", _ask_network, stale_after_seconds=_NETWORK_SECONDS)
    return answer or "not known" if known else None


def is_online() -> bool:
    """Whether the hub is known to answer."""
    return network() == _ONLINE


def facts() -> dict[str, str | None]:
    """Title and words of every fact; None: being found out."""
    memory = psutil.virtual_memory()
    folder = home()
    there = next(place for place in (folder, *folder.parents) if place.exists())  # a new user has none yet
    known, versions = ask("versions", package_versions)
    shown = " · ".join(f"{name} {versions[name]}" for name in _SHOWN_VERSIONS if name in versions) if known and versions else None
    return {
        "Device": device(),
        "Memory": f"{size(memory.available)} of {size(memory.total)} free",
        "Data folder": f"{_short(folder)}, {size(shutil.disk_usage(there).free)} free on that disk",
        "Network": network(),
        "Versions": shown,
    }


def draw() -> None:
    """The facts as a short list; looks again until all are known."""
    with st.container(key="machine"):
        known = _list()
    if not known:
        poll(1.0, lambda: None in facts().values(), True)


def _list() -> bool:
    found = facts()
    rows = "".join(
        f'<div role="listitem"><span class="what">{html.escape(title)}</span> <span>{html.escape(words or "looking …")}</span></div>'
        for title, words in found.items()
    )
    st.html(f'<div class="facts" role="list">{rows}</div>')
    return None not in found.values()


_ONLINE = "online: the hub answers"


def _ask_network() -> str:
    if is_offline():
        return "offline mode is on; what is bundled or fetched works"
    return _ONLINE if is_reachable() else "offline: the hub is unreachable; what is bundled or fetched works"


def _gpu() -> tuple[bool, GpuMemory | None]:
    torch = sys.modules.get("torch")  # never import it for a page
    if torch is not None and hasattr(torch, "cuda"):
        return True, gpu_memory()
    return ask("gpu", gpu_of_driver)


def _short(folder: Path) -> str:
    try:
        return f"~/{folder.relative_to(Path.home())}"
    except ValueError:
        return str(folder)
