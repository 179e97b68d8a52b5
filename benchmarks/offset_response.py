"""How long the server takes to answer a change of offset: `python -m benchmarks.offset_response --json FILE`.

A real dashboard and a real Chromium. The time runs from the WebSocket message that carries the new offset to the last
message of the answer, the page's whole run between them; the browser's drawing is not in it (`benchmarks.rank_wall` has that).
Checked first: the budget on the page is the offset's, and the profile on disk is not written anew.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks import record
from benchmarks.default_journey import CHROMIUM, URL, start_server

LIMIT_MS = 100


def main() -> None:
    """Measure a curve, then change the offset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=40, help="changes of offset (default 40)")
    parser.add_argument("--n-samples", type=int, default=500)
    parser.add_argument("--json")
    options = parser.parse_args()
    home = os.environ.get("OFFSET_RESPONSE_HOME") or tempfile.mkdtemp(prefix="gelora-offset-")
    os.environ |= {"GELORA_HOME": home, "HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = start_server()
    rows: list[dict[str, Any]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        traffic = Traffic(page)
        page.goto(f"{URL}/?page=ranks&n={options.n_samples}&estimators=twonn,mle,gride,danco")
        measure = page.get_by_role("button", name="Measure the curve")
        line = page.locator(".rank-wall-line")
        expect(measure.or_(line)).to_be_visible(timeout=60_000)
        if measure.is_visible():
            measure.click()
        expect(line).to_contain_text("adapter parameters", timeout=240_000)
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=240_000)
        page.wait_for_timeout(3000)
        for case, unfold in (("page as it opens", False), ("tables and exports unfolded", True)):
            if unfold:
                for title in ("Does it fit?", "Module by module", "Take it along"):
                    page.get_by_text(title).first.click()
                    page.wait_for_timeout(2500)
            rows.append({"case": case, **changes(page, traffic, options.changes, Path(home))})
        browser.close()
    server.kill()
    record.write("offset_response", rows, options.json)


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


def changes(page: Page, traffic: Traffic, n: int, home: Path) -> dict[str, Any]:
    """Move the slider by the keyboard, n times, and wait for each answer."""
    slider, line = page.get_by_role("slider", name="Offset"), page.locator(".rank-wall-line")
    profiles = {path: path.stat().st_mtime_ns for path in (home / "cache" / "profiles").glob("*.json")}
    slider.focus()
    milliseconds, sizes = [], []
    for i in range(n):
        before = traffic.finished
        slider.press("ArrowRight" if i % 8 < 4 else "ArrowLeft")
        deadline = time.monotonic() + 20
        while traffic.finished <= before and time.monotonic() < deadline:
            page.wait_for_timeout(10)
        milliseconds.append(1000 * (traffic.finished - traffic.asked))
        sizes.append(traffic.n_bytes)
        offset = int(page.get_by_role("slider", name="Offset").input_value())
        assert f"offset={offset}" in page.url or offset == 1, (offset, page.url)
        assert "adapter parameters" in line.inner_text()
    assert profiles == {path: path.stat().st_mtime_ns for path in (home / "cache" / "profiles").glob("*.json")}, "an estimate was made anew"
    return {
        "ours": round(statistics.median(milliseconds), 1),
        "max": round(max(milliseconds), 1),
        "share_within_limit": sum(m <= LIMIT_MS for m in milliseconds) / n,
        "floor": LIMIT_MS,
        "unit": "ms",
        "n": n,
        "answer_bytes": int(statistics.median(sizes)),
    }


if __name__ == "__main__":
    main()
