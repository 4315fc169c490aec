// The button that lets a customer choose her language. The server holds the choice, and forgets it with her.

import { api, byId, element } from "./common.js";
import { speak, spoken } from "./words.js";

const dialog = byId("languages");

let steps = 0; // of choices: a status that was asked for at an earlier step tells the language of before

export const choiceSteps = () => steps;

async function choose(code) {
  dialog.close();
  steps += 1;
  try {
    await api("PUT", "/api/language", { code });
    await speak(code);
  } finally {
    steps += 1;
  }
}

export function drawLanguages(languages) {
  byId("language").hidden = languages.length < 2;
  byId("language-list").replaceChildren(...languages.map(({ code, name, direction }) => {
    const button = element("button", { type: "button", lang: code, dir: direction, value: code }, name);
    button.addEventListener("click", () => choose(code));
    return button;
  }));
  mark();
}

function mark() {
  for (const button of byId("language-list").children) button.ariaCurrent = String(button.value === spoken());
  const now = [...byId("language-list").children].find((button) => button.value === spoken());
  byId("language-now").textContent = now?.textContent ?? "";
  byId("language-now").lang = spoken();
}

document.addEventListener("spoken", mark);
byId("language").addEventListener("click", () => dialog.showModal());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); }); // beside it

