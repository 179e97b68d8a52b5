// PNG and SVG of the figure beside it: asks the figure's own camera, which knows one format at a time, for the one that is wanted.
// Does not depend on what is drawn.

const KINDS = { PNG: { format: "png", scale: 2 }, SVG: { format: "svg", scale: 1 } };

// The figure as the page shows it, on the page's own background, so that words of a dark page stay readable on white paper.
function take(data, kind, words) {
  const figure = document.querySelector(`.st-key-${CSS.escape(data.chart)} .js-plotly-plot`);
  const camera = figure?.querySelector('.modebar-btn[data-title^="Download plot"]');
  words.textContent = camera ? "" : "The figure is not drawn yet: wait a moment and press again.";
  if (!camera) return;
  const before = figure.layout.paper_bgcolor;
  figure._context.toImageButtonOptions = { ...KINDS[kind], ...data.size, filename: data.name };
  figure.layout.paper_bgcolor = data.background ?? getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor;
  camera.click(); // copies the figure before it returns
  figure.layout.paper_bgcolor = before;
}

export default function ({ parentElement, data }) {
  let row = parentElement.querySelector(".pictures");
  if (!row) {
    row = Object.assign(document.createElement("div"), { className: "pictures" });
    const words = Object.assign(document.createElement("span"), { role: "status" });
    for (const kind of Object.keys(KINDS)) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: kind });
      button.addEventListener("click", () => take(row.told, kind, words));
      row.append(button);
    }
    row.append(words);
    parentElement.append(row);
  }
  row.told = data;
  for (const button of row.querySelectorAll("button")) button.ariaLabel = `Picture as ${button.textContent}`;
}
