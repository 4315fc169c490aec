import { api, attempt, byId, element, say } from "./common.js";
import { Taps } from "./taps.js";

let waiting = [];
let opened = null; // the upload whose mask is corrected
const corrected = new Set(); // ids whose mask is no longer the one that was found
const names = new Map(); // id -> what was typed

const taps = new Taps({
  get: () => opened,
  set: (changed) => {
    opened = changed;
    corrected.add(changed.id);
  },
  target: byId("editor-message"),
});

const isSure = (entry) => !entry.problem && !entry.notes.length;

function details(entry) {
  const kind = entry.kind && `${entry.kind}, sleeves ${entry.sleeve}, confidence ${entry.confidence.toFixed(2)}`;
  return [entry.file, entry.category, entry.size, entry.price, entry.sku, kind].filter(Boolean).join(" · ");
}

function drawEntry(entry) {
  const look = element("button", { type: "button", className: "look", "aria-label": `Correct the mask of ${entry.name}` },
    element("img", { src: entry.preview, alt: "", loading: "lazy" }));
  look.addEventListener("click", () => attempt(() => edit(entry)));
  const name = element("input", { type: "text", maxLength: 60, required: true, value: names.get(entry.id) ?? entry.name,
    autocomplete: "off", disabled: entry.listed, title: entry.listed ? "from the shop's list" : "" });
  name.addEventListener("input", () => names.set(entry.id, name.value));
  const accept = element("button", { type: "button", className: "primary", disabled: Boolean(entry.problem),
    "aria-label": `Accept ${entry.name}` }, "Accept");
  accept.addEventListener("click", () => attempt(() => acceptOne(entry)));
  const reject = element("button", { type: "button", "aria-label": `Reject ${entry.name}` }, "Reject");
  reject.addEventListener("click", () => attempt(() => rejectOne(entry)));
  const words = entry.problem ?? entry.notes.join("; ");
  return element("li", { id: `entry-${entry.id}` }, look, element("label", { className: "field" }, "Name ", name),
    element("small", {}, details(entry)), ...(words ? [element("span", { className: "problem" }, words)] : []),
    element("div", { className: "row" }, accept, reject));
}

function drawCount() {
  const sure = waiting.filter(isSure).length;
  say(byId("count"), waiting.length ? `${waiting.length} waiting` : "Nothing waits. Choose photographs above, or run: spgvton kiosk import");
  byId("accept-sure").hidden = !sure;
  byId("accept-sure").textContent = `Accept the ${sure} without remarks`;
}

async function refresh() {
  ({ waiting } = await api("GET", "/api/review"));
  byId("waiting").replaceChildren(...waiting.map(drawEntry));
  drawCount();
}

function gone(id) {
  waiting = waiting.filter((entry) => entry.id !== id);
  byId(`entry-${id}`)?.remove();
  names.delete(id);
  corrected.delete(id);
  drawCount();
}

async function acceptOne(entry) {
  const name = (names.get(entry.id) ?? entry.name).trim();
  if (!name) throw new Error(`${entry.file} needs a name`);
  await api("POST", `/api/review/${entry.id}/accept`, { name, corrected: corrected.has(entry.id) });
  gone(entry.id);
}

async function rejectOne(entry) {
  await api("DELETE", `/api/review/${entry.id}`);
  gone(entry.id);
}

async function edit(entry) {
  opened = await api("POST", `/api/review/${entry.id}/open`); // with the corrections, unless they are too old
  if (!opened.taps) corrected.delete(entry.id);
  byId("editor-title").textContent = entry.name;
  say(byId("editor-message"), "");
  taps.choose("remove");
  taps.draw(opened);
  byId("editor").showModal();
}

byId("accept").addEventListener("click", () => attempt(async () => {
  await acceptOne(waiting.find((entry) => entry.id === opened.id));
  byId("editor").close();
}, byId("editor-message")));

byId("close").addEventListener("click", () => byId("editor").close());
byId("editor").addEventListener("close", () => {
  if (opened && corrected.has(opened.id)) {
    const image = byId(`entry-${opened.id}`)?.querySelector("img");
    const button = byId(`entry-${opened.id}`)?.querySelector(".primary");
    if (image) image.src = `${opened.preview}?${Date.now()}`;
    if (button) button.disabled = !opened.mask;
  }
  opened = null;
});

byId("accept-sure").addEventListener("click", () => attempt(async () => {
  for (const entry of waiting.filter(isSure)) await acceptOne(entry);
}));

byId("files").addEventListener("change", () => attempt(async () => {
  const files = [...byId("files").files];
  byId("refused").replaceChildren();
  for (const [number, file] of files.entries()) {
    say(byId("import-message"), `Cutting out ${number + 1} of ${files.length}: ${file.name}`);
    try {
      await api("POST", `/api/review?file=${encodeURIComponent(file.name)}`, file);
    } catch (problem) {
      byId("refused").append(element("li", {}, `${file.name}: ${problem.message}`));
    }
  }
  byId("files").value = "";
  const refused = byId("refused").childElementCount;
  say(byId("import-message"), `${files.length - refused} of ${files.length} photographs were taken.`);
  await refresh();
}, byId("import-message")));

attempt(refresh);
