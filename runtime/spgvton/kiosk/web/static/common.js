// What both pages share: the API, the live picture, and building elements without markup in strings.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Set only what differs: screen readers speak every change of a live region.
export function say(target, words) {
  if (target.textContent !== words) target.textContent = words;
}

// The answer as JSON (null where there is none). Throws Error with the server's words.
export async function api(method, path, body) {
  const options = { method, headers: {} };
  if (body instanceof Blob) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, options);
  if (answer.status === 401 && location.pathname !== "/login") location.href = "/login";
  if (answer.status === 204) return null;
  const data = await answer.json();
  if (answer.ok) return data;
  throw new Error(typeof data.detail === "string" ? data.detail : "the kiosk did not understand this");
}

// Keep IMAGE live: it begins anew when the kiosk was restarted, when the stream broke off, and when the page is shown again.
export class LiveView {
  constructor(image) {
    this.image = image;
    this.boot = null;
    image.addEventListener("error", () => { this.boot = null; });
    document.addEventListener("visibilitychange", () => {
      this.boot = null;
      if (document.hidden) image.removeAttribute("src");
    });
  }

  seen(status) {
    if (document.hidden || status.boot === this.boot) return;
    this.boot = status.boot;
    this.image.src = `/stream.mjpg?${Date.now()}`;
  }

  lost() {
    this.boot = null;
  }

  // No picture is asked for until seen() is called again.
  rest() {
    this.boot = null;
    this.image.removeAttribute("src");
  }
}

// Call FUNCTION now and MS after each time it has finished, for ever.
export async function repeat(ms, action) {
  for (;;) {
    await action();
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
}

// Run ACTION for a person; what goes wrong is told where she looks.
export async function attempt(action, target = byId("message")) {
  try {
    say(target, "");
    await action();
  } catch (problem) {
    say(target, problem.message);
  }
}
