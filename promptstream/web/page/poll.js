// A question that cannot be answered yet in, the same question asked again out, later each time.

const FIRST = 700; // ms
const LONGEST = 8000;
const CALM = 300; // ms without "not yet" after an answer that mean it was the last

/** Call `ask` until it is answered for good; `over` is called once then. */
export class Poll {
  #ask;
  #over;
  #timer = 0;
  #wait = FIRST;

  constructor(ask, over) {
    this.#ask = ask;
    this.#over = over;
  }

  /** True until it is answered for good. */
  get waiting() {
    return this.#timer !== 0;
  }

  /** It is not answered yet. */
  again() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#ask, this.#wait);
    this.#wait = Math.min(LONGEST, this.#wait * 1.5);
  }

  /** An answer came, for good unless `again` follows at once. */
  answered() {
    if (!this.waiting) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.stop();
      this.#over();
    }, CALM);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#wait = FIRST;
  }
}
