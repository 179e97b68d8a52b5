// The rank allocation on the page: slider, sentence, figure, and what is said to Python. Knows no rule: ranks are in
// allocation_plan.js, the picture in allocation_figure.js. Redraws on every `input` of the slider, at most once a frame; Python is
// told the release.

const allocations = new WeakMap(); // the element that the page gave -> its allocation
const PICTURE = { png: ["Download picture (PNG)", "camera"], svg: ["Download picture (SVG)", "disk"] };

const make = (tag, className, attributes = {}) => Object.assign(document.createElement(tag), { className }, attributes);

class RankAllocation {
  constructor(parent) {
    this.parent = parent;
    this.sent = 0; // the number of the last word that Python was sent
    this.heading = null; // the offset of that word, until the page has answered it
    this.server = null; // the offset that the page gave last
    this.frame = null;
    this.pending = 0;
    this.moving = false; // a pointer or an arrow key is down on the slider
    this.unsaid = false; // the slider was moved, and Python has not been told yet
    this.brief = false; // the next frame is one of many: only what is seen
    this.gone = false;
    this.build();
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.plot);
  }

  build() {
    this.root = make("section", "rank-allocation", { ariaLabel: "Rank allocation" });
    const head = make("div", "rank-allocation-head");
    const row = make("div", "rank-allocation-row");
    this.value = make("output", "rank-allocation-value");
    this.input = make("input", "rank-allocation-slider", { type: "range", step: 1, ariaLabel: "Offset" });
    this.ticks = make("div", "rank-allocation-ticks", { ariaHidden: "true" });
    this.line = make("p", "rank-allocation-line", { ariaLive: "polite" });
    this.sentence = make("span", "");
    this.fits = make("span", "");
    this.line.append(this.sentence, this.fits);
    const hint = make("span", "rank-allocation-hint", { textContent: "under it: the equivalent uniform rank r" });
    row.append(make("span", "rank-allocation-name", { textContent: "Offset" }), this.value, hint);
    head.append(row, this.input, this.ticks, this.line);
    this.plot = make("div", "rank-allocation-plot");
    this.readout = make("div", "rank-allocation-readout", { ariaLive: "polite" });
    this.said = make("p", "rank-allocation-said");
    this.editButton = make("button", "rank-allocation-edit", { type: "button", hidden: true });
    this.readout.append(this.said, this.editButton);
    this.key = make("p", "rank-allocation-key");
    this.root.append(head, this.plot, this.readout, this.key, exportRow(this));
    this.parent.append(this.root);
    this.input.addEventListener("input", () => {
      this.unsaid = true;
      this.schedule(true);
    });
    this.input.addEventListener("pointerdown", () => (this.moving = true));
    for (const end of ["pointerup", "pointercancel", "blur"]) this.input.addEventListener(end, () => this.settle());
    this.input.addEventListener("keydown", (event) => (this.moving ||= /^(Arrow|Page|Home|End)/.test(event.key)));
    this.input.addEventListener("keyup", () => this.settle());
    this.input.addEventListener("change", () => {
      if (this.moving) return; // a key that is held, and repeats
      this.schedule();
      this.release();
    });
    this.plot.addEventListener("pointerdown", (event) => (this.byTouch = event.pointerType === "touch"), true);
    this.editButton.addEventListener("click", () => this.edit(this.touched));
  }

  // A new answer of the page (or a new theme): the slider moves only when the page means to move it.
  update({ data, setTriggerValue }) {
    this.say = setTriggerValue;
    const isFirst = this.server === null;
    this.data = data;
    this.input.min = data.least_offset;
    this.input.max = Math.max(data.max_offset, data.offset);
    const underway = this.sent > 0 && (data.last_message === null ? data.offset === this.server : data.last_message < this.sent);
    this.server = data.offset;
    if (!underway) this.heading = null;
    if (isFirst || (!underway && !this.moving && !this.unsaid)) this.input.value = data.offset;
    this.frame = null;
    this.schedule();
  }

  // A frame, once however often it is asked for. A brief one redraws what is seen, any other one what hovering says too.
  schedule(brief = false) {
    this.brief = brief && (this.brief || !this.pending);
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0;
      this.draw();
    });
  }

  // The pointer or the key is up: what the slider shows now is what Python is told, once.
  settle() {
    if (!this.moving) return;
    this.moving = false;
    this.schedule();
    // `change` of a pointer comes after `pointerup`, of a key before `keyup`: look when both are over.
    setTimeout(() => this.gone || this.moving || this.release());
  }

  release() {
    this.unsaid = false;
    const offset = this.input.valueAsNumber;
    if (offset === (this.heading ?? this.server)) return;
    this.heading = offset;
    this.tell({ value: offset, nonce: this.nextNonce() });
  }

  // A word that comes while the page is being drawn can get lost on a busy server: it is said again, twice at most, until
  // the page's answer names it or a later one.
  tell(word, waits = [4000, 12000]) {
    this.say("offset", word);
    if (waits.length === 0) return;
    setTimeout(() => {
      const isAnswered = this.data.last_message !== null && this.data.last_message >= word.nonce;
      if (!this.gone && !isAnswered && this.sent === word.nonce) this.tell(word, waits.slice(1));
    }, waits[0]);
  }

  edit(unit) {
    if (unit?.edit == null) return;
    this.say("edit", { block: unit.block, rank: unit.edit, nonce: this.nextNonce() });
  }

  // Numbers grow over page changes and tabs too, so that an echo tells which word it answers.
  nextNonce() {
    return (this.sent = Math.max(Date.now(), this.sent + 1));
  }

  resized() {
    if (this.frame && this.plot.clientWidth > 0 && this.frame.width !== this.plot.clientWidth) {
      this.frame = null;
      this.schedule();
    }
  }

  async draw() {
    this.words();
    if (!this.plotly) {
      try {
        this.plotly = await plotlySlot().plotly;
      } catch (error) {
        const why = `the chart library did not load in this browser (${error.message})`;
        this.plot.textContent = `The allocation cannot be drawn: ${why}. Reload the page.`;
        return;
      }
      if (this.gone) return;
    }
    const width = this.plot.clientWidth;
    if (width === 0) return; // hidden: the observer calls when it shows
    if (!this.frame) {
      this.look = lookOf(this.root, this.data);
      this.frame = allocationFrame(this.data, this.look, width);
      this.root.classList.toggle("rank-allocation-narrow", this.frame.narrow);
      this.read(null);
      // On a phone the slider sticks under the page's own bar.
      this.root.style.setProperty("--allocation-header", `${document.querySelector("[data-testid=stHeader]")?.offsetHeight ?? 0}px`);
    }
    const figure = allocationFigure(this.frame, this.input.valueAsNumber);
    if (this.brief && this.drawn && this.signature === figure.signature) {
      this.plotly.relayout(this.plot, { shapes: figure.shapes });
      this.figure.layout.shapes = figure.shapes;
      return;
    }
    this.signature = figure.signature;
    // Plotly writes a zoom into the axis that it was given; it keeps one only while the page goes on asking for the axis unzoomed.
    const { xaxis, annotations } = this.frame.layout;
    annotations.at(-1).visible = figure.plan.params === 0;
    const layout = { ...this.frame.layout, shapes: figure.shapes, xaxis: { ...xaxis, range: [...xaxis.range] } };
    this.figure = { data: figure.traces(), layout };
    if (this.drawn) {
      this.plotly.react(this.plot, this.figure.data, layout);
      return;
    }
    this.drawn = true;
    this.plotly.newPlot(this.plot, this.figure.data, layout, this.config());
    this.plot.on("plotly_hover", ({ points }) => this.read(points[0]));
    this.plot.on("plotly_click", ({ points }) => (this.byTouch ? this.read(points[0], true) : this.edit(points[0].customdata)));
  }

  // Everything in words: value, sentence, ticks, key.
  words() {
    const { data } = this;
    const offset = this.input.valueAsNumber;
    const sentence = budgetSentence(data, planAt(data, offset));
    this.value.textContent = offset;
    this.input.setAttribute("aria-valuetext", `${offset}: ${sentence}`);
    this.sentence.textContent = sentence;
    // What the page says of the offset it knows does not hold for another one; its place is kept, so that nothing jumps.
    this.fits.textContent = data.fits ? ` · ${data.fits}` : "";
    this.fits.style.visibility = offset === data.offset ? "visible" : "hidden";
    if (this.worded === data) return;
    this.worded = data;
    this.root.classList.toggle("rank-allocation-stale", data.stale);
    this.ticks.replaceChildren(...this.tickMarks());
    this.key.replaceChildren(...keyOf(data));
  }

  tickMarks() {
    const [low, high] = [Number(this.input.min), Number(this.input.max)];
    const every = [1, 2, 5, 10, 20, 50, 100, 1000].find((step) => (high - low) / step <= 12) ?? high;
    const marks = [];
    for (let offset = low; offset <= high; offset += every) {
      const mark = make("span", "rank-allocation-tick");
      mark.style.setProperty("--at", high > low ? (offset - low) / (high - low) : 0);
      const r = equivalentRank(this.data, planAt(this.data, offset).params);
      const cost = `r ${r < 100 ? r.toFixed(1) : Math.round(r)}`;
      mark.append(make("b", "", { textContent: offset }), make("i", "", { textContent: cost }));
      marks.push(mark);
    }
    return marks;
  }

  // All that is known of a point, as text under the figure; after a touch with a button, because a finger that reads must not edit.
  read(point, touched = false) {
    this.touched = point?.customdata;
    const text = this.touched?.lines.join(" ") ?? point?.hovertext ?? "";
    this.said.textContent = text || `${this.frame.narrow ? "Tap" : "Point at"} a rank unit, the gauge or the curve to read it here.`;
    const edit = this.touched?.edit;
    this.editButton.hidden = !touched || edit == null;
    if (edit != null) this.editButton.textContent = edit < this.touched.level ? "Remove this unit" : "Add this unit";
  }

  config() {
    const button = ([format, [title, icon]]) => ({ name: title, title, icon: this.plotly.Icons[icon], click: () => this.download(format) });
    const buttons = [Object.entries(PICTURE).map(button), ["zoomIn2d", "zoomOut2d", "resetScale2d"]];
    return { displaylogo: false, displayModeBar: true, modeBarButtons: buttons, responsive: false, doubleClick: "reset" };
  }

  download(format) {
    return pictureOf(this, format);
  }

  remove() {
    this.gone = true;
    cancelAnimationFrame(this.pending);
    this.observer.disconnect();
    if (this.drawn) this.plotly.purge(this.plot);
    this.root.remove();
  }
}

