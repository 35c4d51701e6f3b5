// A call that waits in, a card that asks about it out: approve, with other arguments if need be, reject, or answer.

import { argumentsText, element, shown } from "./dom.js";

let cards = 0;

/**
 * Make the card; `decide` is given the action, how to say it and fields in JSON, and tells whether it was sent.
 * Its `refuse(text)` says why the server did not take it; `restore(draft)` fills in what another card's `draft()` gave.
 */
export function decisionCard(call, decision, decide) {
  const id = `card-${(cards += 1)}`;
  const problem = element("p", { class: "wrong", id: `${id}-wrong`, role: "alert" });
  const labelled = { "aria-labelledby": `${id}-title`, tabindex: "-1", novalidate: true };
  const card = element("form", { class: "decision", ...labelled });
  const parts = decision === "result" ? asksResult(call, id) : asksApproval(call, id);
  const hint = "Optional; the model reads it";
  const reason = element("input", { id: `${id}-reason`, autocomplete: "off", dir: "auto", placeholder: hint, type: "text" });
  const tell = (make) => {
    try {
      problem.textContent = "";
      if (!decide(...make())) problem.textContent = "There is no connection right now. Decide again once there is.";
    } catch (error) {
      problem.textContent = error.message;
      parts.field.focus();
    }
  };
  const reject = () => {
    const why = reason.value.trim();
    return [{ action: "reject", call_id: call.id, ...(why && { reason: why }) }, "rejected"];
  };
  card.addEventListener("submit", (event) => {
    event.preventDefault();
    tell(parts.accept);
  });
  card.refuse = (text) => {
    problem.textContent = text;
    parts.field.focus();
  };
  const fields = () => [...card.querySelectorAll("input, textarea")];
  card.draft = () => fields().map(({ value, checked }) => ({ value, checked }));
  card.restore = (draft) => {
    fields().forEach((field, i) => Object.assign(field, draft[i]));
    parts.check();
  };
  parts.field.addEventListener("input", () => {
    problem.textContent = parts.check();
    parts.field.setAttribute("aria-invalid", String(problem.textContent !== ""));
  });
  parts.field.setAttribute("aria-describedby", problem.id);
  card.append(
    element("h2", { id: `${id}-title` }, ...parts.title),
    ...parts.inside,
    problem,
    element("label", { for: reason.id }, "Reason for a rejection"),
    reason,
    element(
      "div",
      { class: "buttons" },
      element("button", { type: "submit", class: "main" }, parts.button),
      element("button", { type: "button", on: { click: () => tell(reject) } }, "Reject"),
    ),
  );
  return card;
}

const PLAIN = { spellcheck: "false", autocomplete: "off", autocapitalize: "off", dir: "ltr" };
const field = (id, value, rows) => element("textarea", { id, rows, ...PLAIN }, value);

/** Make sure that a text is a JSON object; it is sent as it stands, for numbers lose digits in JavaScript. */
function check(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`The arguments are not JSON: ${error.message}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return;
  throw new Error("The arguments are no object: {…}");
}

function asksApproval(call, id) {
  const before = argumentsText(call);
  const text = field(`${id}-field`, before, Math.min(14, before.split("\n").length));
  return {
    title: ["Allow ", element("code", { dir: "ltr" }, shown(call.name)), " to run?"],
    field: text,
    inside: [element("label", { for: text.id }, "Arguments, which you may change"), text],
    button: "Approve",
    check() {
      try {
        check(text.value);
        return "";
      } catch (error) {
        return error.message;
      }
    },
    accept() {
      const changed = text.value !== before;
      if (changed) check(text.value);
      const words = changed ? "approved, with other arguments" : "approved";
      return [{ action: "approve", call_id: call.id }, words, changed ? { arguments: text.value } : {}];
    },
  };
}

function asksResult(call, id) {
  const text = field(`${id}-field`, "", 3);
  const failed = element("input", { type: "checkbox", id: `${id}-failed` });
  const kind = element("span", { class: "kind" });
  const isJSON = () => {
    try {
      JSON.parse(text.value);
      return true;
    } catch {
      return false;
    }
  };
  return {
    title: ["Give the result of ", element("code", { dir: "ltr" }, shown(call.name))],
    field: text,
    inside: [
      element("p", { class: "label" }, "Arguments"),
      element("pre", { tabindex: "0", role: "region", "aria-label": "Arguments" }, argumentsText(call)),
      element("label", { for: text.id }, "Result ", kind),
      text,
      element("label", { class: "tick", for: failed.id }, failed, " It failed; this is the error"),
    ],
    button: "Send result",
    check() {
      kind.textContent = text.value.trim() ? (isJSON() ? "(sent as JSON)" : "(sent as text)") : "";
      return "";
    },
    accept() {
      const action = { action: "tool_result", call_id: call.id, ...(failed.checked && { error: true }) };
      const words = failed.checked ? "answered with an error" : "answered by you";
      return [action, words, { result: isJSON() ? text.value : JSON.stringify(text.value) }];
    },
  };
}
