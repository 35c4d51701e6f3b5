// Messages and events in, the conversation's articles out, each question with its answer.

import { Answer } from "./answer.js";
import { element } from "./dom.js";

/** Show a conversation in the log. */
export class Transcript {
  #log;
  #told;
  #turns = []; // {question, node, answer}, and `lost` where the server does not have it

  constructor(log, told) {
    this.#log = log;
    this.#told = told;
  }

  get empty() {
    return this.#log.childElementCount === 0;
  }

  /** The last answer of the conversation that the server has, or null. */
  get last() {
    return this.#present?.answer ?? null;
  }

  get #present() {
    return this.#turns.findLast((turn) => !turn.lost);
  }

  clear() {
    this.#log.replaceChildren();
    this.#turns = [];
  }

  ask(question) {
    this.#turns.push(this.#begun(question));
  }

  /** Give the answer to the last question, begun if it is not. */
  answer() {
    if (!this.#present) this.#turns.push({ question: null, node: null, answer: null });
    return this.#answered(this.#present);
  }

  /** Forget the last question and its answer. */
  take() {
    const turn = this.#present;
    this.#turns = this.#turns.filter((each) => each !== turn);
    if (turn) remove(turn);
  }

  /** Keep all to be read, as the server has none of it; `again` is given the last question, if its answer broke off. */
  lose(again) {
    const last = this.#present;
    if (again && last?.question != null) last.answer?.lose("The last answer broke off.", () => again(last.question));
    for (const turn of this.#turns) {
      turn.answer?.lose();
      turn.lost = true;
    }
  }

  /**
   * Show a history. What is shown already stays, figures and all, and so does what the server does not have, for the
   * reader has seen it: `again` is given the last question, where it was lost, to be asked anew.
   */
  show(messages, again) {
    const turns = grouped(messages);
    const before = this.#turns;
    const lost = [];
    this.#turns = [];
    before.forEach((shown, at) => {
      const turn = !shown.lost && turns[0]?.question === shown.question ? turns[0] : null;
      const later = turn && !matches(turn, shown) && before.slice(at + 1).some((each) => matches(turn, each));
      if (turn && !later) {
        this.#renew(turns.shift(), shown);
      } else {
        this.#turns.push(shown);
        if (!shown.lost) lost.push(shown);
      }
    });
    for (const turn of lost) {
      const last = turn === this.#turns.at(-1) && turn.question !== null && !turns.length;
      const text = "The server does not have this any more, so the model does not know of it.";
      this.#answered(turn).lose(text, last && (() => again(turn.question)));
      turn.lost = true;
    }
    for (const turn of turns) this.#turns.push(this.#replayed(turn, this.#begun(turn.question)));
  }

  /** Show a turn again that differs from what is shown of it; where the server has less of its answer, that stays. */
  #renew(turn, shown) {
    if (matches(turn, shown)) {
      this.#turns.push(shown);
      return;
    }
    const next = (shown.answer?.node ?? shown.node)?.nextSibling ?? null;
    const [has, had] = [said(turn), shown.answer?.text ?? ""];
    if (had.length > has.length && had.startsWith(has)) {
      shown.answer.lose("The server does not have all of this any more. What it has, the model goes on from:");
      shown.lost = true;
      const rest = { question: turn.question, node: null, answer: null };
      this.#turns.push(shown, this.#replayed(turn, rest, next));
    } else {
      remove(shown);
      const anew = this.#replayed(turn, this.#begun(turn.question, next), next);
      if (shown.answer) anew.answer?.inherit(shown.answer);
      this.#turns.push(anew);
    }
  }

  #begun(question, next = null) {
    if (question === null) return { question, node: null, answer: null };
    const text = element("p", { dir: "auto" }, question);
    const node = element("article", { class: "question", "aria-label": "You" }, text);
    this.#log.insertBefore(node, next);
    return { question, node, answer: null };
  }

  #answered(turn, next = null) {
    if (!turn.answer) {
      turn.answer = new Answer(this.#told);
      this.#log.insertBefore(turn.answer.node, turn.node ? turn.node.nextSibling : next);
    }
    return turn.answer;
  }

  #replayed({ replies }, turn, next = null) {
    if (!replies.length) return turn;
    const answer = this.#answered(turn, next);
    answer.quiet = true;
    for (const reply of replies) {
      if (reply.role === "tool") {
        answer.result({ id: reply.tool_call_id, name: reply.name }, String(reply.content ?? ""), reply.error);
        continue;
      }
      answer.reasoning(reply.reasoning);
      answer.content(reply.content);
      for (const call of reply.tool_calls ?? []) answer.call(call);
      answer.ended(reply.finish_reason);
    }
    answer.settle();
    answer.quiet = false;
    return turn;
  }
}

function remove({ node, answer }) {
  node?.remove();
  answer?.node.remove();
}

function said({ replies }) {
  return replies.map(({ role, content }) => (role === "assistant" ? content : "")).join("");
}

/** Tell whether a turn of a history is what is shown. */
function matches(turn, { question, answer, lost }) {
  if (lost || question !== turn.question) return false;
  if (!answer) return !turn.replies.length;
  if (answer.node.hasAttribute("aria-busy") || answer.waiting.size) return false;
  return answer.text === said(turn) && answer.results === turn.replies.filter(({ role }) => role === "tool").length;
}

function grouped(messages) {
  const turns = [];
  for (const message of messages ?? []) {
    if (message.role === "user") turns.push({ question: String(message.content ?? ""), replies: [] });
    else if (turns.length) turns.at(-1).replies.push(message);
    else turns.push({ question: null, replies: [message] });
  }
  return turns;
}
