// A block's text in, a tree of its parts out: emphasis, code, links, images as links, breaks.
//
// A part is {type, text} or {type, first} with siblings linked by `next`. Each character is read a bounded number of
// times, so the time is linear whatever the text is. With `open`, the text is still being written, and what is begun
// at its end is taken as it will probably go on.

const PLAIN = /[^\\`*_~[\]!<&\nh]+/y;
const BARE = /https?:\/\/[^\s<>[\]`"|]+/y;
const ANGLED = /<((?:https?:\/\/|mailto:)[^\s<>]*|[^\s<>@]{1,64}@[^\s<>@]{1,255})>/iy;
const BREAK = /<br *\/?>/iy;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,6}));/y;
const ENTITIES = {
  ...{ amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", deg: "°", euro: "€" },
  ...{ ndash: "–", mdash: "—", hellip: "…", bull: "•", middot: "·", times: "×" },
  ...{ rarr: "→", larr: "←", le: "≤", ge: "≥", ne: "≠" },
};
const ESCAPED = /[!-/:-@[-`{-~]/;
const MARK = /[\p{P}\p{S}]/u;
const DENSE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u; // written without spaces
const DEEPEST = 24;

/** Give the first part of a text, or null. */
export function inline(text, open = false) {
  return new Scanner(text, open).run();
}

class Chain {
  first = null;
  last = null;

  push(part) {
    part.previous = this.last;
    part.next = null;
    if (this.last) this.last.next = part;
    else this.first = part;
    this.last = part;
    return part;
  }

  /** Put what stands after one part, up to another or the end, into a new part of a type. */
  wrap(after, before, type, extra = {}) {
    const first = after.next;
    if (!first || first === before) return;
    const last = before ? before.previous : this.last;
    let depth = 0;
    for (let part = first; part !== before; part = part.next) depth = Math.max(depth, part.depth ?? 0);
    if (depth >= DEEPEST) return;
    const made = { type, first, depth: depth + 1, previous: after, next: before, ...extra };
    first.previous = null;
    last.next = null;
    after.next = made;
    if (before) before.previous = made;
    else this.last = made;
  }
}

class Scanner {
  constructor(text, open) {
    this.text = text;
    this.open = open;
    this.at = 0;
    this.chain = new Chain();
    this.runs = new Chain(); // of emphasis, not yet paired
    this.brackets = [];
    this.inert = 0; // brackets below this hold a link already, and links do not nest
    this.budget = 4 * text.length + 10000; // characters that may be read in search of a link's end
  }

  run() {
    const { text } = this;
    while (this.at < text.length) {
      if (!this.take(PLAIN, (found) => this.say(found[0]))) this.step(text[this.at]);
    }
    this.pair(null);
    if (this.open) this.finish();
    return this.chain.first;
  }

  say(text) {
    return this.chain.push({ type: "text", text });
  }

  take(pattern, use) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) return false;
    this.at = pattern.lastIndex;
    use(found);
    return true;
  }

  step(sign) {
    if (sign === "\\") return this.escape();
    if (sign === "`") return this.code();
    if (sign === "*" || sign === "_" || sign === "~") return this.emphasis(sign);
    if (sign === "\n") return this.line();
    if (sign === "]") return this.close();
    if (sign === "[" || (sign === "!" && this.text[this.at + 1] === "[")) return this.bracket(sign);
    if (sign === "h" && this.bare()) return undefined;
    if (sign === "<" && this.angled()) return undefined;
    if (sign === "&" && this.take(ENTITY, (found) => this.say(entity(found)))) return undefined;
    this.at += 1;
    return this.say(sign);
  }

  escape() {
    const next = this.text[this.at + 1] ?? "";
    this.at += 1;
    if (next === "\n") this.chain.push({ type: "break" });
    else if (!ESCAPED.test(next)) return void this.say("\\");
    else this.say(next);
    this.at += 1;
  }

  line() {
    const last = this.chain.last;
    const hard = last?.type === "text" && last.text.endsWith("  ");
    if (last?.type === "text") last.text = last.text.trimEnd();
    if (hard) this.chain.push({ type: "break" });
    else this.say("\n");
    this.at += 1;
  }

  code() {
    let end = this.at;
    while (this.text[end] === "`") end += 1;
    const length = end - this.at;
    const close = this.fence(length, end);
    if (close < 0 && !(this.open && end < this.text.length)) {
      this.say("`".repeat(length));
      this.at = end;
      return;
    }
    let text = this.text.slice(end, close < 0 ? undefined : close).replaceAll("\n", " ");
    if (text.length > 2 && text.startsWith(" ") && text.endsWith(" ") && text.trim()) text = text.slice(1, -1);
    this.chain.push({ type: "code", text });
    this.at = close < 0 ? this.text.length : close + length;
  }

  /** Give where the next run of so many backticks begins; the runs are listed once and passed once. */
  fence(length, from) {
    if (!this.ticks) {
      this.ticks = new Map();
      for (const { 0: run, index } of this.text.matchAll(/`+/g)) {
        if (!this.ticks.has(run.length)) this.ticks.set(run.length, { next: 0, places: [] });
        this.ticks.get(run.length).places.push(index);
      }
    }
    const known = this.ticks.get(length);
    if (!known) return -1;
    while (known.places[known.next] < from) known.next += 1;
    return known.places[known.next] ?? -1;
  }

  bare() {
    if (/\w/.test(this.text[this.at - 1] ?? "")) return false;
    const start = this.at;
    return this.take(BARE, ({ 0: found }) => {
      let end = found.length;
      let surplus = 0;
      for (const sign of found) surplus += sign === ")" ? 1 : sign === "(" ? -1 : 0;
      while (/[?!.,:;*_~')]/.test(found[end - 1])) {
        if (found[end - 1] === ")" && surplus-- <= 0) break;
        end -= 1;
      }
      this.at = start + end;
      const text = this.text.slice(start, this.at);
      this.chain.push({ type: "link", to: text, first: { type: "text", text, next: null } });
    });
  }

  angled() {
    if (this.take(BREAK, () => this.chain.push({ type: "break" }))) return true;
    return this.take(ANGLED, ({ 1: text }) => {
      const to = /^(https?:|mailto:)/i.test(text) ? text : `mailto:${text}`;
      this.chain.push({ type: "link", to, first: { type: "text", text, next: null } });
    });
  }

  // Links

  bracket(sign) {
    const image = sign === "!";
    this.at += image ? 2 : 1;
    const part = this.say(image ? "![" : "[");
    this.brackets.push({ part, image, bottom: this.runs.last, number: this.brackets.length });
  }

  close() {
    const opener = this.brackets.pop();
    this.at += 1;
    const usable = opener && (opener.image || opener.number >= this.inert);
    const target = usable && this.text[this.at] === "(" ? this.target(this.at + 1) : null;
    this.inert = Math.min(this.inert, this.brackets.length);
    if (!target) {
      this.say("]");
      return;
    }
    this.pair(opener.bottom);
    opener.part.text = "";
    this.chain.wrap(opener.part, null, opener.image ? "image" : "link", { to: target.to });
    if (opener.image && !opener.part.next) this.chain.push({ type: "image", to: target.to, first: null });
    this.at = target.end;
    if (!opener.image) this.inert = this.brackets.length;
  }

  /** Read what stands in a link's parentheses: {to, end}, or null where it is no link's. */
  target(from) {
    const { text } = this;
    let at = this.space(from);
    let to = "";
    let depth = 0;
    const start = at;
    const angled = text[at] === "<";
    for (at += angled ? 1 : 0; at < text.length && this.budget > 0; at += 1, this.budget -= 1) {
      const sign = text[at];
      if (sign === "\\" && ESCAPED.test(text[at + 1] ?? "")) at += 1;
      else if (sign === "\n" || (angled ? sign === ">" : sign === " " || (sign === ")" && depth === 0))) break;
      else if (!angled) depth += sign === "(" ? 1 : sign === ")" ? -1 : 0;
      to += text[at];
    }
    if (angled) at += text[at] === ">" ? 1 : 0;
    at = this.space(at);
    const quote = { '"': '"', "'": "'", "(": ")" }[text[at]];
    if (quote && at > start) {
      for (at += 1; at < text.length && text[at] !== quote && this.budget > 0; at += 1) this.budget -= 1;
      at = this.space(at + 1);
    }
    if (text[at] === ")") return { to, end: at + 1 };
    return this.open && at >= text.length ? { to: "", end: text.length } : null;
  }

  space(at) {
    while ((this.text[at] === " " || this.text[at] === "\n") && this.budget > 0) {
      at += 1;
      this.budget -= 1;
    }
    return at;
  }

  // Emphasis

  emphasis(sign) {
    const { text } = this;
    const start = this.at;
    while (text[this.at] === sign) this.at += 1;
    const length = this.at - start;
    const part = this.say(sign.repeat(length));
    if (sign === "~" && length !== 2) return;
    const before = text[start - 1] ?? " ";
    const after = text[this.at] ?? " ";
    const left = flanks(after, before);
    const right = flanks(before, after);
    const word = sign === "_" && left && right;
    const opens = left && (!word || MARK.test(before));
    const closes = right && (!word || MARK.test(after));
    if (opens || closes) this.runs.push({ part, sign, length, original: length, opens, closes });
  }

  /** Pair the runs above one of them, as CommonMark does; below a floor nothing was found before. */
  pair(bottom) {
    const floors = new Map();
    let closer = bottom ? bottom.next : this.runs.first;
    while (closer) {
      if (!closer.closes) {
        closer = closer.next;
        continue;
      }
      const kind = `${closer.sign}${closer.opens}${closer.original % 3}`;
      const floor = floors.get(kind);
      let opener = closer.previous;
      while (opener && opener !== bottom && opener !== floor && !pairs(opener, closer)) opener = opener.previous;
      if (opener && opener !== bottom && opener !== floor) {
        closer = this.join(opener, closer);
      } else {
        floors.set(kind, closer.previous);
        const next = closer.next;
        if (!closer.opens) this.drop(closer);
        closer = next;
      }
    }
    while (this.runs.last && this.runs.last !== bottom) this.drop(this.runs.last, this.open && !bottom);
  }

  join(opener, closer) {
    const length = opener.length >= 2 && closer.length >= 2 ? 2 : 1;
    for (let run = closer.previous; run !== opener; run = closer.previous) this.drop(run);
    this.chain.wrap(opener.part, closer.part, closer.sign === "~" ? "struck" : length === 2 ? "strong" : "emphasised");
    for (const run of [opener, closer]) {
      run.length -= length;
      run.part.text = run.part.text.slice(length);
    }
    const next = closer.length ? closer : closer.next;
    if (!opener.length) this.drop(opener);
    if (!closer.length) this.drop(closer);
    return next;
  }

  drop(run, keep = false) {
    if (keep && run.opens) (this.unpaired ??= []).push(run);
    if (run.previous) run.previous.next = run.next;
    else this.runs.first = run.next;
    if (run.next) run.next.previous = run.previous;
    else this.runs.last = run.previous;
  }

  /** Take the last runs that nothing closed as open to the end. */
  finish() {
    for (const run of (this.unpaired ?? []).slice(0, 3)) {
      if (!run.part.next) continue;
      const type = run.sign === "~" ? "struck" : run.length >= 2 ? "strong" : "emphasised";
      this.chain.wrap(run.part, null, type);
      run.part.text = "";
    }
  }
}

function flanks(near, far) {
  return !/\s/.test(near) && (!MARK.test(near) || /\s/.test(far) || MARK.test(far) || DENSE.test(far));
}

function pairs(opener, closer) {
  if (opener.sign !== closer.sign || !opener.opens) return false;
  if (!opener.closes && !closer.opens) return true;
  return (opener.original + closer.original) % 3 !== 0 || (opener.original % 3 === 0 && closer.original % 3 === 0);
}

function entity([all, decimal, hexadecimal, name]) {
  if (name) return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : all;
  const code = Number.parseInt(decimal ?? hexadecimal, decimal ? 10 : 16);
  return code === 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? "\ufffd" : String.fromCodePoint(code);
}
