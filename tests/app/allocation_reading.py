"""What a browser shows of a rank allocation, read out of it and held against the rule; and how well a colour stands on another."""

import re
from collections import Counter

from made_allocation import params_at, ranks_at
from playwright.sync_api import Page

# What is drawn, read out of the browser. A shape's path is `M x0,y0 H x1 V y1 H x0 Z` a unit, in the units of the axes; `seen`
# are the units [shape's name, block, level], counted only when the browser holds a path of as many boxes.
DRAWN = """() => {
  const plot = document.querySelector(".rank-allocation-plot");
  const trace = (name) => plot.data.find((each) => each.name === name);
  const units = trace("units");
  const seen = [], looks = {};
  let gauge = 0;
  for (const path of plot.querySelectorAll(".shapelayer path")) {
    const shape = plot.layout.shapes[path.dataset.index];
    if (shape.type !== "path") continue;
    looks[shape.name] = { fill: shape.fillcolor ?? null, edge: shape.line.dash ?? shape.line.width };
    if (shape.name === "hatch") continue;
    const boxes = [...shape.path.matchAll(/M([^,]+),([^H]+)H([^V]+)V([^H]+)H[^Z]+Z/g)].map((found) => found.slice(1).map(Number));
    if (boxes.length !== path.getAttribute("d").split("M").length - 1) throw Error(`${shape.name} is not what the browser shows`);
    for (const [left, low, right, high] of boxes) {
      if (shape.name.startsWith("gauge")) gauge += shape.name === "gauge compare" ? 0 : right - left;
      else for (let level = Math.floor(low) + 1; level <= Math.ceil(high); level++) seen.push([shape.name, (left + right) / 2, level]);
    }
  }
  return {
    seen, looks, gauge,
    bars: units.customdata.map((unit, i) => ({ ...unit, base: units.base[i], height: units.y[i], said: units.hovertext[i] })),
    bars_of_gauge: trace("gauge").x.reduce((total, x) => total + x, 0),
    marks: trace("marks").x.map((block, i) => [block, trace("marks").text[i]]),
    curve: trace("curve")?.y,
    offset: document.querySelector(".rank-allocation-slider").valueAsNumber,
    words: document.querySelector(".rank-allocation-line").innerText,
    axis: plot.layout.yaxis2.range,
    zoom: plot.layout.xaxis.range,
  };
}"""


def frames(page: Page) -> None:
    """Until what was asked for has been drawn: two frames of the browser."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def drawn(page: Page) -> dict:
    frames(page)
    return page.evaluate(DRAWN)


def holds_the_rule(picture: dict, data: dict, offset: int) -> None:
    """What is seen equals the formula: units from the ground up, gauge, sentence."""
    expected = {block: max(ranks) for block, ranks in ranks_at(data, offset).items()}
    seen = sorted([round(block), level] for name, block, level in picture["seen"] if name != "ghost")
    assert seen == [[block, level] for block, rank in expected.items() for level in range(1, rank + 1)]
    grey = Counter(round(block) for name, block, _ in picture["seen"] if name == "offset")
    assert grey == {block: min(offset, rank) for block, rank in expected.items() if min(offset, rank)}
    assert picture["gauge"] == params_at(data, offset)
    assert picture["words"].startswith(f"{params_at(data, offset):,} adapter parameter")
    assert picture["offset"] == offset


def is_at_rest(picture: dict, data: dict, offset: int) -> None:
    """What hovering and clicking meet is what is seen."""
    holds_the_rule(picture, data, offset)
    units = Counter(bar["block"] for bar in picture["bars"] if bar["kind"] in ("offset", "rise") for _ in range(bar["height"]))
    assert units == {block: max(ranks) for block, ranks in ranks_at(data, offset).items() if max(ranks)}
    assert picture["bars_of_gauge"] == params_at(data, offset)


def luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colour: str, ground: str) -> float:
    high, low = sorted((luminance(colour), luminance(ground)), reverse=True)
    return (high + 0.05) / (low + 0.05)
