// What the reader does in, where the page stands out: it follows the answer until the reader looks elsewhere.

const NEAR = 60; // px from the end that still count as the end

/** Keep the end of an element in sight as it grows; `button` leads back to it. */
export class Follower {
  #pane;
  #button;
  #following = true;
  #last = 0;

  constructor(pane, button) {
    this.#pane = pane;
    this.#button = button;
    pane.addEventListener("scroll", () => this.#look(), { passive: true });
    pane.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && this.#let(), { passive: true });
    new ResizeObserver(() => this.follow()).observe(pane);
    button.addEventListener("click", () => this.resume());
  }

  /** Go to the end, if the reader is there. */
  follow() {
    if (this.#following) this.#pane.scrollTop = this.#pane.scrollHeight;
    this.#last = this.#pane.scrollTop;
    this.#show();
  }

  /** Go to the end, and stay there. */
  resume() {
    this.#following = true;
    this.follow();
  }

  get #away() {
    return this.#pane.scrollHeight - this.#pane.clientHeight - this.#pane.scrollTop;
  }

  #let() {
    if (this.#pane.scrollHeight > this.#pane.clientHeight) this.#following = false;
  }

  #look() {
    const { scrollTop } = this.#pane;
    if (scrollTop < this.#last - 2) this.#following = false;
    if (this.#away < NEAR && scrollTop >= this.#last) this.#following = true;
    this.#last = scrollTop;
    this.#show();
  }

  #show() {
    this.#button.hidden = this.#following || this.#away < NEAR;
  }
}
