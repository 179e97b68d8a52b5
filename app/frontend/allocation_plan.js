// A plan at one offset: ranks, units, parameters, and the sentences that say them. Pure arithmetic: no page, no Plotly.
//
// rank of a module = its rank by hand, else min(offset + rise + extra, limit); `extra` holds at the offset it was given for.
// rank of a block  = the largest among its modules.

const KNOWN_ORDINALS = { 1: "st", 2: "nd", 3: "rd" };

const ordinal = (n) => n + ((n % 100 > 10 && n % 100 < 14) || !KNOWN_ORDINALS[n % 10] ? "th" : KNOWN_ORDINALS[n % 10]);
const THOUSANDS = new Intl.NumberFormat("en-US"); // made once: a locale is looked up each time that toLocaleString is called
const counted = (n) => THOUSANDS.format(n);
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
const sized = (bytes) => (bytes < 1e9 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);
const plural = (n, word) => `${counted(n)} ${word}${n === 1 ? "" : "s"}`;

function moduleRank(group, block, offset, data) {
  if (group.fixed != null) return group.fixed;
  const extra = offset === data.offset ? block.extra : 0;
  return Math.min(offset + block.rise + extra, group.limit);
}

// The blocks at this offset: rank, parameters, highest legal rank, whether a hand set it, what one more unit costs.
function planAt(data, offset) {
  const blocks = data.blocks.map((block) => {
    const ranks = block.modules.map((group) => moduleRank(group, block, offset, data));
    const sum = (counts) => block.modules.reduce((total, group, i) => total + (counts(group, ranks[i]) ? group.n * group.per_rank : 0), 0);
    return {
      ...block,
      rank: Math.max(0, ...ranks),
      params: block.modules.reduce((total, group, i) => total + group.n * group.per_rank * ranks[i], 0),
      limit: Math.max(0, ...block.modules.map((group) => group.limit)),
      byHand: block.modules.some((group) => group.fixed != null),
      unitParams: (level) => sum((group, rank) => rank >= level),
      nextParams: (level) => sum((group) => group.limit >= level),
    };
  });
  return { offset, blocks, params: blocks.reduce((total, block) => total + block.params, 0) };
}

const equivalentRank = (data, params) => params / data.uniform[0].params * data.uniform[0].r;

// Share of resamples, or of estimators, that support the unit `above` the offset, counted from 1; 1 where nobody was asked.
const shareOf = (data, block, above) => (data.n_shares ? block.shares[above - 1] ?? 0 : 1);

// Every unit of a block, from the ground up. kind: "offset" and "rise" are in the plan; "ghost" is supported by some but is not
// in it; "slot" is the empty place over the top, where a click adds a unit.
function unitsOf(data, block, offset) {
  const units = [];
  for (let level = 1; level <= block.rank; level++) {
    const above = level - offset;
    const [kind, share] = above <= 0 ? ["offset", 1] : ["rise", shareOf(data, block, above)];
    units.push({ block, level, kind, share, params: block.unitParams(level) });
  }
  const supported = data.n_shares ? block.shares.length : block.rise;
  for (let level = block.rank + 1; level <= Math.min(offset + supported, block.limit); level++) {
    const share = level <= offset ? 1 : shareOf(data, block, level - offset);
    if (share > 0) units.push({ block, level, kind: "ghost", share, params: block.nextParams(level) });
  }
  const top = block.rank + 1;
  if (data.editable && top <= block.limit && !units.some((unit) => unit.level === top))
    units.push({ block, level: top, kind: "slot", share: 0, params: block.nextParams(top) });
  return units;
}

// The rank that a click on this unit asks for, or null: only the top unit is removed, only one unit is added at a time.
function editOf(data, unit) {
  if (!data.editable) return null;
  if (unit.kind === "ghost" || unit.kind === "slot") return unit.block.rank + 1;
  return unit.level === unit.block.rank ? unit.block.rank - 1 : null;
}

function supportedBy(data, share) {
  if (data.shares_of !== "estimators") return `supported by ${Math.round(share * 100)} % of resamples`;
  return `supported by ${Math.round(share * data.n_shares)} of ${data.n_shares} estimators`;
}

function unitSentence(data, unit, offset) {
  const { block, level } = unit;
  const which = `${ordinal(level)} rank unit`;
  if (unit.kind === "slot") return `Block ${block.block}: a click adds the ${which}; ${plural(unit.params, "parameter")}.`;
  const removed = unit.kind === "ghost" && (level <= offset || level - offset <= block.rise);
  let why = level <= offset ? "from the offset" : data.n_shares ? supportedBy(data, unit.share) : "from the rise";
  if (unit.kind === "rise" && level > offset + block.rise) why += block.byHand ? ", added by hand" : ", added by the budget";
  if (unit.kind === "ghost") why += removed && block.byHand ? ", removed by hand" : ", not in the plan";
  return `Block ${block.block}, ${which}: ${why}; ${plural(unit.params, "parameter")}.`;
}

// What a click would do, or nothing.
function editHint(data, unit) {
  const edit = unit.kind === "slot" ? null : editOf(data, unit);
  if (edit === null) return [];
  return [edit < unit.block.rank ? "A click removes it." : `A click adds the ${ordinal(edit)} unit.`];
}

// All that is known of a unit, sentence by sentence.
function unitLines(data, unit, offset) {
  const { block } = unit;
  const lines = [unitSentence(data, unit, offset)];
  const interval = block.low == null || block.high == null ? "" : ` [${signed(block.low)}, ${signed(block.high)}]`;
  if (block.value != null) lines.push(`Rise of this block: ${signed(block.value)}${interval}.`);
  if (block.note) lines.push(block.note);
  if (block.byHand) lines.push("The rank of this block is set by hand.");
  for (const other of [data.compare, data.overlay]) {
    const rank = other?.ranks[block.block];
    if (rank != null) lines.push(`${other.label}: rank ${rank}.`);
  }
  return lines;
}

function budgetSentence(data, plan) {
  if (plan.params === 0) return "0 adapter parameters · no adapter at this offset: every block is skipped";
  return [
    plural(plan.params, "adapter parameter"),
    `${((100 * plan.params) / data.n_model_params).toFixed(3)} % of the model`,
    `${sized(plan.params * data.bytes_per_param)} file`,
    `${sized(plan.params * data.optimizer_bytes_per_param)} AdamW`,
    `equivalent uniform\u00a0rank\u00a0${equivalentRank(data, plan.params).toFixed(2)}`,
  ].join(" · ");
}
