// Correcting the mask of an upload by taps on its preview; the upload page and the review page share it.

import { api, byId, say } from "./common.js";

// get(): the upload that is looked at, or null. set(upload): it has changed. say: where words go.
export class Taps {
  constructor({ get, set, target }) {
    this.get = get;
    this.set = set;
    this.target = target;
    this.last = Promise.resolve();
    for (const name of ["add", "remove"]) byId(`tap-${name}`).addEventListener("click", () => this.choose(name));
    byId("mask").addEventListener("click", (event) => this.correct("POST", this.place(event)));
    byId("undo").addEventListener("click", () => this.correct("DELETE"));
  }

  // What a tap does: "add" or "remove".
  choose(what) {
    for (const name of ["add", "remove"]) byId(`tap-${name}`).setAttribute("aria-pressed", String(name === what));
  }

  place(event) {
    const box = byId("mask").getBoundingClientRect();
    const at = (value) => Math.min(1, Math.max(0, value));
    return {
      x: at((event.clientX - box.left) / box.width), y: at((event.clientY - box.top) / box.height),
      add: byId("tap-add").getAttribute("aria-pressed") === "true",
    };
  }

  draw(upload) {
    byId("mask").src = `${upload.preview}?${Date.now()}`;
    say(byId("mask-problem"), upload.problem ?? upload.notes.join("; "));
    byId("accept").disabled = !upload.mask;
    byId("undo").disabled = !upload.taps;
    if (!upload.mask) this.choose("add");
  }

  // Taps and undos wait for each other; none is lost because the one before it takes long.
  async correct(method, place) {
    const upload = this.get();
    if (!upload) return;
    const before = this.last;
    this.last = this.send(upload.id, method, place, before);
    await this.last;
  }

  async send(id, method, place, before) {
    await before;
    try {
      if (this.get()?.id !== id || (method === "DELETE" && byId("undo").disabled)) return;
      say(this.target, "");
      const changed = await api(method, `/api/uploads/${id}/taps`, place);
      if (this.get()?.id !== id) return;
      this.set(changed);
      this.draw(changed);
      say(this.target, "Is the mask right?");
    } catch (problem) {
      say(this.target, problem.message);
    }
  }
}
