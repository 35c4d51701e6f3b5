// One answer's events in, its article out: thoughts, text, tool calls with their results, and the figures under it.

import { decisionCard } from "./decision.js";
import { argumentsText, copyButton, element, shown } from "./dom.js";
import { Markdown } from "./markdown.js";
import { figures, seconds } from "./figures.js";

const ENDINGS = {
  length: "The answer was cut at the token limit.",
  content_filter: "The provider's filter stopped the answer.",
  refusal: "The model refused to answer.",
  cancelled: "Stopped before the end.",
  failed: "This answer was not finished.",
};

/** Show an answer as it comes. Text is collected and shown once a frame; `finish` shows what is left. */
export class Answer {
  node = element("article", { class: "answer", "aria-label": "Answer" });
  waiting = new Set(); // ids of calls that wait for a decision
  quiet = false; // while what was said long ago is shown again
  #parts = element("div", { class: "parts" });
  #foot = element("div", { class: "foot" });
  #writing = null; // {kind, markdown, …} of what is being written
  #calls = new Map();
  #replaced = 0; // calls with results whose ids came again
  #texts = [];
  #totals = null;
  #since = null; // when the turn was begun, where that was here
  #first = null; // ms, without the time that a person took to decide
  #end = null; // the note that says why it ended, until it goes on
  #told;
  #busy;

