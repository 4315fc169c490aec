import { LiveView, api, attempt, byId, element, repeat, say } from "./common.js";
import { Taps } from "./taps.js";

const view = new LiveView(byId("view"));
let upload = null; // what waits to be accepted
let shown = "";
const taps = new Taps({ get: () => upload, set: (changed) => { upload = changed; }, target: byId("upload-message") });

const number = (value, digits = 1) => (value === null || value === undefined ? "–" : value.toFixed(digits));

function row(name, ...values) {
  return element("tr", {}, element("th", { scope: "row" }, name), ...values.map((value) => element("td", {}, value)));
}

function drawSwitch(id, on, possible) {
  const button = byId(id);
  button.setAttribute("aria-checked", String(on));
  button.disabled = !possible;
}

function drawStatus(status) {
  view.seen(status);
  byId("retake").hidden = status.mode === "live"; // there is no picture to take
  byId("recording-badge").hidden = !status.recording;
  drawSwitch("privacy", status.privacy, true);
  drawSwitch("recording", status.recording, status.can_record);
  byId("recording").title = status.can_record ? "" : "Set recording.folder in kiosk.yaml to make this possible";
  say(byId("state-problem"), status.state_problem);
  const trouble = status.last_error ? ` Last trouble: ${status.last_error}` : "";
  say(byId("state"), `Person: ${status.state}.${status.hint ? ` ${status.hint}.` : ""}${trouble}`);
  const dropped = Object.entries(status.dropped).filter(([, count]) => count).map(([stage, count]) => `${stage} ${count}`).join(", ");
  byId("metrics").replaceChildren(
    row("Pictures a second, in / out", `${number(status.fps_in)} / ${number(status.fps_out)}`),
    row("Mode", status.mode === "live" ? `live, ${number(status.answers_per_s)} answers a second` : status.mode),
    row("Pictures, in / out / made anew", `${status.frames_in} / ${status.frames_out} / ${status.frames_synthesised}`),
    row("Dropped after stage", dropped || "none"),
    row("Age of the newest picture", `${number(status.frame_age_s && 1000 * status.frame_age_s, 0)} ms`),
    row("Source", `${status.source}${!status.source_ok ? " (away)" : status.dark ? " (shows nothing)" : ""}`),
    row("Opened again", `${status.restarts} times`),
    row("Computed by", Object.entries(status.backend).map(([name, value]) => (name === "backend" ? value : `${name} ${value}`)).join(", ")),
    row("Viewers", String(status.viewers)),
  );
  byId("stages").replaceChildren(...Object.entries(status.stages_ms).map(
    ([stage, ms]) => row(stage, number(ms.p50), number(ms.p95), number(ms.p99)),
  ));
}

const details = ({ category, size, price, sku }) => [category, size, price, sku].filter(Boolean).join(" · ");

function drawGarment(garment) {
  const picture = garment.problem
    ? element("div", { className: "blank" })
    : element("img", { loading: "lazy", src: garment.thumbnail, alt: "" });
  const words = garment.problem
    ? element("span", { className: "problem" }, garment.problem)
    : element("span", { className: garment.worn ? "worn" : "" }, garment.worn ? "worn now" : details(garment) || garment.id);
  const buttons = element("div", { className: "row" });
  if (!garment.problem) {
    const mask = element("button", { type: "button", "aria-label": `Mask of ${garment.name}` }, "Mask");
    mask.addEventListener("click", () => showMask(garment));
    buttons.append(mask);
  }
  const remove = element("button", { type: "button", "aria-label": `Remove ${garment.name}` }, "Remove");
  remove.addEventListener("click", () => askRemove(garment));
  buttons.append(remove);
  return element("li", {}, picture, element("strong", {}, garment.name), words, buttons);
}

function openDialog(title, picture, question) {
  byId("dialog-title").textContent = title;
  byId("dialog-picture").hidden = !picture;
  if (picture) byId("dialog-picture").src = picture;
  byId("dialog-yes").hidden = !question;
  byId("dialog").returnValue = "";
  byId("dialog").showModal();
}

function showMask(garment) {
  byId("dialog").onclose = null;
  openDialog(garment.name, `/api/garments/${garment.id}/mask.jpg?${Date.now()}`, false);
}

function askRemove(garment) {
  byId("dialog").onclose = () => {
    if (byId("dialog").returnValue !== "yes") return;
    attempt(() => api("DELETE", `/api/garments/${garment.id}`).then(refreshGarments));
  };
  openDialog(`Remove “${garment.name}” and its files?`, null, true);
}

let listProblems = "";

function drawListProblems(lines) {
  if (lines.join("\n") === listProblems) return;
  listProblems = lines.join("\n");
  byId("list-problems").replaceChildren(...lines.map((line) => element("li", {}, line)));
}

async function refreshGarments() {
  const { garments, problem, list_problems } = await api("GET", "/api/garments");
  say(byId("catalogue-problem"), problem ?? "");
  drawListProblems(list_problems);
  const now = JSON.stringify(garments);
  if (now === shown) return;
  shown = now;
  byId("garments").replaceChildren(...garments.map(drawGarment));
  if (!garments.length) byId("garments").append(element("li", {}, "Empty: add a garment here, or put pictures into the folder."));
}

function drawUpload() {
  byId("pending").hidden = !upload;
  if (!upload) {
    byId("file").value = byId("mask-file").value = "";
    return;
  }
  taps.draw(upload);
}

byId("file").addEventListener("change", () => attempt(async () => {
  const [file] = byId("file").files;
  if (!file) return;
  say(byId("upload-message"), "Looking for the garment …");
  const old = upload;
  upload = null;
  drawUploadKeepingFile();
  upload = await api("POST", "/api/uploads", file);
  if (old) api("DELETE", `/api/uploads/${old.id}`).catch(() => {});
  taps.choose("remove");
  byId("name").value = file.name.replace(/\.[^.]*$/, "").replace(/[_-]+/g, " ").slice(0, 60);
  drawUpload();
  say(byId("upload-message"), upload.mask ? "Is the mask right?" : "");
}, byId("upload-message")));

function drawUploadKeepingFile() {
  byId("pending").hidden = true;
  byId("mask-file").value = "";
}

byId("mask-file").addEventListener("change", () => attempt(async () => {
  const [file] = byId("mask-file").files;
  if (!file || !upload) return;
  upload = await api("PUT", `/api/uploads/${upload.id}/mask`, file);
  drawUpload();
}, byId("upload-message")));

byId("pending").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const garment = await api("POST", `/api/uploads/${upload.id}/accept`, { name: byId("name").value });
    upload = null;
    drawUpload();
    await refreshGarments();
    say(byId("upload-message"), `${garment.name} is in the catalogue.`);
  }, byId("upload-message"));
});

byId("discard").addEventListener("click", () => attempt(async () => {
  const { id } = upload;
  upload = null;
  drawUpload();
  await api("DELETE", `/api/uploads/${id}`);
}, byId("upload-message")));

byId("retake").addEventListener("click", () => attempt(() => api("POST", "/api/retake")));

for (const id of ["privacy", "recording"]) {
  byId(id).addEventListener("click", () => attempt(async () => {
    await api("PUT", `/api/${id}`, { on: byId(id).getAttribute("aria-checked") !== "true" });
    drawStatus(await api("GET", "/api/status"));
  }));
}

repeat(1000, async () => {
  try {
    drawStatus(await api("GET", "/api/status"));
    await refreshGarments();
  } catch (problem) {
    view.lost();
    say(byId("state"), `The mirror does not answer: ${problem.message}`);
  }
});
