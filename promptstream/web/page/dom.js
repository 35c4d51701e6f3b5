// Names, properties and texts in, elements out. Nothing here, or anywhere on this page, reads markup from a string.

/** Make an element; `on` maps events to functions, strings among the children become text nodes. */
export function element(tag, { on = {}, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, String(value));
  }
  for (const [event, listener] of Object.entries(on)) made.addEventListener(event, listener);
  made.append(...children);
  return made;
}

// Bidirectional overrides and isolates, controls, what has no width: a text that is to be judged shows them.
const HIDDEN =
  /[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Give a text with every character that hides or turns others written as its escape, as JSON writes it. */
export function shown(text) {
  return String(text).replace(HIDDEN, (found) =>
    Array.from({ length: found.length }, (_, i) => "\\u" + found.charCodeAt(i).toString(16).padStart(4, "0")).join(""),
  );
}

/** Give a value as indented JSON; hidden characters stand as escapes, which mean the same. */
export function pretty(value) {
  return shown(JSON.stringify(value, null, 2) ?? "null");
}

/** Give a call's arguments as JSON to read: as the model wrote them where JavaScript would round a number in them. */
export function argumentsText({ arguments: value, raw_arguments: raw }) {
  const exact = raw && value && /\d{16}|\d\.\d{15}|\de[+-]?\d{2}/i.test(raw);
  return value && !exact ? pretty(value) : shown(raw || "{}");
}

const SCHEMES = new Set(["http:", "https:", "mailto:"]);

/** Give the URL that a link may lead to, or null: absolute, of a harmless scheme, without a user's name in it. */
export function address(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  return SCHEMES.has(url.protocol) && !url.username && !url.password ? url : null;
}

/** Give who a link leads to, as it is to be judged: the host with its port, or the address of mail. */
export function leadsTo(url) {
  return shown(url.host || url.pathname);
}

const PROSE = /^[\p{L}\p{M}\p{N}\s,;!?'"’“”()–—-]*$/u;

/** True where a link's text is the URL as it was written, or names who it leads to and nothing else like a name. */
export function says(text, url, written) {
  const said = text.trim();
  if (shown(said) !== said) return false;
  const whole = url.host ? `${url.protocol}//${url.host}` : url.href;
  const same = said === written || `${said}/` === written || said === `${written}/`;
  if (same && said.startsWith(whole) && /^([/?#]|$)/.test(said.slice(whole.length))) return true;
  const around = said.split(leadsTo(url));
  if (around.length !== 2 || !around.every((words) => PROSE.test(words))) return false;
  return !/[\p{L}\p{N}-]$/u.test(around[0]) && !/^[\p{L}\p{N}-]/u.test(around[1]);
}

/** Put a text on the clipboard; true where that worked. Plain http off loopback has no clipboard of its own. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = element("textarea", { class: "unseen", "aria-hidden": "true" });
    const before = document.activeElement;
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    before?.focus();
    return done;
  }
}

/** Make a button that copies what `text()` gives, and says so. */
export function copyButton(text, label) {
  const button = element("button", { type: "button", class: "quiet", "aria-label": label }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text())) ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}
