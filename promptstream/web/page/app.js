// What the reader does in, actions out; the relay's events in, the conversation on the page out.

import { Announcer } from "./announcer.js";
import { Connection } from "./connection.js";
import { shown } from "./dom.js";
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
let tried = null; // the call whose other arguments nothing was heard of yet
let frame = 0;
let drawn = { at: 0, took: 0 };

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

/** Take the token out of the address, where it would end in the history and in screenshots. */
function keepToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  connection.token = token;
  history.replaceState(null, "", location.pathname + location.search);
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
  conversation: ({ messages, title, resumed }) => greeted(messages, title, resumed),
  content: ({ content }) => heard().content(content),
  reasoning: ({ content }) => heard().reasoning(content),
  tool_call_delta: ({ tool_call: call }) => heard().callDelta(call),
  tool_call: ({ tool_call: call }) => heard().call(call),
  tool_result: ({ tool_call: call, content }) => heard().result(call, content),
  approval: ({ tool_call: call, decision }) => approval(call, decision),
  done: ({ final }) => done(final),
  error: ({ error }) => failed(error),
};

function told(event) {
  if (!Object.hasOwn(HANDLERS, event?.type)) return;
  HANDLERS[event.type](event);
  draw();
}

function heard() {
  asked = tried = null;
  if (!running) {
    running = true;
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
  const lost = !resumed && !transcript.empty;
  if (lost) {
    const fate = "It stays on this page, but the model begins anew.";
    transcript.answer().problem(`The server does not have this conversation any more. ${fate}`);
  } else {
    transcript.show(messages);
  }
  if (asked !== null) {
    const said = messages?.findLast(({ role }) => role === "user");
    if (said?.content !== asked) giveBack("Your message was not delivered. It is back in the field.");
    asked = null;
  }
  running = false;
  controls();
}

function approval(call, decision) {
  const answer = transcript.answer();
  running = false;
  const card = answer.ask(call, decision, (action, written) => {
    if (!connection.send(action, written)) return false;
    running = answer.waiting.size === 1; // the last one: the turn goes on
    tried = written.arguments ? call.id : null;
    controls();
    message.focus();
    return true;
  });
  announcer.say(`${decision === "result" ? "A result is wanted" : "Approval is needed"} for ${shown(call.name)}.`);
  controls();
  if (!message.value && answer.waiting.size === 1) card.focus({ preventScroll: true });
}

function done(final) {
  transcript.answer().done(final);
  announcer.say(final?.finish_reason === "tool_calls" ? "" : "The answer is complete.");
  ended();
}

function failed(error) {
  const answer = transcript.answer();
  const text = String(error ?? "Something went wrong.");
  if (tried !== null) {
    answer.unask(tried, text);
  } else if (stopping) {
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
  return running && answer.ran ? () => connection.resume() : null;
}

function ended() {
  running = stopping = false;
  asked = tried = null;
  controls();
}

// The reader

function controls() {
  const waiting = transcript.last?.waiting.size ?? 0;
  at("send").hidden = running;
  at("stop").hidden = !running;
  at("stop").disabled = stopping;
  at("send").disabled = !connection.open || waiting > 0 || !message.value.trim();
  at("empty").hidden = !transcript.empty;
  message.placeholder = waiting ? "Decide above first" : "Message";
}

function ask(text, again = false) {
  if (!connection.send({ action: "send_message", message: text })) return;
  connection.keep();
  trouble();
  asked = text;
  running = true;
  if (again) transcript.take();
  transcript.ask(text);
  transcript.answer().await();
  controls();
  follower.resume();
}

function stop() {
  if (!running || stopping) return;
  stopping = connection.send({ action: "cancel" });
  controls();
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

keepToken();
connection.start();
message.focus();
