// While nobody is there: one garment after the other, large, and one prompt. No camera picture, unless the shop wants it.
// Where the kiosk asks first its camera shows nobody: a touch, a key or a raised hand says that somebody has come, and the
// question is seen.

import { byId } from "./common.js";
import { sayAll } from "./words.js";

const EVERY_MS = 5000;
const READ_MS = 45000; // after the last touch the question is still being read

const stage = byId("attract");
const pictures = [byId("attract-one"), byId("attract-two")]; // that take turns
let settings = { after_s: 8, camera: false };
let garments = [];
let turn = 0;
let since = null; // when the last customer left
let timer = 0;
let asked = false; // nobody has agreed yet
let touched = -Infinity;
let invitation = "attract.touch";

export const attracting = () => !stage.hidden;

// FOUND: the shop's settings. HANDS: a raised hand is seen before consent.
export function allowAttract(found, hands) {
  settings = found;
  invitation = hands ? "attract.raise" : "attract.touch";
}

export function attractWith(usable) {
  garments = usable;
}

const overCamera = () => settings.camera && !asked;

function ask(asking) {
  if (asked !== asking) since = null; // who has just agreed is on her way
  asked = asking;
  stage.classList.toggle("over-camera", overCamera());
  const more = byId("attract-more");
  const key = asked ? invitation : "attract.more";
  if (more.dataset.word === key) return;
  more.dataset.word = key;
  sayAll(stage);
}

function next() {
  const garment = garments[turn % garments.length];
  if (!garment) return;
  const [coming, going] = turn % 2 ? pictures : [...pictures].reverse();
  turn += 1;
  coming.onload = () => {
    coming.classList.add("shown");
    going.classList.remove("shown");
  };
  coming.src = `/api/garments/${garment.id}/picture.jpg${new URL(garment.thumbnail, location).search}`;
}

function show(on) {
  if (stage.hidden !== on) return;
  stage.hidden = !on;
  clearInterval(timer);
  if (!on || overCamera()) return;
  next();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) timer = setInterval(next, EVERY_MS);
}

// STATE is the customer's; COVERED: the picture cannot be seen for another reason; ASKING: nobody has agreed to be seen.
export function drawAttract(state, covered, asking) {
  const now = performance.now();
  ask(asking);
  if (state !== "nobody" || covered || !settings.after_s) since = null;
  else since ??= now;
  show(since !== null && now - since >= 1000 * settings.after_s && !(asked && now - touched < READ_MS));
}

for (const sign of ["pointerdown", "scroll", "keydown"]) {
  document.addEventListener(sign, () => { touched = performance.now(); }, { capture: true, passive: true });
}

function wake() {
  show(false);
  document.dispatchEvent(new Event("woken"));
}

// Not at pointerdown: the end of the same touch would press what it uncovers.
document.addEventListener("click", () => { if (asked && attracting()) wake(); });
document.addEventListener("moment", ({ detail: moment }) => {
  if (!asked || moment.agreeing === null) return;
  touched = performance.now();
  if (attracting()) wake();
});
document.addEventListener("keydown", (event) => {
  if (!asked || event.key === "Tab" || event.ctrlKey || event.altKey || event.metaKey) return;
  if (attracting()) wake();
  else if (!event.repeat || !["Enter", " "].includes(event.key)) return;
  event.preventDefault(); // one press, however long, does not answer the question that it has uncovered
});
