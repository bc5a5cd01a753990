// Learn: what was looked at becomes a labelled set.
import { ask, byId, count, counted, doing, el, notice, showFigures } from "./page.js";

const job = byId("main").dataset.job;

function command(words) {
  const copy = el("button", { className: "button quiet small", type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(words);
      notice("Copied");
    } catch {
      notice("This browser copies nothing from a page that comes by plain HTTP: mark it, and copy.", true);
    }
  });
  return el("li", {}, el("code", {}, words), copy);
}

function show(made) {
  byId("made-title").textContent = `${counted(made.images, "image")} in ${made.folder}, ${count(made.corrected)} of them put right`;
  const names = Object.entries(made.left_out);
  byId("left-out").textContent = names.length ? `${counted(names.length, "image")} left out: ${names[0][0]}: ${names[0][1]}` : "";
  byId("commands").replaceChildren(...made.next.map(command));
  byId("made").hidden = false;
}

byId("make").addEventListener("click", async () => {
  byId("make").disabled = true;
  const made = await doing(() => ask(`/api/jobs/${job}/labelled-set`, { method: "POST" }));
  if (made) show(made);
  byId("make").disabled = false;
});
doing(async () => {
  const { estimate, name } = await ask(`/api/jobs/${job}/review?most=0`);
  byId("name").textContent = name;
  byId("make").disabled = estimate.looked_at === 0;
  showFigures(byId("figures"), [
    ["Looked at", count(estimate.looked_at), `of ${count(estimate.images - estimate.failed)} that were read`],
    ["Put right", count(estimate.wrong)],
    ["Confirmed", count(estimate.looked_at - estimate.wrong)],
  ]);
});
