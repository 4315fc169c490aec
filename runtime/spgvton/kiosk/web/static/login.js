import { api, byId, say } from "./common.js";

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await api("POST", "/api/login", { token: byId("token").value });
    location.href = "/";
  } catch (problem) {
    say(byId("message"), `That did not work: ${problem.message}.`);
    byId("token").select();
  }
});
