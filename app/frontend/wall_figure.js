// A plan at one offset as one Plotly figure: ID curve, wall, gauge. Pure: data, offset and look in, traces and layout out.

const PIXELS = { top: 34, curve: 140, gap: 16, wall: 230, blocks: 58, gauge: 30, compare: 22, bottom: 48 };
const THIN = 4; // pixels of a brick under which equal bricks on each other are drawn as one
const BRICK = 0.84; // width of a brick, of one block

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

// The traces at `offset`, on a frame; the first two change with the offset, so that the rest keeps its arrays.
function wallFigure(frame, offset) {
  const plan = planAt(frame.data, offset);
  const bricks = plan.blocks.flatMap((block) => bricksOf(frame.data, block, offset));
  return { plan, data: [brickTrace(frame, bricks, offset), ghostTrace(frame, bricks), ...gaugeTraces(frame, plan), markTrace(frame, plan), ...frame.still] };
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

function brickTrace({ data, look, unitPixels, columnPixels }, bricks, offset) {
  const courses = coursesOf(bricks, unitPixels);
  const inPlan = (brick) => brick.kind === "offset" || brick.kind === "rise";
  const fills = { offset: look.offset, ghost: "rgba(0,0,0,0)", slot: "rgba(0,0,0,0)" };
  const edge = columnPixels < 6 || unitPixels < THIN ? 0 : columnPixels > 30 ? 1.6 : 0.9; // not wider than what it goes round
  return {
    type: "bar", name: "bricks", xaxis: "x", yaxis: "y2", showlegend: false, width: BRICK,
    x: courses.map((brick) => brick.block.block),
    base: courses.map((brick) => brick.from - 1),
    y: courses.map((brick) => brick.level - brick.from + 1),
    marker: {
      color: courses.map((brick) => fills[brick.kind] ?? faded(look.rise, (0.25 + 0.75 * brick.share).toFixed(3))),
      line: { color: look.edge, width: courses.map((brick) => (inPlan(brick) ? edge : 0)) },
      pattern: { shape: courses.map((brick) => (brick.kind === "rise" && brick.share < 0.8 ? "/" : "")), fillmode: "overlay", fgcolor: look.edge, fgopacity: 0.55, size: 6, solidity: 0.22 },
    },
    customdata: courses.map((brick) => ({ block: brick.block.block, level: brick.level, kind: brick.kind, share: brick.share, edit: editOf(data, brick) })),
    hoverinfo: "text",
    hovertext: courses.map((brick) => brickLines(data, brick, offset).map(escaped).join("<br>")),
  };
}

// Dotted outlines: a bar's own outline cannot be dotted.
function ghostTrace({ look }, bricks) {
  const trace = { type: "scatter", name: "ghosts", mode: "lines", xaxis: "x", yaxis: "y2", x: [], y: [], line: { color: look.edge, width: 1.4, dash: "2px,3px" }, hoverinfo: "skip", showlegend: false };
  for (const brick of bricks.filter((each) => each.kind === "ghost")) {
    const [left, right, low, high] = [brick.block.block - BRICK / 2, brick.block.block + BRICK / 2, brick.level - 0.95, brick.level - 0.05];
    trace.x.push(left, right, right, left, left, null);
    trace.y.push(low, low, high, high, low, null);
  }
  return trace;
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
function gaugeTraces({ data, look, longest, width }, plan) {
  const pieces = { y: [], x: [], base: [], colour: [], text: [] };
  let from = 0;
  for (const block of plan.blocks.filter((each) => each.params > 0)) {
    let grey = 0;
    for (let level = 1; level <= Math.min(plan.offset, block.rank); level++) grey += block.unitParams(level);
    const said = `Block ${block.block}: rank ${block.rank}, ${plural(block.params, "parameter")}, ${((100 * block.params) / plan.params).toFixed(1)} % of this plan.`;
    for (const [params, colour] of [[grey, look.offset], [block.params - grey, look.rise]]) {
      if (params === 0) continue;
      pieces.y.push(1);
      pieces.x.push(params);
      pieces.base.push(from);
      pieces.colour.push(colour);
      pieces.text.push(said);
      from += params;
    }
  }
  const shared = { type: "bar", orientation: "h", xaxis: "x2", yaxis: "y3", showlegend: false, hoverinfo: "text" };
  const thick = (width * plan.params) / (longest * plan.blocks.length) > 6 ? 1 : 0;
  const traces = [{ ...shared, name: "gauge", width: 0.86, x: pieces.x, y: pieces.y, base: pieces.base, hovertext: pieces.text, marker: { color: pieces.colour, line: { color: look.edge, width: thick } } }];
  if (data.compare) {
    const said = `${data.compare.label}: ${plural(data.compare.params, "adapter parameter")}`;
    traces.push({ ...shared, name: "gauge of the other", width: 0.4, x: [data.compare.params], y: [0.2], base: [0], hovertext: [`${said}.`], marker: { color: data.compare.colour } });
  }
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
    hoverlabel: { align: "left", namelength: 0, bgcolor: look.secondary, bordercolor: look.edge, font: { color: look.text, size: 13 } },
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
