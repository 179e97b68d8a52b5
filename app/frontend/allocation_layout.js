// What of the allocation's figure stays while the offset moves: its measures in pixels, axes, ticks and labels. Pure.

const PIXELS = { top: 34, curve: 140, gap: 16, ranks: 230, blocks: 58, gauge: 30, compare: 22, bottom: 48 };
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500];

const faded = (colour, alpha) => {
  const [red, green, blue] = colour.match(/[\d.]+/g).map(Number);
  return `rgba(${red},${green},${blue},${alpha})`;
};

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

// What stays as it is while the offset moves: axes, the curve, the steps of other plans.
function allocationFrame(data, look, width) {
  const numbers = data.blocks.map((block) => block.block);
  const last = Math.max(...numbers, data.curve ? data.curve.values.length - 1 : 1);
  const first = Math.min(...numbers, data.curve ? 1 : Infinity);
  const highestOffset = Math.max(data.max_offset, data.offset);
  const highest = planAt(data, highestOffset);
  const reached = highest.blocks.map((block) => {
    const supported = highestOffset + Math.max(block.rise, block.shares.length);
    return Math.max(block.rank, Math.min(block.limit, Math.max(supported, data.offset + block.rise + block.extra)));
  });
  const steps = [data.compare, data.overlay].filter(Boolean);
  const top = Math.max(4, ...reached, ...steps.flatMap((other) => Object.values(other.ranks))) + 0.6;
  const narrow = width <= 640;
  const left = narrow ? 46 : 62;
  const right = narrow ? 10 : 18;
  const longest = Math.max(1, highest.params, planAt(data, data.offset).params, data.compare?.params ?? 0) * 1.02;
  const columnPixels = (width - left - right) / (last - first + 1.4);
  const frame = { data, look, width, narrow, left, right, first, last, top, longest, columnPixels, unitPixels: PIXELS.ranks / top };
  frame.gauge = PIXELS.gauge + (data.compare ? PIXELS.compare : 0);
  frame.inner = (data.curve ? PIXELS.curve + PIXELS.gap : 0) + PIXELS.ranks + PIXELS.blocks + frame.gauge;
  frame.height = PIXELS.top + frame.inner + PIXELS.bottom;
  frame.still = [...curveTraces(frame), ...steps.map((other) => stepTrace(frame, other))];
  frame.layout = layoutOf(frame);
  return frame;
}

function layoutOf(frame) {
  const { data, look, narrow, height, left, right, first, last } = frame;
  const nothing = "No adapter at this offset: every block is skipped.";
  const layout = {
    height, autosize: true, barmode: "overlay", bargap: 0, hovermode: "closest", dragmode: narrow ? false : "zoom",
    uirevision: `${first}-${last}`,
    margin: { l: left, r: right, t: PIXELS.top, b: PIXELS.bottom, pad: 0, autoexpand: false },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: look.font, size: 13, color: look.text },
    hoverlabel: {
      align: "left", namelength: 0, bgcolor: look.secondary, bordercolor: look.edge,
      font: { family: look.font, color: look.text, size: 13 },
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: look.text, activecolor: look.primary, orientation: "h" },
    ...axesOf(frame),
    shapes: uniformTicks(frame).map(({ params }) => ({
      type: "line", xref: "x2", yref: "y3 domain", x0: params, x1: params, y0: 0, y1: 1.12,
      line: { color: look.text, width: 2, dash: "2px,3px" },
    })),
    annotations: labelsOf(frame),
  };
  // The last annotation is shown where no block has a rank.
  const middle = { xref: "x domain", yref: "y2 domain", x: 0.5, y: 0.5, showarrow: false };
  layout.annotations.push({ ...middle, visible: false, text: nothing, font: { size: 14 } });
  return layout;
}

// One block axis under curve and allocation, so that a zoom of one is a zoom of both; the gauge has its own, of parameters.
function axesOf(frame) {
  const { data, look, narrow, first, last, top, longest, columnPixels, gauge, inner } = frame;
  const share = (pixels) => pixels.map((pixel) => Math.min(1, Math.max(0, pixel / inner)));
  const axis = (text, rest) => ({
    color: look.text, gridcolor: look.grid, zeroline: false, fixedrange: true, automargin: false, ticklabeloverflow: "allow",
    title: { text, standoff: 8, font: { size: 13 } }, ...rest,
  });
  const [floor, ceiling] = [gauge + PIXELS.blocks, gauge + PIXELS.blocks + PIXELS.ranks];
  const blocks = { range: [first - 0.7, last + 0.7], tick0: first, dtick: STEPS.find((step) => step * columnPixels > 24) ?? 1000 };
  const ranks = { range: [0, top], dtick: STEPS.find((step) => top / step <= 12) ?? 1000 };
  const uniform = uniformTicks(frame);
  const params = {
    range: [-0.003 * longest, longest], tickmode: "array", tickvals: uniform.map((each) => each.params),
    ticktext: uniform.map((each) => (narrow ? `r=${each.r}` : `r = ${each.r}`)),
  };
  const dotted = narrow ? "parameters; dotted: uniform rank" : "adapter parameters; dotted: uniform rank r";
  const axes = {
    xaxis: axis("block", { ...blocks, domain: [0, 1], anchor: "y2", fixedrange: false, showgrid: false }),
    yaxis2: axis("LoRA rank r", { ...ranks, domain: share([floor, ceiling]), anchor: "x" }),
    xaxis2: axis(dotted, { ...params, domain: [0, 1], anchor: "y3", showgrid: false }),
    yaxis3: axis("", { domain: share([0, gauge]), anchor: "x2", range: data.compare ? [-0.1, 1.5] : [0.5, 1.5], visible: false }),
  };
  if (!data.curve) return axes;
  const ends = ["values", "low", "high"].flatMap((name) => data.curve[name]).filter((value) => value != null);
  const [low, high] = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
  const pad = Math.max(0.08 * (high - low), 0.25);
  const dimensions = { range: [Math.max(0, low - pad), high + pad], nticks: 5 };
  axes.yaxis = axis(`ID (${data.curve.name})`, { ...dimensions, domain: share([ceiling + PIXELS.gap, inner]), anchor: "x" });
  if (last - first < 40) {
    const boundaries = Array.from({ length: last - first + 2 }, (_, i) => first - 0.5 + i);
    axes.xaxis.minor = { tickvals: boundaries, showgrid: true, gridcolor: look.grid, griddash: "dot", ticks: "" };
  }
  return axes;
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
      xref: "x", yref: "y2", x: atRight ? block + 0.5 : block - 0.5, y: other.ranks[block],
      xanchor: atRight ? "right" : "left", yanchor: "bottom",
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
    labels.push({
      xref: "x2", yref: "y3", x: data.compare.params, y: 0.2, showarrow: false, text,
      xanchor: inside ? "right" : "left", xshift: inside ? -4 : 4,
      font: { size: 11, color: look.text }, bgcolor: faded(look.background, 0.85), borderpad: 0,
    });
  }
  return labels;
}
