// Lines of Markdown in, blocks out: CommonMark's blocks and tables, without HTML and reference definitions.
//
// Each line is looked at once for each level it is nested in, and levels are bounded, so the time is linear.
// A block has `from`, its first line, and `decided`, the line after which nothing can unmake its beginning.

const DEEPEST = 12;
const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)(.*)$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const MARKER = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const QUOTE = /^ {0,3}> ?/;
const CELL = /^:?-+:?$/;

const blank = (line) => line.trim() === "";
const indent = (line) => line.length - line.trimStart().length;

const LEAD = /^[ \t]+/;
const TABBED = /^( *(?:[-*+]|\d{1,9}[.)]))\t/;

/** Give the lines of a text; a tab that indents counts as four spaces. */
export function split(text) {
  if (!text.includes("\t")) return text.split("\n");
  const spaced = (line) => line.replace(LEAD, (space) => space.replaceAll("\t", "    ")).replace(TABBED, "$1 ");
  return text.split("\n").map(spaced);
}

/** Give the blocks of some lines. */
export function parse(lines, depth = 0) {
  const blocks = [];
  let paragraph = null;
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    if (blank(line)) {
      paragraph = null;
      at += 1;
      continue;
    }
    const underline = paragraph && UNDERLINE.exec(line);
    if (underline) {
      Object.assign(paragraph, { type: "heading", level: underline[1][0] === "=" ? 1 : 2 });
      paragraph = null;
      at += 1;
      continue;
    }
    const found = begun(lines, at, depth, paragraph !== null);
    if (found) {
      blocks.push({ from: at, decided: at, ...found.block });
      paragraph = null;
      at = found.to;
      continue;
    }
    if (!paragraph) blocks.push((paragraph = { type: "paragraph", from: at, decided: at, texts: [] }));
    paragraph.texts.push(line.trimStart());
    at += 1;
  }
  for (const block of blocks) {
    if (block.texts) block.text = block.texts.join("\n").trimEnd();
  }
  return blocks;
}

/** Give the block that begins at a line, with the line after it; null where text goes on or begins. */
function begun(lines, at, depth, inside) {
  const line = lines[at];
  if (!inside && line.startsWith("    ")) return indented(lines, at);
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return { to: at + 1, block: { type: "heading", level: heading[1].length, text: title(heading[2]) } };
  if (RULE.test(line)) return { to: at + 1, block: { type: "rule" } };
  if (depth < DEEPEST && QUOTE.test(line)) return quoted(lines, at, depth);
  if (depth < DEEPEST && (inside ? interrupts(line) : marker(line))) return listed(lines, at, depth);
  return tabled(lines, at);
}

function title(text) {
  let end = text.trimEnd();
  let hashes = end.length;
  while (hashes > 0 && end[hashes - 1] === "#") hashes -= 1;
  if (hashes === 0 || /[ \t]/.test(end[hashes - 1])) end = end.slice(0, hashes);
  return end.trim();
}

function indented(lines, at) {
  let to = at;
  let end = at;
  while (to < lines.length && (blank(lines[to]) || lines[to].startsWith("    "))) {
    to += 1;
    if (!blank(lines[to - 1])) end = to;
  }
  const text = lines.slice(at, end).map((line) => line.slice(4));
  return { to: end, block: { type: "code", language: "", text: text.join("\n") } };
}

function fenced(lines, at, [line, mark, info]) {
  const room = indent(line);
  const inside = [];
  let to = at + 1;
  let closed = false;
  while (to < lines.length && !closed) {
    closed = closes(lines[to], mark);
    if (!closed) inside.push(lines[to].slice(Math.min(room, indent(lines[to]))));
    to += 1;
  }
  return { to, block: { type: "code", language: info.trim().split(/\s/, 1)[0].slice(0, 30), text: inside.join("\n") } };
}

function closes(line, mark) {
  const text = line.trim();
  return text.length >= mark.length && indent(line) < 4 && text === mark[0].repeat(text.length);
}

/** Give the mark of a list's item that a line begins with, or null. */
function marker(line) {
  const found = MARKER.exec(line);
  if (!found || RULE.test(line)) return null;
  const [all, space, sign, gap] = found;
  const rest = line.slice(all.length);
  const number = /\d/.test(sign) ? Number.parseInt(sign, 10) : null;
  const offset = space.length + sign.length + (rest && gap.length < 5 ? gap.length : 1);
  return { indent: space.length, kind: sign.at(-1), number, offset, rest: line.slice(offset), bare: blank(rest) };
}

/** Tell whether a line that follows text begins a list all the same. */
function interrupts(line) {
  const found = marker(line);
  return found !== null && found.indent < 4 && !found.bare && (found.number ?? 1) === 1;
}

