// Pieces of Markdown in, elements out, as they come: what is finished stays, only the last block is looked at again.
//
// Nothing the model writes becomes markup: elements are made one by one, texts are text nodes.

import { parse, split } from "./blocks.js";
import { address, copyButton, element, leadsTo, says } from "./dom.js";
import { inline } from "./inline.js";

const RIGHT_TO_LEFT = /^[^\p{L}]*[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;
const TAGS = { strong: "strong", emphasised: "em", struck: "del" };

/** Show Markdown in an element while it is being written. */
export class Markdown {
  #root;
  #source = ""; // from the last finished block on
  #views = []; // of its blocks; what stands before them is finished
  #carriage = false;
  #finished;

  constructor(root, { finished = () => {} } = {}) {
    this.#root = root;
    this.#finished = finished; // called with each top-level element, once, when it is whole
  }

  /** Take more text; `render` shows it. */
  append(text) {
    if (this.#carriage) text = `\r${text}`;
    this.#carriage = text.endsWith("\r"); // its line feed may be on the way
    if (this.#carriage) text = text.slice(0, -1);
    this.#source += text.replace(/\r\n?/g, "\n").replaceAll("\0", "\ufffd");
  }

  /** Show what came; `open` while more may come. */
  render(open = true) {
    if (!open && this.#carriage) {
      this.#source += "\n";
      this.#carriage = false;
    }
    const lines = split(open ? this.#source.slice(0, presentable(this.#source)) : this.#source);
    const whole = lines.length - 1; // lines that no further text can change
    const blocks = parse(lines);
    this.#views = reconcile(this.#root, this.#views, blocks, open);
    let last = blocks.length - 1;
    while (last > 0 && blocks[last].decided >= whole) last -= 1;
    if (open) this.#settle(last, blocks[last]?.from);
    else this.#settle(blocks.length, lines.length);
  }

  #settle(count, line) {
    if (count <= 0) return;
    for (const view of this.#views.splice(0, count)) this.#finished(view.node);
    let at = 0;
    for (let passed = 0; passed < line; passed += 1) at = this.#source.indexOf("\n", at) + 1 || this.#source.length;
    this.#source = this.#source.slice(at);
  }
}

/** Show a whole text at once. */
export function markdown(root, text) {
  const shown = new Markdown(root);
  shown.append(text);
  shown.render(false);
}

/** Give how much of an unfinished text can be shown without being taken back: not the beginnings of marks. */
function presentable(text) {
  const line = text.lastIndexOf("\n") + 1;
  const last = text.slice(line);
  if (/^(?:[-*+#>|=_~`: \t]*|\d{1,9}[.)]?|[-*+] \[[ xX]?\]?)$/.test(last.trim())) {
    // A table's head waits for the dashes under it.
    const above = text.lastIndexOf("\n", line - 2) + 1;
    const head = line > 0 && text.slice(above, line).trimStart().startsWith("|");
    const inside = head && text.slice(text.lastIndexOf("\n", above - 2) + 1, above).trimStart().startsWith("|");
    return head && !inside ? above : line;
  }
  if (last.trimStart().startsWith("|")) {
    const above = text.slice(text.lastIndexOf("\n", line - 2) + 1, Math.max(0, line - 1));
    if (line === 0 || !above.trimStart().startsWith("|")) return line;
  }
  let end = text.length;
  while (end > line && "*_~`[!\\".includes(text[end - 1])) end -= 1;
  return end;
}

// A view is {block, open, node} and what its type needs to be changed.

function reconcile(parent, views, blocks, open) {
  const made = blocks.map((block, index) => {
    const view = views[index];
    const last = open && index === blocks.length - 1;
    if (view && shape(view.block) === shape(block)) {
      KINDS[block.type].update(view, block, last);
      return view;
    }
    const fresh = { ...KINDS[block.type].make(block), open: null, block: { type: block.type } };
    KINDS[block.type].update(fresh, block, last);
    if (view) view.node.replaceWith(fresh.node);
    else parent.append(fresh.node);
    return fresh;
  });
  for (const view of views.slice(blocks.length)) view.node.remove();
  return made;
}

/** Give what of a block is in its element's own name and attributes; another shape is another element. */
function shape({ type, level, ordered, start, language, task, aligned }) {
  return `${type} ${level} ${ordered} ${start} ${language} ${task} ${aligned}`;
}

/** Give the first text in a block. */
function beginning(block) {
  while (block && block.text === undefined) block = (block.items ?? block.blocks)?.[0];
  return block?.text.slice(0, 80) ?? "";
}

const written = (make) => ({
  make,
  update(view, block, open) {
    if (view.block.text === block.text && view.open === open) return;
    view.node.replaceChildren(...built(inline(block.text, open)));
    Object.assign(view, { block, open });
  },
});

const contained = (make, inside) => ({
  make,
  update(view, block, open) {
    view.views = reconcile(view.node, view.views ?? [], inside(block), open);
    if (block.loose) view.node.className = "loose";
    else view.node.removeAttribute("class");
    // The side of the marks; each text finds its own direction.
    if (block.type !== "item" && RIGHT_TO_LEFT.test(beginning(block))) view.node.setAttribute("dir", "rtl");
    else view.node.removeAttribute("dir");
    view.block = block;
  },
});

const SCOPES = { th: "col", td: null };

const row = (tag) => ({
  make: ({ cells, aligned }) => ({
    node: element("tr", {}, ...cells.map((_, i) => element(tag, { class: aligned[i] || null, scope: SCOPES[tag] }))),
  }),
  update(view, block, open) {
    block.cells.forEach((text, i) => {
      const last = open && i === block.cells.length - 1;
      if (view.block.cells?.[i] === text && view.open === last) return;
      view.node.children[i].replaceChildren(...built(inline(text, last)));
    });
    Object.assign(view, { block, open });
  },
});

const KINDS = {
  paragraph: written(() => ({ node: element("p") })),
  // The page has the first heading, each message the second.
  heading: written(({ level }) => ({ node: element(`h${Math.min(6, level + 2)}`, { class: `level-${level}` }) })),
  rule: { make: () => ({ node: element("hr") }), update: (view, block) => void (view.block = block) },
  code: { make: code, update: writeCode },
  quote: contained(() => ({ node: element("blockquote") }), (block) => block.blocks),
  list: contained(listing, (block) => block.items),
  item: contained(item, (block) => block.blocks),
  head: row("th"),
  row: row("td"),
  table: {
    make() {
      const [head, body] = [element("thead"), element("tbody")];
      const pane = { class: "wide", tabindex: "0", role: "region", "aria-label": "Table" };
      return { node: element("div", pane, element("table", {}, head, body)), head, body };
    },
    update(view, block, open) {
      view.heads = reconcile(view.head, view.heads ?? [], [block.head], open && !block.rows.length);
      view.rows = reconcile(view.body, view.rows ?? [], block.rows, open);
      view.block = block;
    },
  },
};

function listing({ ordered, start }) {
  return { node: ordered ? element("ol", { start: start === 1 ? null : start }) : element("ul") };
}

function item({ task }) {
  const node = element("li");
  const label = task ? "done" : "to do";
  if (task !== null) node.append(element("input", { type: "checkbox", disabled: true, checked: task, "aria-label": label }));
  return { node };
}

function code({ language }) {
  const text = document.createTextNode("");
  const name = language ? `Code, ${language}` : "Code";
  const head = element("figcaption", {}, element("span", {}, language || "code"), copyButton(() => text.data, "Copy code"));
  const body = element("pre", { tabindex: "0", role: "region", "aria-label": name }, element("code", {}, text));
  return { node: element("figure", { class: "code" }, head, body), text };
}

function writeCode(view, block, open) {
  const before = view.text.data;
  if (block.text.startsWith(before)) view.text.appendData(block.text.slice(before.length));
  else view.text.data = block.text;
  Object.assign(view, { block, open });
}

/** Give the nodes of a chain of parts. */
function built(part, linked = false) {
  const nodes = [];
  let text = "";
  const flush = () => {
    if (text) nodes.push(document.createTextNode(text));
    text = "";
  };
  for (; part; part = part.next) {
    if (part.type === "text") {
      text += part.text;
      continue;
    }
    flush();
    if (part.type === "break") nodes.push(element("br"));
    else if (part.type === "code") nodes.push(element("code", {}, part.text));
    else if (part.type === "link" || part.type === "image") nodes.push(...link(part, linked));
    else nodes.push(element(TAGS[part.type], {}, ...built(part.first, linked)));
  }
  flush();
  return nodes;
}

/** Give a link, and beside it where it leads unless its text says just that; images are not fetched, but linked to. */
function link({ type, to, first }, linked) {
  const url = linked ? null : address(to);
  const children = built(first, linked || url !== null);
  if (type === "image") {
    const named = children.some((child) => child.textContent.trim());
    children.unshift(named ? "Image: " : "Image");
  }
  if (!url) return children;
  const leads = { href: url.href, rel: "noopener noreferrer", target: "_blank", title: url.href };
  const node = element("a", leads, ...children);
  if (says(node.textContent, url, to)) return [node];
  return [node, element("span", { class: "leads" }, ` (${leadsTo(url)})`)];
}
