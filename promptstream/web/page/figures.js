// A turn's final figures in, the line under its answer out. What is not known says so, and is never 0.

import { element, shown } from "./dom.js";

/** Give milliseconds as a person says them. */
export function seconds(ms) {
  if (ms == null) return "unknown";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

const sum = (a, b) => (a == null || b == null ? null : a + b);
const count = (value) => (value == null ? "unknown" : value.toLocaleString("en"));

function money(cost) {
  if (cost == null) return "unknown";
  return cost > 0 && cost < 0.001 ? `$${cost.toPrecision(2)}` : `$${cost.toFixed(4)}`;
}

/** Add a turn's figures to those of the answer it goes on with, where approvals stood between them; times in ms. */
export function figures(before, final, first, took) {
  const usage = final?.usage ?? {};
  const now = {
    total: took ?? null,
    input: usage.input ?? null,
    output: usage.output ?? null,
    tokens: usage.total ?? null,
    cost: final?.cost ?? null,
  };
  if (before) for (const name of Object.keys(now)) now[name] = sum(before[name], now[name]);
  const parts = `(${count(now.input)} in, ${count(now.output)} out)`;
  const tokens = now.tokens == null ? "unknown" : `${count(now.tokens)} ${parts}`;
  const rows = [
    ["First text", seconds(first)],
    ["Total", seconds(now.total)],
    ["Tokens", tokens],
    ["Cost", money(now.cost)],
  ];
  if (final?.model) rows.push(["Model", shown(final.model)]);
  const node = element("dl", { class: "figures", "aria-label": "Figures" });
  for (const [name, value] of rows) {
    const unknown = value === "unknown" ? "unknown" : null;
    node.append(element("div", {}, element("dt", {}, name), element("dd", { class: unknown }, value)));
  }
  return { ...now, node };
}