function breaks(line) {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || marker(line) !== null;
}

/** Follow fenced code through the lines of a container, which must not end within it. */
class Fence {
  #mark = null;
  lazy = false; // a line of text may go on without the container's mark

  see(line) {
    if (this.#mark) {
      if (closes(line, this.#mark)) this.#mark = null;
      this.lazy = false;
    } else {
      this.#mark = FENCE.exec(line)?.[1] ?? null;
      this.lazy = !this.#mark && !blank(line) && !HEADING.test(line) && !RULE.test(line);
    }
  }

  get open() {
    return this.#mark !== null;
  }
}

function quoted(lines, at, depth) {
  const inside = [];
  const fence = new Fence();
  let to = at;
  for (; to < lines.length; to += 1) {
    const line = lines[to];
    if (QUOTE.test(line)) inside.push(line.replace(QUOTE, ""));
    else if (fence.lazy && !blank(line) && !breaks(line)) inside.push(line.trimStart());
    else break;
    fence.see(inside.at(-1));
  }
  return { to, block: { type: "quote", blocks: parse(inside, depth + 1) } };
}

function listed(lines, at, depth) {
  const first = marker(lines[at]);
  const items = [];
  let to = at;
  let loose = false;
  while (to < lines.length) {
    const mark = marker(lines[to]);
    const ours = mark && mark.kind === first.kind && (mark.number === null) === (first.number === null);
    if (!ours || mark.indent > first.indent + 3) break;
    const { inside, next, gaps } = item(lines, to, mark);
    const task = /^\[([ xX])\] /.exec(inside[0]);
    if (task) inside[0] = inside[0].slice(4);
    const blocks = parse(inside, depth + 1);
    items.push({ type: "item", task: task ? task[1] !== " " : null, blocks });
    to = next;
    loose ||= blocks.length > 1 && gaps.inside;
    loose ||= gaps.after && to < lines.length && marker(lines[to])?.kind === first.kind;
  }
  return { to, block: { type: "list", ordered: first.number !== null, start: first.number, loose, items } };
}

function item(lines, at, mark) {
  const inside = [mark.rest];
  const fence = new Fence();
  fence.see(mark.rest);
  let gap = 0;
  let within = false;
  let next = at + 1;
  for (; next < lines.length; next += 1) {
    const line = lines[next];
    const room = indent(line);
    if (blank(line)) {
      if (next === at + 1 && mark.bare) break;
      gap += 1;
      inside.push("");
      continue;
    }
    if (room >= mark.offset) inside.push(line.slice(mark.offset));
    // Numbered items are often followed by bullets that are indented by two, meant to be inside.
    else if (room > mark.indent + 1 && !fence.open && marker(line)) inside.push(line.slice(room));
    else if (!gap && fence.lazy && !breaks(line)) inside.push(line.trimStart());
    else break;
    within ||= gap > 0 && !fence.open;
    gap = 0;
    fence.see(inside.at(-1));
  }
  return { inside, next, gaps: { inside: within, after: gap > 0 } };
}

function tabled(lines, at) {
  if (!lines[at].includes("|") || at + 1 >= lines.length || !lines[at + 1].includes("-")) return null;
  const marks = cells(lines[at + 1]);
  if (!marks.every((mark) => CELL.test(mark)) || !/[|:]/.test(lines[at + 1])) return null;
  const head = cells(lines[at]);
  if (head.length !== marks.length) return null;
  const aligned = marks.map((m) => (m.endsWith(":") ? (m.startsWith(":") ? "center" : "right") : ""));
  const rows = [];
  let to = at + 2;
  for (; to < lines.length && !blank(lines[to]) && !breaks(lines[to]); to += 1) {
    const row = cells(lines[to]).slice(0, head.length);
    rows.push({ type: "row", cells: [...row, ...Array(head.length - row.length).fill("")], aligned });
  }
  // The line of dashes makes the line above it a head.
  const first = { type: "head", cells: head, aligned };
  return { to, block: { type: "table", from: at, decided: at + 1, aligned, head: first, rows } };
}

/** Give the cells of a table's line. */
function cells(line) {
  const text = line.trim();
  const found = [];
  let cell = "";
  for (let at = text[0] === "|" ? 1 : 0; at < text.length; at += 1) {
    if (text[at] === "\\" && at + 1 < text.length) {
      cell += text[at + 1] === "|" ? "|" : text.slice(at, at + 2);
      at += 1;
    } else if (text[at] === "|") {
      found.push(cell.trim());
      cell = "";
    } else cell += text[at];
  }
  if (!text.endsWith("|") || cell.trim() || !found.length) found.push(cell.trim());
  return found;
}
