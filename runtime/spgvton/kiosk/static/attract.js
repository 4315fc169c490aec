// While nobody is there: one garment after the other, large, and one prompt. No camera picture, unless the shop wants it.

import { byId } from "./common.js";

const EVERY_MS = 5000;

const stage = byId("attract");
const pictures = [byId("attract-one"), byId("attract-two")]; // that take turns
let settings = { after_s: 8, camera: false };
let garments = [];
let turn = 0;
let since = null; // when the last customer left
let timer = 0;

export const attracting = () => !stage.hidden;

export function allowAttract(found) {
  settings = found;
  stage.classList.toggle("over-camera", settings.camera);
}

export function attractWith(usable) {
  garments = usable;
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
  if (!on || settings.camera) return;
  next();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) timer = setInterval(next, EVERY_MS);
}

// STATE is the customer's; COVERED: the picture cannot be seen for another reason.
export function drawAttract(state, covered) {
  if (state !== "nobody" || covered || !settings.after_s) since = null;
  else since ??= performance.now();
  show(since !== null && performance.now() - since >= 1000 * settings.after_s);
}
