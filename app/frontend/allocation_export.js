// What of the rank allocation can be exported: its numbers at the offset that is shown, and its picture.

const TABLE = {
  block: (block) => block.block,
  dimension_in: (block, data) => data.curve?.values[block.block - 1],
  dimension_out: (block, data) => data.curve?.values[block.block],
  rise: (block) => block.value,
  rise_low: (block) => block.low,
  rise_high: (block) => block.high,
  offset: (block, data, plan) => plan.offset,
  rank: (block) => block.rank,
  by_hand: (block) => block.byHand,
  adapter_parameters: (block) => block.params,
  shares: (block) => block.shares.join(" "),
};

// One row a block, as CSV. `shares`: the support of each unit that the rule might add, in order; empty where nobody was asked.
function allocationTable(data, plan) {
  const rows = plan.blocks.map((block) => Object.values(TABLE).map((of) => of(block, data, plan) ?? "").join(","));
  return [Object.keys(TABLE).join(","), ...rows, ""].join("\n");
}

// Buttons that a keyboard reaches.
function exportRow(allocation) {
  const row = make("div", "rank-allocation-export");
  const exporter = (label, what, click) => {
    const button = make("button", "", { type: "button", textContent: label, ariaLabel: what });
    button.addEventListener("click", click);
    row.append(button);
  };
  exporter("CSV", "Numbers of the rank allocation as CSV", () => saveTable(allocation));
  for (const format of Object.keys(PICTURE)) {
    const name = format.toUpperCase();
    exporter(name, `Picture as ${name}`, () => allocation.drawn && allocation.download(format));
  }
  return row;
}

function saveTable(allocation) {
  const table = new Blob([allocationTable(allocation.data, planAt(allocation.data, allocation.input.valueAsNumber))], { type: "text/csv" });
  const link = make("a", "", { href: URL.createObjectURL(table), download: "rank_allocation.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
}

// The figure as a file, made by this browser, on the page's own background and with the sentence as its title.
function pictureOf({ plot, frame, figure, input, sentence, look, plotly }, format) {
  const { width, height } = { width: plot.clientWidth, height: frame.height + 26 };
  const title = { text: `Offset ${input.value}: ${sentence.textContent}`, x: 0.01, xanchor: "left", font: { size: 12 } };
  const margin = { ...figure.layout.margin, t: PIXELS.top + 26 };
  const layout = { ...figure.layout, title, width, height, margin, paper_bgcolor: look.background };
  const options = { format, width, height, scale: format === "png" ? 2 : 1, filename: "rank_allocation" };
  return plotly.downloadImage({ data: figure.data, layout }, options);
}
