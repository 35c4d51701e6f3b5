// What happens in, what a screen reader says out: each finished paragraph once, never each token.

import { element } from "./dom.js";

const KEPT = 8;

/** Say texts, in order, in an element that is a live region. */
export class Announcer {
  constructor(region) {
    this.region = region;
  }

  /** Say a text. */
  say(text) {
    const plain = text.replace(/\s+/g, " ").trim();
    if (!plain) return;
    this.region.append(element("p", {}, plain));
    while (this.region.children.length > KEPT) this.region.firstChild.remove();
  }

  /** Say an element of an answer: code and tables by what they are, for they are read better where they stand. */
  tell(node) {
    if (node.matches("figure.code")) {
      const lines = node.querySelector("code").textContent.split("\n").length;
      this.say(`Code block, ${lines} ${lines === 1 ? "line" : "lines"}.`);
    } else if (node.matches("div.wide")) {
      this.say(`Table, ${node.querySelectorAll("tbody tr").length} rows.`);
    } else {
      this.say(node.textContent);
    }
  }
}
