import { LiveView, api, byId, element, repeat, say } from "./common.js";

const view = new LiveView(byId("view"));
const choices = byId("choices");
let shown = "";
let choicesMade = 0; // a list that was asked for before the last choice is old
let pending = 0;

async function choose(garment) {
  choicesMade += 1;
  pending += 1;
  try {
    await api("PUT", "/api/garment", { id: garment.id });
    say(byId("said"), `You are wearing: ${garment.name}`);
  } catch (problem) {
    say(byId("said"), problem.message);
  }
  pending -= 1;
}

function draw(garments) {
  const focused = document.activeElement?.value;
  choices.replaceChildren(...garments.map((garment) => {
    const input = element("input", { type: "radio", name: "garment", value: garment.id });
    input.addEventListener("change", () => choose(garment));
    return element("label", { className: "choice" }, input,
      element("img", { src: garment.thumbnail, alt: "", draggable: false, loading: "lazy" }), element("span", {}, garment.name));
  }));
  if (!garments.length) choices.append(element("p", {}, "No garments yet. Staff can add them on the operator page."));
  inputs().find((input) => input.value === focused)?.focus({ preventScroll: true });
}

const inputs = () => [...choices.querySelectorAll("input")];

async function refreshGarments() {
  const before = choicesMade;
  const { garments } = await api("GET", "/api/garments");
  if (pending || before !== choicesMade) return;
  const usable = garments.filter((garment) => !garment.problem);
  const now = JSON.stringify(usable.map(({ id, name, thumbnail }) => [id, name, thumbnail]));
  const first = shown === "";
  if (now !== shown) draw(usable);
  shown = now;
  for (const input of inputs()) input.checked = usable.some((garment) => garment.worn && garment.id === input.value);
  if (first) choices.querySelector(":checked")?.scrollIntoView({ block: "nearest", inline: "center" });
}

function curtain(status) {
  if (status.privacy) return ["The camera is paused", "No picture is taken or kept."];
  if (!status.source_ok) return ["One moment, please", "The camera is being reconnected."];
  return status.frames_out && byId("view").naturalWidth ? null : ["One moment, please", "The mirror is starting."];
}

function drawStatus(status) {
  view.seen(status);
  byId("recording").hidden = !status.recording;
  const covered = curtain(status);
  const cover = byId("curtain");
  cover.hidden = !covered;
  if (covered && cover.firstChild?.textContent !== covered[0]) {
    cover.replaceChildren(covered[0], element("small", {}, covered[1]));
  }
  say(byId("hint"), covered ? "" : status.hint);
}

repeat(1000, async () => {
  try {
    drawStatus(await api("GET", "/api/status"));
    await refreshGarments();
  } catch {
    view.lost();
    byId("curtain").hidden = false;
    byId("curtain").replaceChildren("One moment, please", element("small", {}, "The mirror is starting again."));
  }
});
