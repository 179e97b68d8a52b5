"""How long the server takes to answer a change of offset: `python -m benchmarks.offset_response --json FILE`.

A real dashboard with a measured curve. "server alone": a plain WebSocket client sends what a browser would, a new offset
with the state of every widget, and waits for the end of the page's run; nothing is drawn. "with Chromium": the slider is
moved by the keyboard in a headless browser that draws on the same cores; the time runs from its message to the end of the
answer (what it draws meanwhile is `benchmarks.rank_wall`'s). Checked first: the answer is of the offset that was sent, and
the profile on disk is not written again.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page, expect, sync_playwright
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import connect

from benchmarks import record
from benchmarks.serving import launch, serve

LIMIT_MS = 100
FOLDED = ("memory_open", "modules_open", "export_open")
TITLES = ("Does it fit?", "Module by module", "Export")


def main() -> None:
    """Measure a curve, then change the offset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=40, help="changes of offset (default 40)")
    parser.add_argument("--n-samples", type=int, default=500)
    parser.add_argument("--json")
    options = parser.parse_args()
    home = os.environ.get("OFFSET_RESPONSE_HOME") or tempfile.mkdtemp(prefix="gelora-offset-")
    os.environ |= {"GELORA_HOME": home, "HF_HUB_OFFLINE": "1"}
    server, url = serve()
    choices = {"page": "ranks", "n": str(options.n_samples), "estimators": "twonn,mle,gride,danco"}
    rows: list[dict[str, Any]] = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        traffic = Traffic(page)
        page.goto(f"{url}/?{urlencode(choices)}")
        measure = page.get_by_role("button", name="Measure the curve")
        line = page.locator(".rank-allocation-line")
        expect(measure.or_(line)).to_be_visible(timeout=60_000)
        if measure.is_visible():
            measure.click()
        expect(line).to_contain_text("adapter parameters", timeout=240_000)
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=240_000)
        page.wait_for_timeout(3000)
        profiles = _written(Path(home))
        for unfolded, words in ((False, "as it opens"), (True, "tables and exports unfolded")):
            if unfolded:
                for title in TITLES:
                    page.get_by_text(title).first.click()
                    page.wait_for_timeout(2500)
            rows.append({"case": f"with Chromium on the same cores, {words}", **by_browser(page, traffic, options.changes)})
        browser.close()
    for unfolded, words in ((False, "as it opens"), (True, "tables and exports unfolded")):
        rows.append({"case": f"server alone, {words}", **by_client(url, choices, options.changes, unfolded)})
    assert profiles == _written(Path(home)), "an estimate was made again"
    server.kill()
    record.write("offset_response", rows, options.json)


def _written(home: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (home / "cache" / "profiles").glob("*.json")}


class Traffic:
    """When the last request for a run of the page went out, and when its answer had come in whole."""

    def __init__(self, page: Page) -> None:
        self.asked = self.finished = 0.0
        self.n_bytes = 0
        page.on("websocket", lambda socket: (socket.on("framesent", self._sent), socket.on("framereceived", self._received)))

    def _sent(self, payload: bytes | str) -> None:
        message = BackMsg.FromString(payload) if isinstance(payload, bytes) else None
        if message is not None and message.WhichOneof("type") == "rerun_script":
            self.asked, self.n_bytes = time.perf_counter(), 0

    def _received(self, payload: bytes | str) -> None:
        if isinstance(payload, bytes):
            self.n_bytes += len(payload)
            if ForwardMsg.FromString(payload).WhichOneof("type") == "script_finished":
                self.finished = time.perf_counter()


def by_browser(page: Page, traffic: Traffic, n: int) -> dict[str, Any]:
    """Move the slider by the keyboard and wait for each answer."""
    slider = page.get_by_role("slider", name="Offset")
    slider.focus()

    def change(offset: int) -> tuple[float, int]:
        before = traffic.finished
        slider.press("ArrowRight" if offset > int(slider.input_value()) else "ArrowLeft")
        deadline = time.monotonic() + 20
        while traffic.finished <= before and time.monotonic() < deadline:
            page.wait_for_timeout(10)
        assert int(slider.input_value()) == offset and (f"offset={offset}" in page.url or offset == 1), (offset, page.url)
        return traffic.finished - traffic.asked, traffic.n_bytes

    return timed(change, n)


