"""The rank allocation while its slider moves, in a headless Chromium: `python -m benchmarks.rank_wall --json FILE`.

A frame is timed in the browser from the `input` event until it has been painted (the task after the animation frame), once
for every step of a drag up and down; `work` is the part in which the page's script runs. Also: opening the page to the figure
painted, and what a rerun of the server costs and sends with Plotly already in the tab.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks import record
from benchmarks.serving import launch, serve

FLOORS = {6: 50, 32: 50, 80: 80}  # milliseconds a frame, by number of blocks
N_DRAGS = 4
PAGE = "from benchmarks.rank_wall import page\n\npage()\n"

DRAG = """async (nDrags) => {
  const slider = document.querySelector(".rank-allocation-slider");
  const painted = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  }));
  const frames = [], work = [];
  const steps = [...Array(9).keys(), ...[...Array(8).keys()].reverse()];
  const real = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => real((now) => {
    const started = performance.now();
    callback(now);
    work.push(performance.now() - started);
  });
  for (let drag = 0; drag < nDrags + 1; drag++) {
    for (const step of steps) {
      await painted();
      const before = work.length;
      const started = performance.now();
      slider.value = step;
      slider.dispatchEvent(new Event("input"));
      await painted();
      if (drag > 0) frames.push([performance.now() - started, work.slice(before).reduce((a, b) => a + b, 0)]);
    }
  }
  window.requestAnimationFrame = real;
  return frames;
}"""


def main() -> None:
    """Time it at 6, 32 and 80 blocks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gelora-allocation-") as folder:
        script = Path(folder) / "page.py"
        script.write_text(PAGE)
        server, url = serve(script=script)
        try:
            with sync_playwright() as playwright:
                browser = launch(playwright)
                rows += [frame_row(browser, url, n_blocks) for n_blocks in FLOORS]
                rows.append(rerun_row(browser, url))
                browser.close()
        finally:
            server.kill()
            server.wait()
    record.write("rank_wall", rows, options.json)


def frame_row(browser: Browser, url: str, n_blocks: int) -> dict[str, Any]:
    """Milliseconds a frame over several drags through all nine offsets."""
    started = time.perf_counter()
    page, _ = opened(browser, f"{url}/?blocks={n_blocks}")
    first = time.perf_counter() - started
    frames = page.evaluate(DRAG, N_DRAGS)
    total, work = ([frame[i] for frame in frames] for i in (0, 1))
    n_units = page.evaluate("document.querySelectorAll('.rank-allocation .barlayer .point').length")
    page.close()
    return {
        "case": f"{n_blocks} blocks, one step of the slider",
        "median_ms": round(statistics.median(total), 1),
        "max_ms": round(max(total), 1),
        "median_script_ms": round(statistics.median(work), 1),
        "floor": FLOORS[n_blocks],
        "unit": "ms from input to painted",
        "n_frames": len(frames),
        "n_bars_at_offset_0": n_units,
        "open_to_wall_seconds": round(first, 2),
        "browser": browser.version,
    }


def rerun_row(browser: Browser, url: str) -> dict[str, Any]:
    """Bytes that a rerun sends once Plotly is in the tab, and the server's milliseconds in `rank_allocation` and for its messages."""
    page, received = opened(browser, f"{url}/?blocks=32")
    page.wait_for_timeout(1000)
    loaded = sum(received)
    received.clear()
    server_ms, n_reruns = [], 10
    for i in range(n_reruns):
        before = time.perf_counter()
        page.get_by_role("slider", name="Offset").press("ArrowRight" if i % 2 == 0 else "ArrowLeft")
        page.get_by_text(f"run {i + 2}:", exact=False).wait_for()
        server_ms.append(1000 * (time.perf_counter() - before))
    page.wait_for_timeout(500)
    words = page.get_by_text("run ").inner_text()
    page.close()
    return {
        "case": "a release, 32 blocks: the server answers",
        "key_to_page_median_ms": round(statistics.median(server_ms), 1),
        "rank_wall_call_ms": float(words.split(": ")[1].split()[0]),
        "bytes_a_rerun": round(sum(received) / n_reruns),
        "bytes_first_load": loaded,
        "unit": "ms, bytes",
    }


def opened(browser: Browser, address: str) -> tuple[Page, list[int]]:
    """A page whose rank allocation has been drawn, and the sizes of the messages that it receives."""
    received: list[int] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("websocket", lambda ws: ws.on("framereceived", lambda frame: received.append(len(frame))))
    page.goto(address)
    page.locator(".rank-allocation .barlayer .point").first.wait_for(state="attached", timeout=60_000)
    return page, received


def page() -> None:
    """The page that is timed: a rank allocation of `?blocks=` blocks on made data."""
    import streamlit as st

    from app.ranks.allocation import rank_allocation

    st.set_page_config(layout="wide")
    state = st.session_state
    state.setdefault("offset", 1)
    state.setdefault("n_runs", 0)
    state.n_runs += 1
    started = time.perf_counter()
    rank_allocation(
        made_allocation(int(st.query_params.get("blocks", 32)), state.offset),
        key="allocation",
        on_change=lambda answer: state.update(offset=answer.offset),
    )
    st.text(f"run {state.n_runs}: {1000 * (time.perf_counter() - started):.1f} ms in rank_allocation")


def made_allocation(n_blocks: int, offset: int) -> dict[str, Any]:
    """Blocks of a 4096-wide transformer with rises of 0 to 3 units, some of them wanted by few half-samples only."""
    blocks = []
    for block in range(1, n_blocks + 1):
        rise = (block * 7) % 4
        module = {"n": 4, "per_rank": 8192, "limit": 4096, "fixed": None}
        shares = [round(max(0.05, 1 - 0.17 * unit - 0.03 * (block % 5)), 2) for unit in range(rise + block % 3)]
        interval = {"value": rise - 0.3, "low": rise - 1.2, "high": rise + 0.4}
        blocks.append({"block": block, "rise": rise, "extra": 0, **interval, "shares": shares, "modules": [module], "note": None})
    values = [12 + 4 * ((i * 5) % 11) / 11 for i in range(n_blocks + 1)]
    curve = {"name": "TwoNN", "colour": "#0072B2", "dash": "solid", "symbol": "circle", "values": values}
    curve |= {
        "low": [v - 0.6 for v in values],
        "high": [v + 0.6 for v in values],
        "layer_names": [f"block {i}" for i in range(n_blocks + 1)],
    }
    ranks = {str(block): 1 + block % 3 for block in range(1, n_blocks + 1)}
    return {
        "blocks": blocks,
        "curve": curve,
        "offset": offset,
        "max_offset": 8,
        "least_offset": 0,
        "shares_of": "half-samples",
        "n_shares": 20,
        "solid_from": 0.975,
        "uniform": [{"r": r, "params": r * 4 * 8192 * n_blocks} for r in (1, 2, 4, 8, 16)],
        "n_model_params": 200_000_000 * n_blocks,
        "bytes_per_param": 4,
        "optimizer_bytes_per_param": 8,
        "compare": {"label": "Gradient", "colour": "#009E73", "ranks": ranks, "params": sum(ranks.values()) * 4 * 8192},
        "overlay": None,
        "editable": True,
        "stale": False,
        "fits": None,
    }


if __name__ == "__main__":
    main()
