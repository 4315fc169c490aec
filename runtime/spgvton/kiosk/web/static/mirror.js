import { LiveView, api, byId, element, repeat, say } from "./common.js";
import { choiceSteps, drawLanguages } from "./language.js";
import { allowHands, drawHand } from "./hand.js";
import { allowHold } from "./privacy.js";
import { allowAttract, attractWith, attracting, drawAttract } from "./attract.js";
import { listen } from "./moments.js";
import { speak, word } from "./words.js";

const view = new LiveView(byId("view"));
const choices = byId("choices");
let page = null; // what the server says once
let boot = null;
let covered = null; // by these words
let handsChose = 0;
let shown = "";
let choicesMade = 0; // a list that was asked for before the last choice is old
let pending = 0;

async function choose(garment) {
  choicesMade += 1;
  pending += 1;
  try {
    await api("PUT", "/api/garment", { id: garment.id });
    say(byId("said"), word("worn", garment));
  } catch {
    say(byId("said"), word("failed"));
  }
  pending -= 1;
}

function details({ size, price }) {
  const words = [size, price].filter(Boolean).join(" · ");
  return words ? [element("small", {}, words)] : [];
}

function draw(garments) {
  const focused = document.activeElement?.value;
  choices.replaceChildren(...garments.map((garment) => {
    const input = element("input", { type: "radio", name: "garment", value: garment.id });
    input.addEventListener("change", () => choose(garment));
    return element("label", { className: "choice" }, input,
      element("img", { src: garment.thumbnail, alt: "", draggable: false, loading: "lazy" }),
      element("span", { dir: "auto" }, garment.name, ...details(garment)));
  }));
  if (!garments.length) choices.append(element("p", { "data-word": "tray.empty" }, word("tray.empty")));
  inputs().find((input) => input.value === focused)?.focus({ preventScroll: true });
}

const inputs = () => [...choices.querySelectorAll("input")];

async function refreshGarments() {
  const before = choicesMade;
  const { garments } = await api("GET", "/api/garments");
  if (pending || before !== choicesMade) return;
  const usable = garments.filter((garment) => !garment.problem);
  const now = JSON.stringify(usable.map(({ id, name, thumbnail, size, price }) => [id, name, thumbnail, size, price]));
  const first = shown === "";
  if (now !== shown) draw(usable);
  shown = now;
  attractWith(usable);
  for (const input of inputs()) input.checked = usable.some((garment) => garment.worn && garment.id === input.value);
  if (first) choices.querySelector(":checked")?.scrollIntoView({ block: "nearest", inline: "center" });
}

// The keys of what covers the picture; null where it can be seen.
function curtain(status) {
  if (status.privacy) return ["curtain.private", "curtain.private.more"];
  if (attracting()) return null;
  if (!status.source_ok) return ["hint.wait", "curtain.camera.more"];
  return status.frames_out && byId("view").naturalWidth ? null : ["hint.wait", "curtain.starting.more"];
}

function drawCurtain(keys) {
  const cover = byId("curtain");
  cover.hidden = !keys;
  const [title, more] = (keys ?? []).map((key) => word(key) || "…");
  if (keys && (cover.firstChild?.textContent !== title || cover.lastChild.textContent !== more)) {
    cover.replaceChildren(title, element("small", {}, more));
  }
}

async function drawStatus(status, steps) {
  if (status.boot !== boot) {
    page = await api("GET", "/api/page");
    drawLanguages(page.languages);
    allowAttract(page.attract, page.hand_agrees);
    allowHold(page.hand_agrees);
    listen(drawMoment);
    boot = status.boot;
  }
  if (steps === choiceSteps()) await speak(status.language);
  document.dispatchEvent(new CustomEvent("status", { detail: status })); // for the other parts of the page
  allowHands(page.touchless && !status.asking);
  drawAttract(status.state, !status.source_ok || status.privacy, status.asking);
  if (attracting() && !page.attract.camera) view.rest();
  else view.seen(status);
  byId("recording").hidden = !status.recording;
  covered = curtain(status);
  drawCurtain(covered);
  drawHint(status.hint_code);
}

function drawHint(code) {
  say(byId("hint"), covered || attracting() || page.hints_in_picture || !code ? "" : word(`hint.${code}`));
}

function drawMoment(moment) {
  document.dispatchEvent(new CustomEvent("moment", { detail: moment }));
  if (moment.state !== "nobody" && attracting()) { // somebody comes: at once
    drawAttract(moment.state, false, false);
    view.seen({ boot });
  }
  drawHint(moment.hint_code);
  drawHand(moment);
  if (moment.choice !== handsChose) refreshGarments().catch(() => {}); // the status will say what is wrong
  handsChose = moment.choice;
}

repeat(1000, async () => {
  try {
    const steps = choiceSteps();
    await drawStatus(await api("GET", "/api/status"), steps);
    await refreshGarments();
  } catch {
    view.lost();
    drawCurtain(["hint.wait", "curtain.restarting.more"]);
  }
});
