// What the reader does in, actions out; the relay's events in, the conversation on the page out.

import { Announcer } from "./announcer.js";
import { Connection } from "./connection.js";
import { shown } from "./dom.js";
import { Poll } from "./poll.js";
import { Follower } from "./scroll.js";
import { Transcript } from "./transcript.js";

const at = (id) => document.getElementById(id);
const announcer = new Announcer(at("said"));
const transcript = new Transcript(at("log"), (node) => announcer.tell(node));
const follower = new Follower(at("pane"), at("down"));
const message = at("message");

let running = false; // a turn runs, as far as is known here
let stopping = false;
let asked = null; // the message that nothing was heard of yet
let decided = null; // the call that was decided last, while nothing was heard of that
let refusal = null; // {id, text} of a decision that was refused, until the page has caught up
let drafts = new Map(); // what is filled in about calls that are asked about anew
let broken = false; // the last answer broke off with the connection
let frame = 0;
let drawn = { at: 0, took: 0 };

const poll = new Poll(() => connection.resume(), caughtUp);
const connection = new Connection(address(), { told, changed, store: storage() });

function address() {
  const url = new URL("chat", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = url.search = "";
  return url.href;
}

/** Give sessionStorage, or what holds as long as the page where it is switched off. */
function storage() {
  try {
    sessionStorage.getItem("promptstream.token");
    return sessionStorage;
  } catch {
    const kept = new Map();
    return {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key),
    };
  }
}

/** Take the token out of the address, where it would end in the history and in screenshots; tells if there is one. */
function keepToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return false;
  connection.token = token;
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}

// The connection

const STATES = {
  connecting: "Connecting",
  open: "Connected",
  waiting: "Connection lost, trying again",
  refused: "A token is wanted",
};

function changed(state, { code } = {}) {
  // Between tries nothing new is to be said.
  if (state !== "connecting" || at("state").dataset.state !== "waiting") {
    at("state").dataset.state = state;
    at("state-text").textContent = STATES[state];
  }
  at("again").hidden = state !== "waiting";
  at("gate").hidden = state !== "refused";
  at("composer").hidden = state === "refused";
  if (state === "refused") refused();
  if (state === "waiting" || state === "refused") cut(code);
  if (state !== "open") poll.stop();
  controls();
}

function refused() {
  at("gate-problem").textContent = connection.token ? "The server did not take this token." : "";
  at("token").focus();
}

/** Show that an answer under way was lost with the connection; what the server kept of it comes when it is back. */
function cut(code) {
  const tooLong = code === 1009 && asked !== null;
  if (running) {
    transcript.last?.settle();
    if (!tooLong) transcript.last?.note("The connection was lost.");
  }
  if (tooLong) {
    transcript.take();
    giveBack("The message is too long for this server. It is back in the field, to be shortened.");
  }
  broken ||= running && asked === null;
  running = stopping = false;
}

/** Put a message that was not taken back into the field. */
function giveBack(told) {
  const text = asked;
  asked = null;
  if (!message.value) message.value = text;
  grow();
  trouble(told);
}

