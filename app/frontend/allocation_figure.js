// A plan at one offset as one Plotly figure: ID curve, ranks, gauge. Pure: a frame (allocation_layout.js) and an offset in, traces
// and shapes out.
//
// What is seen of units and gauge are shapes, all units of one look in one path; over them lie bars that are not seen, one a unit,
// for what hovering says and clicks mean. Plotly draws new shapes in a few milliseconds, new bars in ten times that (it
// computes every trace and axis again), so while the slider moves only the shapes follow, and the bars when it rests.

const THIN = 4; // pixels of a unit under which equal units on each other are drawn as one
const UNIT_WIDTH = 0.84; // width of a unit, of one block
const LAYER = "below"; // under grid and traces; Plotly 3.7 leaves old shapes standing in the layer between them
const UNSEEN = { color: "rgba(0,0,0,0)", line: { width: 0 } };

// The allocation at `offset` on a frame. `shapes` is all that moves with the slider, unless `signature` changed too.
function allocationFigure(frame, offset) {
  const plan = planAt(frame.data, offset);
  const bars = barsOf(plan.blocks.flatMap((block) => unitsOf(frame.data, block, offset)), frame.unitPixels);
  const marks = markTrace(frame, plan);
  return {
    plan,
    signature: JSON.stringify([marks.x, marks.text, marks.y, plan.params === 0]),
    shapes: [...frame.layout.shapes, ...unitShapes(frame, bars), ...gaugeShapes(frame, plan)],
    traces: () => [unitTrace(frame, bars, offset), ...gaugeTraces(frame, plan), marks, ...frame.still],
  };
}

function curveTraces({ data, look, columnPixels }) {
  const slim = columnPixels < 12;
  const { curve } = data;
  if (!curve) return [];
  const at = curve.values.map((_, i) => i + 0.5);
  const shared = { type: "scatter", xaxis: "x", yaxis: "y", showlegend: false };
  const plain = { ...shared, mode: "lines", hoverinfo: "skip" };
  const band = { ...plain, name: "interval", x: [], y: [], fill: "toself", fillcolor: faded(look.curve, 0.18), line: { width: 0 } };
  let stretch = [];
  const close = () => {
    if (stretch.length > 1) {
      band.x.push(...stretch.map((i) => at[i]), ...stretch.toReversed().map((i) => at[i]), null);
      band.y.push(...stretch.map((i) => curve.high[i]), ...stretch.toReversed().map((i) => curve.low[i]), null);
    }
    stretch = [];
  };
  curve.values.forEach((value, i) => (value == null || curve.low[i] == null || curve.high[i] == null ? close() : stretch.push(i)));
  close();
  const rises = { ...plain, name: "rises", x: [], y: [], line: { width: slim ? 6 : 11, color: faded(look.rise, 0.55) } };
  for (const block of data.blocks) {
    const ends = [curve.values[block.block - 1], curve.values[block.block]];
    if (block.rise > 0 && ends.every((end) => end != null)) {
      rises.x.push(block.block - 0.5, block.block + 0.5, null);
      rises.y.push(...ends, null);
    }
  }
  const line = {
    ...shared, name: "curve", mode: "lines+markers", x: at, y: curve.values, connectgaps: false,
    line: { color: curve.colour, width: slim ? 1.5 : 3, dash: curve.dash },
    marker: { color: curve.colour, size: slim ? 3 : 8, symbol: curve.symbol },
    hoverinfo: "text", hovertext: curve.values.map((value, i) => curveSentence(curve, i)),
  };
  return [band, rises, line];
}

function curveSentence(curve, i) {
  if (curve.values[i] == null) return `${curve.layer_names[i]}: ${curve.name} is undefined.`;
  const ends = [curve.low[i], curve.high[i]];
  const interval = ends.some((end) => end == null) ? "" : `, 95% interval ${ends.map((end) => end.toFixed(1)).join(" to ")}`;
  return `${curve.layer_names[i]}: ${curve.name} says ${curve.values[i].toFixed(1)}${interval}.`;
}

