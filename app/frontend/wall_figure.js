// A plan at one offset as one Plotly figure: ID curve, wall, gauge. Pure: data, offset and look in, traces and layout out.
//
// What is seen of bricks and gauge are shapes, all alike bricks in one path; over them lie bars that are not seen, one a brick,
// for what hovering says and clicks mean. Plotly draws new shapes in a few milliseconds, new bars in ten times that (it
// computes every trace and axis anew), so while the slider moves only the shapes follow, and the bars when it rests.

const PIXELS = { top: 34, curve: 140, gap: 16, wall: 230, blocks: 58, gauge: 30, compare: 22, bottom: 48 };
const THIN = 4; // pixels of a brick under which equal bricks on each other are drawn as one
const BRICK = 0.84; // width of a brick, of one block
const LAYER = "below"; // under grid and traces; Plotly 3.7 leaves old shapes standing in the layer between them
const UNSEEN = { color: "rgba(0,0,0,0)", line: { width: 0 } };

const faded = (colour, alpha) => {
  const [red, green, blue] = colour.match(/[\d.]+/g).map(Number);
  return `rgba(${red},${green},${blue},${alpha})`;
};

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

// What stays as it is while the offset moves: axes, the curve, the steps of other plans.
function wallFrame(data, look, width) {
  const numbers = data.blocks.map((block) => block.block);
  const last = Math.max(...numbers, data.curve ? data.curve.values.length - 1 : 1);
  const first = Math.min(...numbers, data.curve ? 1 : Infinity);
  const highestOffset = Math.max(data.max_offset, data.offset);
  const reached = data.blocks.map((block) => {
    const plan = planAt(data, highestOffset).blocks.find((other) => other.block === block.block);
    const wanted = Math.min(highestOffset + Math.max(block.rise, block.shares.length), plan.limit);
    return Math.max(plan.rank, wanted, data.offset + block.rise + block.extra > plan.limit ? plan.limit : data.offset + block.rise + block.extra);
  });
  const steps = [data.compare, data.overlay].filter(Boolean);
  const top = Math.max(4, ...reached, ...steps.flatMap((other) => Object.values(other.ranks))) + 0.6;
  const narrow = width <= 640;
  const left = narrow ? 46 : 62;
  const right = narrow ? 10 : 18;
  const longest = Math.max(1, planAt(data, highestOffset).params, planAt(data, data.offset).params, data.compare?.params ?? 0) * 1.02;
  const frame = { data, look, width, narrow, left, right, first, last, top, longest, columnPixels: (width - left - right) / (last - first + 1.4), unitPixels: PIXELS.wall / top };
  frame.height = PIXELS.top + (data.curve ? PIXELS.curve + PIXELS.gap : 0) + PIXELS.wall + PIXELS.blocks + PIXELS.gauge + (data.compare ? PIXELS.compare : 0) + PIXELS.bottom;
  frame.still = [...curveTraces(frame), ...steps.map((other) => stepTrace(frame, other))];
  frame.layout = layoutOf(frame);
  return frame;
}

// The wall at `offset` on a frame. `shapes` is all that moves with the slider, unless `signature` changed too.
function wallFigure(frame, offset) {
  const plan = planAt(frame.data, offset);
  const courses = coursesOf(plan.blocks.flatMap((block) => bricksOf(frame.data, block, offset)), frame.unitPixels);
  const marks = markTrace(frame, plan);
  return {
    plan,
    signature: JSON.stringify([marks.x, marks.text, marks.y, plan.params === 0]),
    shapes: [...frame.layout.shapes, ...brickShapes(frame, courses), ...gaugeShapes(frame, plan)],
    traces: () => [brickTrace(frame, courses, offset), ...gaugeTraces(frame, plan), marks, ...frame.still],
  };
}

