// A still for the customer's own phone: she is asked, then a QR code leads to it, once.

import { api, byId, say } from "./common.js";
import { word } from "./words.js";

const dialog = byId("take");
let secret = null;
let offered = false; // whether this kiosk gives stills away

api("GET", "/api/page").then((page) => { offered = page.take_home; }).catch(() => {});

function draw(step) {
  for (const name of ["ask", "code"]) byId(`take-${name}`).hidden = name !== step;
}

// Rows of 0 and 1 as one path; four modules of white around it, as phones want it.
function drawCode(rows) {
  const steps = rows.flatMap((row, y) => [...row].flatMap((dark, x) => (dark === "1" ? [`M${x + 4} ${y + 4}h1v1h-1z`] : [])));
  byId("take-qr").setAttribute("viewBox", `0 0 ${rows.length + 8} ${rows.length + 8}`);
  byId("take-path").setAttribute("d", steps.join(""));
}

async function agree() {
  byId("take-yes").disabled = true;
  try {
    const offer = await api("POST", "/api/take-home", { consent: true });
    secret = offer.secret;
    drawCode(offer.qr);
    draw("code");
    await watch(offer.secret);
  } catch {
    say(byId("take-message"), word("take.failed"));
  } finally {
    byId("take-yes").disabled = false;
  }
}

// Until the still is fetched, its time is over, or the customer closes this.
async function watch(mine) {
  while (secret === mine) {
    const { seconds } = await api("GET", `/api/take-home/${mine}`);
    if (secret !== mine) return;
    if (!seconds) {
      say(byId("take-left"), word("take.gone"));
      byId("take-qr").classList.add("gone");
      return;
    }
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    byId("take-left").textContent = word("take.left", { time: clock });
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

byId("take-open").addEventListener("click", () => {
  say(byId("take-message"), "");
  say(byId("take-left"), "");
  byId("take-qr").classList.remove("gone");
  draw("ask");
  dialog.showModal();
});
byId("take-yes").addEventListener("click", agree);
for (const id of ["take-no", "take-close"]) byId(id).addEventListener("click", () => dialog.close());
byId("take-drop").addEventListener("click", () => {
  if (secret) api("DELETE", `/api/take-home/${secret}`).catch(() => {});
  dialog.close();
});
dialog.addEventListener("close", () => {
  secret = null; // the still waits for the phone all the same
  byId("take-path").removeAttribute("d");
});

document.addEventListener("status", ({ detail: status }) => {
  byId("take-open").hidden = !offered || status.privacy || status.state !== "live" || !status.garment;
  if (status.privacy && dialog.open) dialog.close();
});
