// Actions in, events out, over a WebSocket that is opened again whenever it was lost.

const LONGEST = 15_000; // ms between two tries
const FIRST = 400;
const REFUSED = new Set([1008, 4401, 4403]); // trying again would end the same way

/** Keep a connection; `told` is given every event, `changed` every change of state. */
export class Connection {
  #socket = null;
  #timer = 0;
  #tries = 0;
  #store;
  #id = null; // of the conversation on this connection
  #wanted = null; // the conversation that was asked for and not yet given
  #other = null; // the one that the server began meanwhile

  constructor(url, { told, changed, store }) {
    this.url = url;
    this.told = told;
    this.changed = changed;
    this.#store = store;
    addEventListener("online", () => this.#hurry());
    addEventListener("pageshow", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  /** True once there is a conversation to talk in. */
  get open() {
    return this.#id !== null;
  }

  get token() {
    return this.#store.getItem("promptstream.token");
  }

  set token(value) {
    this.#store.setItem("promptstream.token", value);
  }

  /** Come back to this conversation from now on; before anything was said in it there is nothing to come back to. */
  keep() {
    if (this.#id) this.#store.setItem("promptstream.conversation", this.#id);
  }

  /** Begin a new conversation. */
  renew() {
    this.#store.removeItem("promptstream.conversation");
    this.start();
  }

  /** Ask for the kept conversation as the server has it; false where that cannot be done. */
  resume() {
    this.#wanted = this.#store.getItem("promptstream.conversation");
    return this.#wanted !== null && this.send({ action: "resume", conversation_id: this.#wanted });
  }

  /** Connect now, whatever there was before. */
  start() {
    this.stop();
    this.#id = this.#wanted = null;
    this.changed("connecting");
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => this.#greet();
    socket.onmessage = ({ data }) => this.#socket === socket && this.#read(data);
    socket.onclose = ({ code }) => this.#socket === socket && this.#lost(code);
  }

  /** Hang up and stay so. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Send an action, and with it fields that are JSON already; false where there is no connection. */
  send(action, written = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    const fields = Object.entries(action).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
    for (const [name, json] of Object.entries(written)) fields.push(`${JSON.stringify(name)}: ${json}`);
    this.#socket.send(`{${fields.join(", ")}}`);
    return true;
  }

  #greet() {
    // A server that wants no token does not mind one, and one that wants it says so at once.
    this.send({ action: "authenticate", token: this.token ?? "" });
    this.#other = null;
    this.resume();
  }

  #read(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // not of this protocol
    }
    if (event?.type === "conversation") this.#given(event);
    else if (event?.type === "error" && this.#id === null && event.action !== "connect") this.#missing();
    else if (event?.action === "resume" && this.#wanted !== null) this.#gone(event);
    else this.told(event);
  }

  #given(event) {
    if (this.#wanted !== null && event.conversation_id !== this.#wanted) {
      this.#other = event;
      return;
    }
    const resumed = this.#wanted !== null;
    this.#wanted = null;
    this.#tries = 0;
    this.#id = event.conversation_id;
    this.changed("open");
    this.told({ ...event, resumed });
  }

  /** The conversation that was asked for is not there any more; or there is no talking to this server at all. */
  #missing() {
    this.#wanted = null;
    this.#store.removeItem("promptstream.conversation");
    if (this.#other) this.#given(this.#other);
  }

  /** What was asked for once more, on an open connection, is there no longer. */
  #gone(event) {
    this.#wanted = null;
    this.told({ ...event, action: undefined });
  }

  #lost(code) {
    this.#socket = null;
    this.#id = null;
    if (REFUSED.has(code)) {
      this.changed("refused", { code });
      return;
    }
    const wait = Math.min(LONGEST, FIRST * 2 ** this.#tries) * (0.75 + Math.random() / 2);
    this.#tries += 1;
    this.#timer = setTimeout(() => this.start(), wait);
    this.changed("waiting", { code });
  }

  #hurry() {
    if (!this.#socket && this.#timer) this.start();
  }
}
