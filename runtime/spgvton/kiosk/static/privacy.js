// The privacy notice, behind a button; and where the kiosk asks first, the cover over everything until somebody agrees.

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
});
