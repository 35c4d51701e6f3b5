// Messages and events in, the conversation's articles out, each question with its answer.

import { Answer } from "./answer.js";
import { element } from "./dom.js";

/** Show a conversation in the log. */
export class Transcript {
  #log;
  #told;
  #turns = []; // {question, answer}

  constructor(log, told) {
    this.#log = log;
    this.#told = told;
  }

  get empty() {
    return this.#log.childElementCount === 0;
  }

  /** The answer that is shown last, or null. */
  get last() {
    return this.#turns.at(-1)?.answer ?? null;
  }

  clear() {
    this.#log.replaceChildren();
    this.#turns = [];
  }

  ask(question) {
    const text = element("p", { dir: "auto" }, question);
    const node = element("article", { class: "question", "aria-label": "You" }, text);
    this.#log.append(node);
    this.#turns.push({ question, answer: null, node });
  }

  /** Give the answer to the last question, begun if it is not. */
  answer() {
    if (!this.#turns.length) this.#turns.push({ question: null, answer: null });
    const turn = this.#turns.at(-1);
    if (!turn.answer) {
      turn.answer = new Answer(this.#told);
      this.#log.append(turn.answer.node);
    }
    return turn.answer;
  }

  /** Forget the last question where it was not answered; gives its text. */
  take() {
    const turn = this.#turns.pop();
    turn?.node?.remove();
    turn?.answer?.node.remove();
    return turn?.question ?? "";
  }

  /** Show a history; what is shown already, figures and all, stays. */
  show(messages) {
    const turns = grouped(messages);
    let same = 0;
    while (same < turns.length && this.#matches(turns[same], this.#turns[same])) same += 1;
    for (const turn of this.#turns.splice(same)) {
      turn.node?.remove();
      turn.answer?.node.remove();
    }
    for (const turn of turns.slice(same)) this.#replay(turn);
  }

  #matches(turn, shown) {
    if (!shown || shown.question !== turn.question) return false;
    const text = turn.replies.map(({ role, content }) => (role === "assistant" ? content : "")).join("");
    const answer = shown.answer;
    return answer !== null && !answer.node.hasAttribute("aria-busy") && answer.text === text && !answer.waiting.size;
  }

  #replay({ question, replies }) {
    if (question !== null) this.ask(question);
    else this.#turns.push({ question: null, answer: null });
    if (!replies.length) return;
    const answer = this.answer();
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
  }
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
