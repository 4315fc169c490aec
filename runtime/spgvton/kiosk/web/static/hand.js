// The customer's raised hand: a ring where she sees it, and the garment that it has moved to.

import { byId } from "./common.js";
import { sayAll } from "./words.js";

const LOST_MS = 1500; // without news the hand is gone, whatever was said last

const ring = byId("hand");
const legend = byId("tray-title");
let possible = false;
let timer = 0;

// Where IMAGE shows the shares X and Y of its picture, which lies whole and centred in it.
function place(image, x, y) {
  const scale = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
  return [
    (image.clientWidth - scale * image.naturalWidth) / 2 + x * scale * image.naturalWidth,
    (image.clientHeight - scale * image.naturalHeight) / 2 + y * scale * image.naturalHeight,
  ];
}

function explain(raised) {
  const key = !possible ? "tray.title" : raised ? "tray.moving" : "tray.touchless";
  if (legend.dataset.word === key) return;
  legend.dataset.word = key;
  sayAll(legend.parentElement);
}

function highlight(garment) {
  for (const input of document.querySelectorAll("#choices input")) {
    const label = input.closest("label");
    const on = input.value === garment;
    if (on && !label.classList.contains("highlighted")) label.scrollIntoView({ block: "nearest", inline: "center", behavior: "smooth" });
    label.classList.toggle("highlighted", on);
  }
}

// ALLOWED: hands choose here and now.
export function allowHands(allowed) {
  if (possible === allowed) return;
  possible = allowed;
  explain(false);
}

export function drawHand({ hand, highlighted }) {
  clearTimeout(timer);
  const image = byId("view");
  ring.toggleAttribute("hidden", !hand || !image.naturalWidth);
  highlight(highlighted);
  explain(Boolean(hand));
  if (!hand) return;
  if (image.naturalWidth) {
    const [x, y] = place(image, hand.x, hand.y);
    ring.style.left = `${x}px`;
    ring.style.top = `${y}px`;
    ring.querySelector(".filled").style.strokeDashoffset = 1 - hand.progress;
    ring.classList.toggle("full", hand.progress === 1);
  }
  timer = setTimeout(() => drawHand({ hand: null, highlighted: null }), LOST_MS);
}