// The theme's colours as the browser computes them, and those that every chart of the dashboard shares.
function lookOf(element, data) {
  const style = getComputedStyle(element);
  const probe = element.appendChild(make("i", ""));
  const resolved = (colour) => {
    probe.style.color = colour;
    return getComputedStyle(probe).color;
  };
  const theme = (name, otherwise) => resolved(style.getPropertyValue(`--st-${name}`).trim() || otherwise);
  const look = {
    text: theme("text-color", "#0d151d"),
    background: theme("background-color", "#ffffff"),
    secondary: theme("secondary-background-color", "#f3f5f8"),
    primary: theme("primary-color", "#0b5fa5"),
  };
  for (const [name, colour] of Object.entries(data.colours)) look[name] = resolved(colour);
  look.curve = resolved(data.curve?.colour ?? data.colours.reference);
  const [red, green, blue] = look.background.match(/[\d.]+/g).map(Number);
  if (0.299 * red + 0.587 * green + 0.114 * blue < 128) look.edge = faded(look.text, 0.8); // a dark outline is lost on a dark page
  look.font = style.getPropertyValue("--st-font").trim() || "sans-serif";
  probe.remove();
  return look;
}

// The marks of the picture, each with its word; only those that this allocation can show.
function keyOf(data) {
  const entries = [["offset", "offset"], ["rise", data.n_shares ? "rise, supported" : "rise"]];
  if (data.n_shares) {
    const of = data.shares_of === "estimators" ? `${data.n_shares} estimators` : "resamples";
    entries.push(["uncertain", `paler, hatched: supported by fewer than ${+(100 * data.solid_from).toFixed(1)} % of ${of}`]);
    entries.push(["ghost", "dotted: supported by some, not in the plan"]);
  }
  if (data.blocks.some((block) => block.modules.some((group) => group.fixed != null))) entries.push(["hand", "set by hand"]);
  if (data.editable) entries.push(["", "click the top unit to remove it, above it to add one"]);
  return entries.map(([kind, words]) => {
    const entry = make("span", "rank-allocation-entry");
    if (kind) {
      const mark = make("i", `rank-allocation-mark rank-allocation-mark-${kind}`);
      for (const [name, colour] of Object.entries(data.colours)) mark.style.setProperty(`--allocation-${name}`, colour);
      entry.append(mark);
    }
    entry.append(words);
    return entry;
  });
}

export default function (component) {
  const { parentElement } = component;
  if (!allocations.has(parentElement)) allocations.set(parentElement, new RankAllocation(parentElement));
  const allocation = allocations.get(parentElement);
  allocation.update(component);
  return () => {
    allocation.remove();
    allocations.delete(parentElement);
  };
}
