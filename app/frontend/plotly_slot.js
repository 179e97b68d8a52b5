// One place in the page for Plotly, which the loader fills and figures wait for.

function plotlySlot() {
  const name = Symbol.for("gelora.plotly");
  if (!globalThis[name]) {
    const slot = { filled: false };
    slot.plotly = new Promise((resolve, reject) => Object.assign(slot, { resolve, reject }));
    slot.plotly.catch(() => {}); // whoever waits shows the reason; without a rank allocation on the page nobody does
    globalThis[name] = slot;
  }
  return globalThis[name];
}