// Another plan's ranks as one stepped outline over the allocation.
function stepTrace({ data, look }, other) {
  const isCompare = other === data.compare;
  const trace = {
    type: "scatter", name: isCompare ? "compare" : "overlay", mode: "lines", xaxis: "x", yaxis: "y2", x: [], y: [],
    hoverinfo: "skip", showlegend: false,
    line: { color: isCompare ? other.colour : look.text, width: 2.5, dash: isCompare ? "solid" : "6px,3px" },
  };
  for (const block of Object.keys(other.ranks).map(Number).sort((a, b) => a - b)) {
    if (trace.x.length && trace.x.at(-1) !== block - 0.5) trace.x.push(null), trace.y.push(null);
    trace.x.push(block - 0.5, block + 0.5);
    trace.y.push(other.ranks[block], other.ranks[block]);
  }
  return trace;
}

// Equal units on each other, where one would be too thin to be seen, are drawn as one bar.
function barsOf(units, unitPixels) {
  const bars = [];
  for (const unit of units) {
    const under = bars.at(-1);
    const same = under && ["block", "kind", "share", "params"].every((what) => under[what] === unit[what]);
    if (unitPixels < THIN && same && unit.level < unit.block.rank) under.level = unit.level;
    else bars.push({ ...unit, from: unit.level });
  }
  return bars;
}

const box = (left, right, low, high) => `M${left},${low}H${right}V${high}H${left}Z`;
const across = (unit) => [unit.block.block - UNIT_WIDTH / 2, unit.block.block + UNIT_WIDTH / 2];

// The units as they are seen: one path for each look.
function unitShapes(frame, bars) {
  const { look, unitPixels, columnPixels } = frame;
  const paths = new Map();
  const add = (name, path) => paths.set(name, (paths.get(name) ?? "") + path);
  for (const unit of bars) {
    const sides = across(unit);
    if (unit.kind === "offset") add("offset", box(...sides, unit.from - 1, unit.level));
    if (unit.kind === "rise") add(unit.share, box(...sides, unit.from - 1, unit.level));
    if (unit.kind === "rise" && unit.share < frame.data.solid_from) add("hatch", hatched(frame, ...sides, unit.from - 1, unit.level));
    if (unit.kind === "ghost") add("ghost", box(...sides, unit.from - 0.95, unit.level - 0.05));
  }
  const shared = { type: "path", xref: "x", yref: "y2", layer: LAYER };
  const edge = columnPixels < 6 || unitPixels < THIN ? 0 : columnPixels > 30 ? 1.6 : 0.9; // not wider than what it goes round
  const looks = {
    offset: { fillcolor: look.offset, line: { color: look.edge, width: edge } },
    hatch: { line: { color: faded(look.edge, 0.6), width: 1 } },
    ghost: { line: { color: look.edge, width: 1.4, dash: "2px,3px" } },
  };
  const rise = (share) => ({ fillcolor: faded(look.rise, (0.25 + 0.75 * share).toFixed(3)), line: { color: look.edge, width: edge } });
  const last = (name) => (name === "hatch" ? 1 : 0);
  return [...paths].sort(([one], [other]) => last(one) - last(other)).map(([name, path]) => ({
    ...shared, name: typeof name === "number" ? `rise ${name}` : name, path, ...(looks[name] ?? rise(name)),
  }));
}

// Lines at 45 degrees inside one unit, in the units of its axes.
function hatched({ unitPixels, columnPixels }, left, right, low, high) {
  const [width, height, step] = [(right - left) * columnPixels, (high - low) * unitPixels, columnPixels < 20 ? 4 : 7];
  let path = "";
  for (let start = step / 2 - height; start < width; start += step) {
    const [from, to] = [Math.max(0, start), Math.min(width, start + height)];
    const at = (x) => `${(left + x / columnPixels).toFixed(4)},${(low + (x - start) / unitPixels).toFixed(4)}`;
    path += `M${at(from)}L${at(to)}`;
  }
  return path;
}

