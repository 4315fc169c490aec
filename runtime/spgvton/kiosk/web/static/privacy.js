// The privacy notice, behind a button; and where the kiosk asks first, the cover over everything until somebody agrees:
// with a touch, a key, or a raised hand that is held still.

import { api, byId, element } from "./common.js";
import { spoken, word } from "./words.js";

const dialog = byId("notice");
let shown = ""; // the language of the text
let asking = false;

async function fill() {
  if (shown === spoken() || !spoken()) return;
  const wanted = spoken();
  const { title, paragraphs } = await api("GET", `/api/notice?language=${wanted}`);
  shown = wanted;
  for (const place of document.querySelectorAll("[data-notice-title]")) place.textContent = title;
  for (const place of document.querySelectorAll("[data-notice]")) {
    place.replaceChildren(...paragraphs.map((text) => element("p", {}, text)));
  }
}

document.addEventListener("spoken", () => fill().catch(() => {}));
byId("privacy-open").addEventListener("click", () => {
  fill().catch(() => {});
  dialog.showModal();
  dialog.scrollTop = 0; // the focus is on a button below the text, which is read first
});
byId("notice-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); }); // beside it

async function change(method, body) {
  for (const id of ["agree", "end"]) byId(id).disabled = true;
  await api(method, "/api/consent", body).catch(() => {});
  for (const id of ["agree", "end"]) byId(id).disabled = false;
  dialog.close();
}

byId("agree").addEventListener("click", () => change("POST", { agreed: true }));
byId("end").addEventListener("click", () => change("DELETE"));

// A foot switch, or whatever else types Enter, agrees without a hand on the glass.
const ready = () => { if (asking && !document.querySelector("dialog[open]")) byId("agree").focus({ preventScroll: true }); };
document.addEventListener("woken", ready);

// A hand answers only the question that it has seen: one that was up when the question came must be lowered first.
const LOST_MS = 1500; // without news the hand is gone
let up = false;
let fresh = false;
let lost = 0;

export function allowHold(possible) {
  byId("hold").hidden = !possible;
}

const askedNow = () => asking && byId("ask").getClientRects().length > 0 && !document.querySelector("dialog[open]");

function fillRing(share) {
  byId("hold").querySelector(".filled").style.strokeDashoffset = 1 - share;
}

function hold(share) {
  clearTimeout(lost);
  up = share !== null;
  if (!askedNow()) fresh = false;
  else if (!up) fresh = true;
  const counts = up && fresh;
  fillRing(counts ? share : 0);
  if (counts && share === 1) {
    fresh = false;
    byId("agree").click();
  }
  if (up) lost = setTimeout(() => { fresh = false; fillRing(0); }, LOST_MS);
}

document.addEventListener("moment", ({ detail: moment }) => hold(moment.agreeing));

document.addEventListener("status", ({ detail: status }) => {
  const begins = status.asking && !asking;
  if (begins) {
    fill().catch(() => {});
    for (const open of document.querySelectorAll("dialog[open]")) if (open !== dialog) open.close();
  }
  asking = status.asking;
  byId("ask").hidden = !asking || status.privacy;
  byId("end").hidden = !status.asks || asking;
  byId("agree").textContent = word("privacy.agree");
  if (begins) ready();
  if (!up) hold(null); // the question may just have come
});
