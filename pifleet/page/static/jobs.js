// Jobs: what this machine has begun, live, and a new one.
import { ask, byId, count, counted, doing, duration, el, keepInStep, notice, offer, takeDrops, wanted, watch } from "./page.js";

const STATES = { running: "running", open: "can go on", done: "done", cancelled: "cancelled" };
let list = null;

function act(label, job, path, json, isQuiet = true) {
  const button = el("button", { className: `button small${isQuiet ? " quiet" : ""}`, type: "button" }, label);
  button.addEventListener("click", async () => {
    button.disabled = true;
    const done = await doing(() => ask(`/api/jobs/${job.job}/${path}`, { method: "POST", json }));
    if (done) notice(done.said);
    button.disabled = false;
  });
  return button;
}

const link = (label, href) => el("a", { className: "button small quiet", href }, label);

function actions(job) {
  const made = [];
  if (job.state === "running" || job.state === "open") made.push(act("Cancel", job, "cancel"));
  if (job.state === "open") made.push(act("Go on", job, "collect", undefined, false));
  if (job.failed && job.state !== "running") made.push(act("Try failed again", job, "replay", {}));
  if (job.has_csv && job.state !== "running") made.push(link("CSV", `/api/jobs/${job.job}/submission.csv`));
  if (job.read) made.push(link("Review", `/review/${job.job}`));
  return made;
}

function facts(job) {
  const done = job.read + job.failed;
  const parts = [`${count(done)} of ${counted(job.total, "image")}`];
  if (job.per_s) parts.push(`${count(job.per_s)}/s`);
  if (job.seconds_left !== null) parts.push(`${duration(job.seconds_left)} to go`);
  parts.push(job.model);
  parts.push(`begun ${duration(Date.now() / 1000 - job.created_at)} ago`);
  return el("p", { className: "facts" }, ...parts.map((part, place) => el("span", {}, place ? part : el("b", {}, part))));
}

function reasons(job) {
  if (!job.failed) return null;
  const chips = Object.entries(job.reasons).map(([reason, n]) => el("span", { className: "chip bad" }, `${reason} ${count(n)}`));
  const csv = job.state === "running" ? null : el("a", { href: `/api/jobs/${job.job}/failures.csv` }, "which");
  return el("p", { className: "reasons" }, `${count(job.failed)} failed:`, ...chips, csv);
}

function fill(item, job) {
  const told = JSON.stringify(job);
  if (item.dataset.told === told) return;
  item.dataset.told = told;
  item.dataset.state = job.state;
  const focused = item.contains(document.activeElement) ? document.activeElement.textContent : null;
  const bar = el("progress", { max: job.total || 1, value: job.read + job.failed, "aria-label": `Progress of ${job.name}` });
  item.replaceChildren(
    el("p", { className: "job-head" }, el("span", { className: "job-name" }, job.name), el("span", { className: `chip ${job.state}` }, STATES[job.state] ?? job.state), el("span", { className: "hint mono" }, job.job)),
    ...(job.state === "running" || job.state === "open" ? [bar] : []),
    el("div", { className: "job-foot" }, facts(job), el("div", { className: "row" }, ...actions(job))),
    reasons(job) ?? "",
  );
  if (focused) [...item.querySelectorAll("button, a")].find((one) => one.textContent === focused)?.focus();
}

function showProblems(problems) {
  const shown = problems.map((one) => el("p", { className: "problem" }, el("span", {}, `${one.what}: ${one.said}`)));
  if (problems.length) {
    const clear = el("button", { className: "button quiet small", type: "button" }, "Clear");
    clear.addEventListener("click", () => doing(() => ask("/api/problems", { method: "DELETE" })));
    shown[0].append(clear);
  }
  byId("problems").replaceChildren(...shown);
}

function takeList(files) {
  list = files[0] ?? null;
  byId("list-name").textContent = list ? `${list.name}: press Start` : "A URL a line, or a CSV with url and name";
}

watch((state) => {
  byId("empty").hidden = state.jobs.length > 0;
  showProblems(state.problems);
  keepInStep(byId("jobs"), state.jobs, (job) => job.job, () => el("li", { className: "card job" }), fill);
});

takeDrops(document.body, takeList);
byId("list").addEventListener("change", (event) => takeList([...event.target.files]));
byId("new").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = wanted();
  if (list) form.append("list", list, list.name);
  else form.append("folder", byId("folder").value);
  const begun = await doing(() => ask("/api/jobs", { method: "POST", form }));
  if (!begun) return;
  notice(`Begun: ${begun.submission}`);
  byId("new").reset();
  takeList([]);
  offer();
});
doing(offer);