// One bar a unit, not seen: what hovering says, and what a click asks for.
function unitTrace({ data }, bars, offset) {
  return {
    type: "bar", name: "units", xaxis: "x", yaxis: "y2", showlegend: false, width: UNIT_WIDTH, marker: UNSEEN,
    x: bars.map((unit) => unit.block.block),
    base: bars.map((unit) => unit.from - 1),
    y: bars.map((unit) => unit.level - unit.from + 1),
    customdata: bars.map((unit) => ({
      block: unit.block.block, level: unit.level, kind: unit.kind, share: unit.share,
      edit: editOf(data, unit), lines: unitLines(data, unit, offset),
    })),
    hoverinfo: "text",
    hovertext: bars.map((unit) => [unitSentence(data, unit, offset), ...editHint(data, unit)].map(escaped).join("<br>")),
  };
}

// What stands over or in place of a stack: "by hand" with a mark, "skipped" where no module has an adapter.
function markTrace({ look, columnPixels, unitPixels }, plan) {
  const roomy = columnPixels > 46;
  const marked = plan.blocks.filter((block) => block.byHand || block.rank === 0);
  return {
    type: "scatter", name: "marks", mode: "markers+text", xaxis: "x", yaxis: "y2", showlegend: false, hoverinfo: "skip", cliponaxis: false,
    x: marked.map((block) => block.block),
    y: marked.map((block) => block.rank + Math.min(0.5, 9 / unitPixels)),
    text: marked.map((block) => (roomy ? (block.byHand ? "by hand" : "skipped") : "")),
    textposition: "top center", textfont: { color: look.text, size: 11 },
    marker: {
      color: look.text, size: columnPixels > 16 ? 8 : 5, line: { color: look.text, width: 1.5 },
      symbol: marked.map((block) => (block.byHand ? "triangle-down" : "x-thin")),
    },
  };
}

// The same units in one row, as wide as their parameters: of every block first the offset's units, then the others.
function gaugeShapes({ data, look, longest, width }, plan) {
  const paths = { offset: "", rise: "" };
  let from = 0;
  for (const block of plan.blocks) {
    let grey = 0;
    for (let level = 1; level <= Math.min(plan.offset, block.rank); level++) grey += block.unitParams(level);
    for (const [name, params] of [["offset", grey], ["rise", block.params - grey]]) {
      if (params > 0) paths[name] += box(from, from + params, 0.57, 1.43);
      from += params;
    }
  }
  const edge = (width * plan.params) / (longest * plan.blocks.length) > 6 ? 1 : 0;
  const shared = { type: "path", xref: "x2", yref: "y3", layer: LAYER, line: { color: look.edge, width: edge } };
  const laid = Object.entries(paths).filter(([, path]) => path);
  const shapes = laid.map(([name, path]) => ({ ...shared, name: `gauge ${name}`, path, fillcolor: look[name] }));
  if (!data.compare?.params) return shapes;
  const other = { name: "gauge compare", path: box(0, data.compare.params, 0, 0.4), fillcolor: data.compare.colour, line: { width: 0 } };
  return [...shapes, { ...shared, ...other }];
}

// One bar a block, not seen: what hovering the gauge says.
function gaugeTraces({ data }, plan) {
  const shared = { type: "bar", orientation: "h", xaxis: "x2", yaxis: "y3", showlegend: false, hoverinfo: "text", marker: UNSEEN };
  const blocks = plan.blocks.filter((block) => block.params > 0);
  let end = 0;
  const base = blocks.map((block) => (end += block.params) - block.params);
  const part = (block) => `${((100 * block.params) / plan.params).toFixed(1)} % of this plan`;
  const said = (block) => `Block ${block.block}: rank ${block.rank}, ${plural(block.params, "parameter")}, ${part(block)}.`;
  const [x, y] = [blocks.map((block) => block.params), blocks.map(() => 1)];
  const traces = [{ ...shared, name: "gauge", width: 0.86, x, y, base, hovertext: blocks.map(said) }];
  if (!data.compare) return traces;
  const words = `${escaped(data.compare.label)}: ${plural(data.compare.params, "adapter parameter")}.`;
  return [...traces, { ...shared, name: "gauge compare", width: 0.4, x: [data.compare.params], y: [0.2], base: [0], hovertext: [words] }];
}
