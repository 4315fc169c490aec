// What the page says, in the customer's language. The server's catalogue is complete: English stands where a word is missing.

import { api } from "./common.js";

let language = { code: "", direction: "ltr", words: {} };
let wanted = "";

export const spoken = () => language.code;

// The text of KEY with VALUES for what stands in braces; "" before the first catalogue is there.
export function word(key, values = {}) {
  return (language.words[key] ?? "").replace(/\{(\w+)\}/g, (braces, name) => values[name] ?? braces);
}

// Elements say what data-word, data-word-alt and data-word-label (aria-label) name.
export function sayAll(root = document) {
  for (const [data, property] of [["word", "textContent"], ["wordAlt", "alt"], ["wordLabel", "ariaLabel"]]) {
    const attribute = `data-${data.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    for (const element of root.querySelectorAll(`[${attribute}]`)) {
      const text = word(element.dataset[data]);
      if (element[property] !== text) element[property] = text;
    }
  }
}

// Speak CODE from now on; parts of the page that build their own text listen for the document's event "spoken".
export async function speak(code) {
  if (code === wanted) return;
  wanted = code;
  try {
    const found = await api("GET", `/api/languages/${code}`);
    if (code !== wanted) return; // somebody was quicker
    language = found;
  } catch (problem) {
    wanted = language.code;
    throw problem;
  }
  document.documentElement.lang = language.code;
  document.documentElement.dir = language.direction;
  document.title = word("page.title");
  sayAll();
  document.dispatchEvent(new Event("spoken"));
}
