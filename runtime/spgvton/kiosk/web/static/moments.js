// What must be known sooner than the status once a second: server-sent events, each the whole moment.

let source = null;

// Call ACTION with every moment from now on; called again where the kiosk was started anew.
export function listen(action) {
  source?.close();
  source = new EventSource("/api/events");
  source.addEventListener("message", (event) => action(JSON.parse(event.data)));
}