function curveTraces({ data, look, columnPixels }) {
  const slim = columnPixels < 12;
  const { curve } = data;
  if (!curve) return [];
  const at = curve.values.map((_, i) => i + 0.5);
  const shared = { type: "scatter", xaxis: "x", yaxis: "y", showlegend: false };
  const band = { ...shared, name: "interval", mode: "lines", x: [], y: [], fill: "toself", fillcolor: faded(look.curve, 0.18), line: { width: 0 }, hoverinfo: "skip" };
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
  const rises = { ...shared, name: "rises", mode: "lines", x: [], y: [], line: { width: slim ? 6 : 11, color: faded(look.rise, 0.55) }, hoverinfo: "skip" };
  for (const block of data.blocks) {
    const ends = [curve.values[block.block - 1], curve.values[block.block]];
    if (block.rise > 0 && ends.every((end) => end != null)) {
      rises.x.push(block.block - 0.5, block.block + 0.5, null);
      rises.y.push(...ends, null);
    }
  }
  const line = {
    ...shared, name: "curve", mode: "lines+markers", x: at, y: curve.values, connectgaps: false,
    line: { color: curve.colour, width: slim ? 1.5 : 3, dash: curve.dash }, marker: { color: curve.colour, size: slim ? 3 : 8, symbol: curve.symbol },
    hoverinfo: "text", hovertext: curve.values.map((value, i) => curveSentence(curve, i)),
  };
  return [band, rises, line];
}

function curveSentence(curve, i) {
  const interval = curve.low[i] == null || curve.high[i] == null ? "" : ` [${curve.low[i].toFixed(1)}, ${curve.high[i].toFixed(1)}]`;
  return `${curve.layer_names[i]}: ${curve.values[i] == null ? "undefined" : curve.values[i].toFixed(1) + interval}`;
}

// Another plan's ranks as one stepped outline over the wall.
function stepTrace({ data, look }, other) {
  const isCompare = other === data.compare;
  const trace = { type: "scatter", name: isCompare ? "compare" : "overlay", mode: "lines", xaxis: "x", yaxis: "y2", x: [], y: [], hoverinfo: "skip", showlegend: false,
    line: { color: isCompare ? other.colour : look.text, width: 2.5, dash: isCompare ? "solid" : "6px,3px" } };
  for (const block of Object.keys(other.ranks).map(Number).sort((a, b) => a - b)) {
    if (trace.x.length && trace.x.at(-1) !== block - 0.5) trace.x.push(null), trace.y.push(null);
    trace.x.push(block - 0.5, block + 0.5);
    trace.y.push(other.ranks[block], other.ranks[block]);
  }
  return trace;
}

// Equal bricks on each other, where one would be too thin to be seen, are drawn as one.
function coursesOf(bricks, unitPixels) {
  const courses = [];
  for (const brick of bricks) {
    const under = courses.at(-1);
    const same = under && under.block === brick.block && under.kind === brick.kind && under.share === brick.share && under.params === brick.params;
    if (unitPixels < THIN && same && brick.level < brick.block.rank) under.level = brick.level;
    else courses.push({ ...brick, from: brick.level });
  }
  return courses;
}

const box = (left, right, low, high) => `M${left},${low}H${right}V${high}H${left}Z`;
const across = (brick) => [brick.block.block - BRICK / 2, brick.block.block + BRICK / 2];