/** Say above the message field what is wrong with the message; nothing, once it was changed or sent. */
function trouble(text = "") {
  at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

// Events

const HANDLERS = {
  conversation: ({ messages, title, resumed }) => greeted(messages ?? [], title, resumed),
  content: ({ content }) => heard().content(content),
  reasoning: ({ content }) => heard().reasoning(content),
  tool_call_delta: ({ tool_call: call }) => heard().callDelta(call),
  tool_call: ({ tool_call: call }) => heard().call(call),
  tool_result: ({ tool_call: call, content, error }) => heard().result(call, content, error !== null),
  approval: ({ tool_call: call, decision }) => approval(call, decision),
  done: ({ final }) => done(final),
  error: ({ error, action }) => (action ? refusedTo(action, error) : failed(error)),
};

function told(event) {
  if (!Object.hasOwn(HANDLERS, event?.type)) return;
  HANDLERS[event.type](event);
  draw();
}

function heard() {
  asked = decided = null;
  poll.stop();
  if (!running) {
    running = true;
    trouble();
    controls();
  }
  return transcript.answer();
}

/** Draw once a frame, and more rarely where drawing takes long, so that the page stays at hand. */
function draw() {
  if (frame) return;
  const wait = drawn.at + 4 * drawn.took - performance.now();
  const soon = () => requestAnimationFrame(now);
  frame = document.hidden ? setTimeout(now, 250) : wait > 16 ? setTimeout(soon, wait) : soon();
}

function now() {
  frame = 0;
  const began = performance.now();
  if (running) transcript.last?.draw();
  follower.follow();
  drawn = { at: performance.now(), took: performance.now() - began };
}

function greeted(messages, title, resumed) {
  if (title) {
    at("title").textContent = shown(title);
    document.title = shown(title);
  }
  if (asked !== null && messages.findLast(({ role }) => role === "user")?.content !== asked) {
    transcript.take();
    giveBack("Your message was not delivered. It is back in the field.");
  }
  drafts = transcript.last?.drafts ?? drafts;
  if (resumed || transcript.empty) {
    transcript.show(messages, ask);
  } else {
    const fate = "It stays on this page, but the model begins anew.";
    transcript.answer().problem(`The server does not have this conversation any more. ${fate}`);
    transcript.lose(broken ? ask : null);
  }
  broken = false;
  if (refusal) trouble(refusal.text);
  running = false;
  asked = decided = null;
  poll.answered();
  controls();
}

function approval(call, decision) {
  const answer = transcript.answer();
  running = false;
  const card = answer.ask(call, decision, (action, written) => {
    if (!connection.send(action, written)) return false;
    running = answer.waiting.size === 1; // the last one: the turn goes on
    decided = call.id;
    refusal = null;
    trouble();
    controls();
    message.focus();
    return true;
  });
  if (drafts.has(call.id)) card.restore(drafts.get(call.id));
  drafts.delete(call.id);
  announcer.say(`${decision === "result" ? "A result is wanted" : "Approval is needed"} for ${shown(call.name)}.`);
  controls();
  if (!message.value && answer.waiting.size === 1) card.focus({ preventScroll: true });
  if (refusal?.id !== call.id) return;
  card.refuse(refusal.text);
  refusal = null;
  trouble();
}

/** Say why an action was refused, which changed nothing: a turn that runs goes on. */
function refusedTo(action, error) {
  const text = String(error ?? "The server refused.");
  if (action === "resume" && /\bis running\b/.test(text)) {
    elsewhere(); // the one refusal that passes by itself
  } else if (action === "send_message" && asked !== null) {
    transcript.take();
    giveBack(text);
    ended();
  } else if (decided !== null) {
    refusal = { id: decided, text };
    ended();
    connection.resume(); // it may have been decided in another tab
  } else {
    stopping = false;
    trouble(text);
    controls();
  }
}

/** Show that a turn runs which this page cannot see, begun in another tab or before a reload, and look again later. */
function elsewhere() {
  transcript.answer().still();
  poll.again();
  controls();
}

/** What went on elsewhere is over, and shown. */
function caughtUp() {
  transcript.last?.settle();
  refusal = null;
  trouble();
  controls();
}

function done(final) {
  transcript.answer().done(final);
  announcer.say(final?.finish_reason === "tool_calls" ? "" : "The answer is complete.");
  ended();
}

function failed(error) {
  const answer = transcript.answer();
  const text = String(error ?? "Something went wrong.");
  if (stopping) {
    answer.settle();
    answer.note("You stopped this answer.");
    announcer.say("Stopped.");
  } else {
    answer.problem(text, remedy(answer));
  }
  ended();
}

/** Give what can be done about a turn that failed, or null: ask again, or go on after the tools that have run. */
function remedy(answer) {
  const question = asked;
  if (question !== null && running) return () => ask(question, true);
  return running && answer.results ? () => connection.resume() : null;
}

function ended() {
  running = stopping = false;
  asked = decided = null;
  controls();
}

// The reader

function controls() {
  const waiting = transcript.last?.waiting.size ?? 0;
  at("send").hidden = running;
  at("stop").hidden = !running;
  at("stop").disabled = stopping;
  at("send").disabled = !connection.open || waiting > 0 || poll.waiting || !message.value.trim();
  at("empty").hidden = !transcript.empty;
  message.placeholder = waiting ? "Decide above first" : poll.waiting ? "Wait for the answer" : "Message";
}

/** Ask, in place of what was asked last if `again` is true; tells whether that could be sent. */
function ask(text, again = false) {
  if (running || poll.waiting || !connection.open) return false;
  if (!connection.send({ action: "send_message", message: text })) return false;
  connection.keep();
  trouble();
  asked = text;
  running = true;
  if (again) transcript.take();
  transcript.ask(text);
  transcript.answer().await();
  controls();
  follower.resume();
  return true;
}

function stop() {
  if (!running || stopping) return;
  stopping = connection.send({ action: "cancel" });
  if (stopping) announcer.say(transcript.last?.stopping() ?? "");
  controls();
  draw();
}

function grow() {
  message.style.height = "auto";
  message.style.height = `${message.scrollHeight}px`;
  controls();
}

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (at("send").disabled || running) return;
  const text = message.value.trim();
  message.value = "";
  grow();
  ask(text);
  message.focus();
});

message.addEventListener("input", () => {
  trouble();
  grow();
});
message.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  at("composer").requestSubmit();
});

addEventListener("keydown", ({ key, isComposing }) => {
  if (key === "Escape" && !isComposing) stop();
});

at("stop").addEventListener("click", () => {
  stop();
  message.focus();
});

at("again").addEventListener("click", () => connection.start());

at("new").addEventListener("click", () => {
  transcript.clear();
  refusal = null;
  drafts.clear();
  trouble();
  ended();
  connection.renew();
  message.focus();
  announcer.say("A new conversation.");
});

at("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  connection.token = at("token").value.trim();
  at("token").value = "";
  connection.start();
});

addEventListener("hashchange", () => keepToken() && !connection.open && connection.start());

keepToken();
connection.start();
message.focus();
