// One place in the page where Plotly lies once it has come. The loader fills it, walls wait at it; nothing else is known here.

function plotlyShelf() {
  const name = Symbol.for("gelora.plotly");
  if (!globalThis[name]) {
    const shelf = { filled: false };
    shelf.plotly = new Promise((resolve, reject) => Object.assign(shelf, { resolve, reject }));
    shelf.plotly.catch(() => {}); // whoever waits shows the reason; without a wall on the page nobody does
    globalThis[name] = shelf;
  }
  return globalThis[name];
}