// The bricks as they are seen: one path for each look.
function brickShapes(frame, courses) {
  const { look, unitPixels, columnPixels } = frame;
  const paths = new Map();
  const add = (name, path) => paths.set(name, (paths.get(name) ?? "") + path);
  for (const brick of courses) {
    const sides = across(brick);
    if (brick.kind === "offset") add("offset", box(...sides, brick.from - 1, brick.level));
    if (brick.kind === "rise") add(brick.share, box(...sides, brick.from - 1, brick.level));
    if (brick.kind === "rise" && brick.share < 0.8) add("hatch", hatched(frame, ...sides, brick.from - 1, brick.level));
    if (brick.kind === "ghost") add("ghost", box(...sides, brick.from - 0.95, brick.level - 0.05));
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

// Lines at 45 degrees inside one brick, in the units of its axes.
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

// One bar a brick, not seen: what hovering says, and what a click asks for.
function brickTrace({ data }, courses, offset) {
  return {
    type: "bar", name: "bricks", xaxis: "x", yaxis: "y2", showlegend: false, width: BRICK, marker: UNSEEN,
    x: courses.map((brick) => brick.block.block),
    base: courses.map((brick) => brick.from - 1),
    y: courses.map((brick) => brick.level - brick.from + 1),
    customdata: courses.map((brick) => ({
      block: brick.block.block, level: brick.level, kind: brick.kind, share: brick.share, edit: editOf(data, brick), lines: brickLines(data, brick, offset),
    })),
    hoverinfo: "text",
    hovertext: courses.map((brick) => [brickSentence(data, brick, offset), ...editHint(data, brick)].map(escaped).join("<br>")),
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
    marker: { color: look.text, size: columnPixels > 16 ? 8 : 5, symbol: marked.map((block) => (block.byHand ? "triangle-down" : "x-thin")), line: { color: look.text, width: 1.5 } },
  };
}

// The same bricks laid in one row, as wide as their parameters: of every block first the offset's units, then the others.
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
  const shapes = Object.entries(paths).filter(([, path]) => path).map(([name, path]) => ({ ...shared, name: `gauge ${name}`, path, fillcolor: look[name] }));
  if (data.compare && data.compare.params > 0) shapes.push({ ...shared, name: "gauge compare", path: box(0, data.compare.params, 0, 0.4), fillcolor: data.compare.colour, line: { width: 0 } });
  return shapes;
}

// One bar a block, not seen: what hovering the gauge says.
function gaugeTraces({ data }, plan) {
  const shared = { type: "bar", orientation: "h", xaxis: "x2", yaxis: "y3", showlegend: false, hoverinfo: "text", marker: UNSEEN };
  const blocks = plan.blocks.filter((block) => block.params > 0);
  let end = 0;
  const base = blocks.map((block) => (end += block.params) - block.params);
  const said = (block) => `Block ${block.block}: rank ${block.rank}, ${plural(block.params, "parameter")}, ${((100 * block.params) / plan.params).toFixed(1)} % of this plan.`;
  const traces = [{ ...shared, name: "gauge", width: 0.86, x: blocks.map((block) => block.params), y: blocks.map(() => 1), base, hovertext: blocks.map(said) }];
  if (data.compare) traces.push({ ...shared, name: "gauge compare", width: 0.4, x: [data.compare.params], y: [0.2], base: [0], hovertext: [`${escaped(data.compare.label)}: ${plural(data.compare.params, "adapter parameter")}.`] });
  return traces;
}

function layoutOf(frame) {
  const { data, look, narrow, height, left, right, first, last, top, longest, columnPixels } = frame;
  const inner = height - PIXELS.top - PIXELS.bottom;
  const gauge = PIXELS.gauge + (data.compare ? PIXELS.compare : 0);
  const wall = [gauge + PIXELS.blocks, gauge + PIXELS.blocks + PIXELS.wall];
  const share = (pixels) => pixels.map((pixel) => Math.min(1, Math.max(0, pixel / inner)));
  const axis = { color: look.text, gridcolor: look.grid, zeroline: false, fixedrange: true, automargin: false, ticklabeloverflow: "allow", title: { standoff: 8, font: { size: 13 } } };
  const every = [1, 2, 5, 10, 20, 50, 100].find((step) => step * columnPixels > 24) ?? 200;
  const uniform = uniformTicks(frame);
  const dtick = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((step) => top / step <= 12) ?? 1000;
  const layout = {
    height, autosize: true, barmode: "overlay", bargap: 0, hovermode: "closest", dragmode: narrow ? false : "zoom",
    uirevision: `${first}-${last}`, selectionrevision: 0,
    margin: { l: left, r: right, t: PIXELS.top, b: PIXELS.bottom, pad: 0, autoexpand: false },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: look.font, size: 13, color: look.text },
    hoverlabel: { align: "left", namelength: 0, bgcolor: look.secondary, bordercolor: look.edge, font: { family: look.font, color: look.text, size: 13 } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: look.text, activecolor: look.primary, orientation: "h" },
    xaxis: { ...axis, domain: [0, 1], anchor: "y2", range: [first - 0.7, last + 0.7], fixedrange: false, showgrid: false, tick0: first, dtick: every, title: { ...axis.title, text: "block" } },
    yaxis2: { ...axis, domain: share(wall), anchor: "x", range: [0, top], dtick, title: { ...axis.title, text: "LoRA rank r" } },
    xaxis2: { ...axis, domain: [0, 1], anchor: "y3", range: [-0.003 * longest, longest], showgrid: false, tickmode: "array", tickvals: uniform.map((each) => each.params), ticktext: uniform.map((each) => (narrow ? `r=${each.r}` : `r = ${each.r}`)), title: { ...axis.title, text: narrow ? "parameters; dotted: one rank everywhere" : "adapter parameters; dotted: one rank r everywhere" } },
    yaxis3: { ...axis, domain: share([0, gauge]), anchor: "x2", range: data.compare ? [-0.1, 1.5] : [0.5, 1.5], visible: false },
    shapes: uniform.map((each) => ({ type: "line", xref: "x2", yref: "y3 domain", x0: each.params, x1: each.params, y0: 0, y1: 1.12, line: { color: look.text, width: 2, dash: "2px,3px" } })),
    annotations: [...labelsOf(frame), { name: "none", visible: false, xref: "x domain", yref: "y2 domain", x: 0.5, y: 0.5, showarrow: false, text: "No adapter at this offset: every block is skipped.", font: { size: 14 } }],
  };
  if (data.curve) {
    const ends = ["values", "low", "high"].flatMap((name) => data.curve[name]).filter((value) => value != null);
    const [low, high] = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
    const pad = Math.max(0.08 * (high - low), 0.25);
    layout.yaxis = { ...axis, domain: share([wall[1] + PIXELS.gap, inner]), anchor: "x", range: [Math.max(0, low - pad), high + pad], nticks: 5, title: { ...axis.title, text: `ID (${data.curve.name})` } };
    if (last - first < 40) layout.xaxis.minor = { tickvals: Array.from({ length: last - first + 2 }, (_, i) => first - 0.5 + i), showgrid: true, gridcolor: look.grid, griddash: "dot", ticks: "" };
  }
  return layout;
}