def by_client(url: str, choices: dict[str, str], n: int, unfolded: bool) -> dict[str, Any]:
    """Say what a browser says, without one."""
    with connect(f"{url.replace('http', 'ws', 1)}/_stcore/stream", origin=url, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
        held = _Widgets()
        held.hear(socket, _request(choices, [], held))  # the first visit, which switches to the page of the link
        states = [WidgetState(id=id, bool_value=unfolded) for name, id in held.ids.items() if name in FOLDED]

        def change(offset: int) -> tuple[float, int]:
            number = WidgetState(id=held.ids["offset"], double_value=offset)
            seconds, n_bytes = held.hear(socket, _request(choices, [*states, number], held))
            assert held.offset == offset, (held.offset, offset)
            return seconds, n_bytes

        return timed(change, n)


def _request(choices: dict[str, str], states: list[WidgetState], held: "_Widgets") -> bytes:
    message = BackMsg()
    message.rerun_script.query_string = urlencode(choices)
    message.rerun_script.page_script_hash = held.page
    message.rerun_script.cached_message_hashes.extend(held.cached)  # as a browser does, so that they are not sent again
    message.rerun_script.widget_states.widgets.extend(states)
    return message.SerializeToString()


class _Widgets:
    """What the page said of itself: its hash, the ids of the widgets that matter, the offset on it, messages to be kept."""

    def __init__(self) -> None:
        self.page, self.offset = "", -1
        self.cached: set[str] = set()
        self.ids: dict[str, str] = {}

    def hear(self, socket: Any, request: bytes) -> tuple[float, int]:
        """Send, and read until the page's run has ended; seconds and bytes."""
        started, n_bytes = time.perf_counter(), 0
        socket.send(request)
        while True:
            payload = socket.recv(timeout=60)
            n_bytes += len(payload)
            message = ForwardMsg.FromString(payload)
            kind = message.WhichOneof("type")
            if message.metadata.cacheable and message.hash:
                self.cached.add(message.hash)
            if kind == "new_session":
                self.page = message.new_session.page_script_hash
            elif kind == "delta":
                self._note(message.delta.new_element)
                block = message.delta.add_block
                for name in FOLDED:
                    if name in block.id or name in block.expandable.id:
                        self.ids[name] = block.expandable.id or block.id
            elif kind == "script_finished":
                was_whole = message.script_finished == ForwardMsg.ScriptFinishedStatus.FINISHED_SUCCESSFULLY
                if was_whole and self.ids:  # the first visit's run ends early, to switch to the page of the link
                    return time.perf_counter() - started, n_bytes

    def _note(self, element: Any) -> None:
        if element.WhichOneof("type") == "number_input" and element.number_input.label == "Offset":
            self.ids["offset"] = element.number_input.id
            self.offset = int(element.number_input.value if element.number_input.set_value else element.number_input.default)


def timed(change: Callable[[int], tuple[float, int]], n: int) -> dict[str, Any]:
    """Offsets 2, 3, 4, 5, 4, 3, 2, 1, 2, ... each asked once the last was answered."""
    there_and_back = [2, 3, 4, 5, 4, 3, 2, 1]
    answers = [change(there_and_back[i % 8]) for i in range(n)]
    milliseconds = [1000 * seconds for seconds, _ in answers]
    return {
        "ours": round(statistics.median(milliseconds), 1),
        "max": round(max(milliseconds), 1),
        "share_within_limit": sum(m <= LIMIT_MS for m in milliseconds) / n,
        "floor": LIMIT_MS,
        "unit": "ms",
        "n": n,
        "answer_bytes": int(statistics.median(n_bytes for _, n_bytes in answers)),
    }


if __name__ == "__main__":
    main()
