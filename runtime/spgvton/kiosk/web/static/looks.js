// The customer's last looks side by side. The mirror forgets them with her; this page keeps none.

import { api, byId, element } from "./common.js";
import { word } from "./words.js";

const dialog = byId("looks");

function draw(looks, mirrored) {
  byId("look-list").replaceChildren(...looks.map((look) => {
    const wear = element("button", { type: "button", "aria-label": `${word("looks.wear")}: ${look.name}` }, word("looks.wear"));
    wear.addEventListener("click", () => {
      dialog.close();
      api("PUT", "/api/garment", { id: look.garment }).catch(() => {});
    });
    return element("li", {}, element("img", { src: look.picture, alt: look.name, className: mirrored ? "flipped" : "" }),
      element("strong", { dir: "auto" }, look.name), wear);
  }));
  byId("looks-more").textContent = word(looks.length ? "looks.more" : "looks.empty");
  byId("looks-wipe").hidden = !looks.length;
}

async function open() {
  const [{ looks }, { mirrored }] = await Promise.all([api("POST", "/api/looks"), api("GET", "/api/page")]);
  draw(looks, mirrored);
  if (!dialog.open) dialog.showModal();
}

byId("compare").addEventListener("click", () => open().catch(() => {}));
byId("looks-close").addEventListener("click", () => dialog.close());
byId("looks-wipe").addEventListener("click", async () => {
  await api("DELETE", "/api/looks").catch(() => {});
  dialog.close();
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); }); // beside it
dialog.addEventListener("close", () => byId("look-list").replaceChildren()); // nothing of her stays in the page

document.addEventListener("status", ({ detail: status }) => {
  const there = !status.privacy && status.state !== "nobody";
  byId("compare").hidden = !there;
  if (!there && dialog.open) dialog.close();
});