// Where uniform ranks end on the gauge, those that fit and whose words do not touch.
function uniformTicks({ data, longest, width, left, right, narrow }) {
  const room = narrow ? 34 : 58;
  const kept = [];
  for (const each of data.uniform.filter((other) => other.params <= longest).toReversed()) {
    const pixel = ((width - left - right) * each.params) / longest;
    if (!kept.length || kept.at(-1).pixel - pixel >= room) kept.push({ ...each, pixel });
  }
  return kept;
}

// Names beside the other plans' steps: one at the right end, one at the left.
function labelsOf({ data, look, longest }) {
  const label = (other, atRight) => {
    const blocks = Object.keys(other.ranks).map(Number);
    const block = atRight ? Math.max(...blocks) : Math.min(...blocks);
    return {
      xref: "x", yref: "y2", x: atRight ? block + 0.5 : block - 0.5, y: other.ranks[block], xanchor: atRight ? "right" : "left", yanchor: "bottom",
      showarrow: false, bgcolor: faded(look.background, 0.85), borderpad: 1, font: { size: 12, color: look.text },
      text: `<span style="color:${atRight ? other.colour : look.text}">${atRight ? "━" : "╍"}</span> <b>${escaped(other.label)}</b>`,
    };
  };
  const labels = [];
  if (data.compare && Object.keys(data.compare.ranks).length) labels.push(label(data.compare, true));
  if (data.overlay && Object.keys(data.overlay.ranks).length) labels.push(label(data.overlay, false));
  if (data.compare) {
    const inside = data.compare.params > 0.7 * longest;
    const text = `${escaped(data.compare.label)} ${counted(data.compare.params)}`;
    labels.push({ xref: "x2", yref: "y3", x: data.compare.params, y: 0.2, xanchor: inside ? "right" : "left", xshift: inside ? -4 : 4, showarrow: false, text,
      font: { size: 11, color: look.text }, bgcolor: faded(look.background, 0.85), borderpad: 0 });
  }
  return labels;
}