  constructor(told) {
    this.#told = told; // called with each finished block of text
    const dots = element("span", { class: "dots", "aria-hidden": "true" });
    this.#busy = element("p", { class: "busy" }, dots, "");
    this.node.append(this.#parts, this.#foot);
  }

  /** What was answered so far, without thoughts and calls. */
  get text() {
    return this.#texts.join("");
  }

  /** How many calls have their results. */
  get results() {
    return [...this.#calls.values()].filter((made) => made.over).length + this.#replaced;
  }

  /** What is filled in about calls, by their ids, also of those decided that nothing was heard of. */
  get drafts() {
    const cards = [...this.#calls.values()].filter((made) => made.card && !made.over);
    return new Map(cards.map(({ id, card }) => [id, card.draft()]));
  }

  /** Show that something is awaited. */
  await() {
    this.#since = performance.now();
    this.node.setAttribute("aria-busy", "true");
    this.#foot.replaceChildren();
    this.#wait("Waiting for the answer");
  }

  /** Show that it goes on where this page cannot see it. */
  still() {
    for (const made of this.#open) {
      made.state.textContent = "still runs";
      this.#mark(made, "runs");
    }
    this.#wait("Still being worked on. What comes of it is shown here when that is over.");
  }

  #wait(text) {
    this.#busy.lastChild.replaceWith(text);
    this.#parts.append(this.#busy);
  }

  /** Calls that neither have a result nor wait for a decision. */
  get #open() {
    return [...this.#calls.values()].filter((made) => !made.over && !this.waiting.has(made.id));
  }

  /** Take over the figures of what stood here before, and said the same. */
  inherit(other) {
    if (!other.#totals || other.text !== this.text) return;
    this.#totals = other.#totals;
    this.#first = other.#first;
    this.#sum();
  }

  #sum() {
    this.#foot.replaceChildren(this.#totals.node);
    if (this.text) this.#foot.append(copyButton(() => this.text, "Copy the answer"));
  }

  /** Let nothing more come: the server does not have this. `again` asks anew, and tells whether it could. */
  lose(text = "", again = null) {
    for (const id of this.waiting) {
      const { card, node } = this.#calls.get(id);
      card.replaceWith(node);
    }
    this.waiting.clear();
    this.settle();
    const note = text && this.note(text);
    if (!again) return;
    const button = element("button", { type: "button", on: { click: () => again() && button.remove() } }, "Ask again");
    note.append(" ", button);
  }

  content(text) {
    if (!text) return;
    if (this.#since !== null) this.#first ??= (this.#totals?.total ?? 0) + performance.now() - this.#since;
    this.#write("content").markdown.append(text);
    this.#texts.push(text);
  }

  reasoning(text) {
    if (text) this.#write("reasoning").markdown.append(text);
  }

  /** Draw what came since the last time. */
  draw() {
    this.#writing?.markdown.render(true);
    if (this.#writing?.timer) this.#writing.timer();
  }

  #write(kind) {
    if (this.#writing?.kind === kind) return this.#writing;
    this.#begin();
    const body = element("div", { class: "text" });
    const part = { kind, body };
    if (kind === "reasoning") this.#think(part);
    else this.#parts.append(body);
    part.markdown = new Markdown(body, { finished: (node) => kind === "content" && !this.quiet && this.#told(node) });
    return (this.#writing = part);
  }

  #think(part) {
    const label = element("span", {}, "Thinking");
    const began = performance.now();
    const time = () => seconds(performance.now() - began);
    part.timer = () => (label.textContent = `Thinking, ${time()}`);
    part.closed = () => (label.textContent = `Thought for ${time()}`);
    this.#parts.append(element("details", { class: "thoughts" }, element("summary", {}, label), part.body));
  }

  #begin() {
    this.#close();
    this.#busy.remove();
    this.#end?.remove();
  }

  #close() {
    this.#writing?.markdown.render(false);
    this.#writing?.closed?.();
    this.#writing = null;
  }

  // Tools

  #call(call) {
    const id = call.id || `${this.#calls.size}`;
    const known = this.#calls.get(id);
    if (known && !known.over) return known;
    if (known) this.#replaced += 1; // some models count their calls from 0 in each round
    this.#begin();
    const name = element("code", { dir: "ltr" }, shown(call.name || "tool"));
    const state = element("span", { class: "state" }, "is being called");
    const sent = element("pre", { tabindex: "0", role: "region", "aria-label": "Arguments" });
    const body = element("div", {}, element("p", { class: "label" }, "Arguments"), sent);
    const mark = element("span", { class: "mark", "aria-hidden": "true" });
    const node = element("details", { class: "tool" }, element("summary", {}, mark, name, " ", state), body);
    const made = { id, name, state, sent, body, node, raw: "" };
    this.#calls.set(id, made);
    this.#parts.append(node);
    return made;
  }

  callDelta(call) {
    const made = this.#call(call);
    if (call.name) made.name.textContent = shown(call.name);
    made.raw += call.raw_arguments ?? "";
    made.sent.textContent = shown(made.raw);
  }

  call(call) {
    const made = this.#call(call);
    made.whole = true;
    made.name.textContent = shown(call.name || "tool");
    made.sent.textContent = argumentsText(call);
    made.state.textContent = "runs";
    this.#mark(made, "runs");
  }

  result(call, content, error = false) {
    const made = this.#call(call ?? {});
    made.over = true;
    const result = element("pre", { tabindex: "0", role: "region", "aria-label": "Result" }, shown(tidy(content)));
    made.body.append(element("p", { class: "label" }, "Result"), result);
    if (made.decided !== "rejected") {
      made.state.textContent = error ? "failed" : "done";
      this.#mark(made, error ? "failed" : "done");
    }
    this.#busy.remove();
  }

  #mark(made, mark) {
    made.node.dataset.mark = mark;
  }

  /** Ask about a call; `send` is given the action that says what was decided, and tells whether it could be sent. */
  ask(call, decision, send) {
    const made = this.#call(call);
    if (made.card?.isConnected) return made.card; // asked again after the connection was lost
    this.call(call);
    this.#close();
    this.waiting.add(call.id);
    this.#mark(made, "waits");
    made.state.textContent = decision === "result" ? "waits for its result" : "waits for your approval";
    made.card = decisionCard(call, decision, (action, words, written = {}) => {
      if (!send(action, written)) return false;
      this.waiting.delete(call.id);
      made.decided = action.action === "reject" ? "rejected" : "approved";
      made.state.textContent = words;
      this.#mark(made, made.decided);
      if (written.arguments) made.sent.textContent = shown(written.arguments);
      made.card.replaceWith(made.node);
      if (!this.waiting.size) this.await();
      return true;
    });
    made.node.replaceWith(made.card);
    return made.card;
  }

  // Endings

  /** Take the figures of a turn that ended whole. */
  done(final) {
    this.settle(final?.finish_reason === "tool_calls");
    for (const call of final?.tool_calls ?? []) if (!this.#calls.has(call.id)) this.call(call);
    const took = this.#since === null ? final?.latency_ms : performance.now() - this.#since;
    this.#since = null;
    this.#totals = figures(this.#totals, final, this.#first, took);
    this.#sum();
    if (ENDINGS[final?.finish_reason]) this.note(ENDINGS[final.finish_reason]);
    if (final && final.finish_reason == null) this.note("The provider gave no reason for the end.");
    if (!this.#parts.children.length) this.note("The answer is empty.");
  }

  /** Say how the answer ended, where it is not whole. */
  ended(reason) {
    if (ENDINGS[reason]) this.#end = this.note(ENDINGS[reason]);
  }

  /** Show that it is being stopped; gives what is said of tools that run, for nothing stops those. */
  stopping() {
    const names = this.#open.filter(({ whole, decided }) => whole && decided !== "rejected").map(({ name }) => name.textContent);
    if (!names.length) return "";
    const text = `Stops when ${names.join(" and ")} ${names.length > 1 ? "have" : "has"} ended.`;
    this.#wait(text);
    return text;
  }

  /** Show what is left, and that nothing more comes, unless calls are going to be asked about. */
  settle(asking = false) {
    this.#close();
    this.#busy.remove();
    this.node.removeAttribute("aria-busy");
    for (const made of asking ? [] : this.#open) {
      made.state.textContent = made.whole ? "has no result" : "was not finished";
      this.#mark(made, "failed");
    }
  }

  note(text) {
    const node = element("p", { class: "note" }, text);
    this.#parts.append(node);
    return node;
  }

  /** Show an error, with a button where something can be done about it. */
  problem(text, again) {
    this.settle();
    const body = element("p", { dir: "auto" }, shown(text));
    const banner = element("div", { class: "problem", role: "alert" }, body);
    if (again) {
      const retry = () => {
        banner.remove();
        again();
      };
      banner.append(element("button", { type: "button", on: { click: retry } }, "Try again"));
    }
    this.#parts.append(banner);
  }
}

function tidy(content) {
  try {
    const value = JSON.parse(content);
    return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : content;
  } catch {
    return content;
  }
}
