// Fleet: the workers, with their last minutes.
import { ask, byId, count, doing, duration, el, keepInStep, showFigures, watch } from "./page.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST = 120; // moments that are drawn
const APART_MS = 1900; // two of them, as the server keeps them
let rememberedAt = -Infinity;
const moments = new Map();
let last = null;

function line(values) {
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("viewBox", "0 0 100 30");
  drawn.setAttribute("preserveAspectRatio", "none");
  drawn.setAttribute("aria-hidden", "true");
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return drawn;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const y = (value) => (high > low ? 28 - (26 * (value - low)) / (high - low) : 15);
  const x = (place) => 100 - (100 * (values.length - 1 - place)) / (MOST - 1);
  const path = document.createElementNS(SVG, "polyline");
  path.setAttribute("points", values.map((v, i) => (v === null ? "" : `${x(i).toFixed(1)},${y(v).toFixed(1)}`)).join(" "));
  drawn.append(path);
  return drawn;
}

function spark(value, unit, values, className = "") {
  return el("div", { className: `spark ${className}` }, el("b", {}, value, el("small", {}, unit)), line(values));
}

function fill(item, worker) {
  const told = moments.get(worker.name) ?? [];
  const chip = worker.trouble ? el("span", { className: "chip trouble" }, worker.trouble) : null;
  const heat = worker.temperature_c === null ? el("div") : spark(`${worker.temperature_c.toFixed(0)} °C`, "temperature", told.map((one) => one.temperature_c), "warm");
  item.replaceChildren(
    el("div", {}, el("p", { className: "worker-name" }, worker.name, " ", chip ?? ""), el("p", { className: "hint" }, `${worker.host}, up ${duration(Date.now() / 1000 - worker.started_at)}`)),
    spark(count(worker.per_s), "images/s", told.map((one) => one.per_s)),
    heat,
    el("p", { className: "hint" }, `${count(worker.images)} read, ${count(worker.failed)} failed; ${worker.chunks} chunks in hand; ${worker.processes} processes, ${count(worker.rss_mb)} MB; ${worker.runtime} ${worker.version}`),
  );
}

function remember(workers) {
  if (performance.now() - rememberedAt < APART_MS) return;
  rememberedAt = performance.now();
  for (const worker of workers) {
    const told = [...(moments.get(worker.name) ?? []), { per_s: worker.per_s, temperature_c: worker.temperature_c }];
    moments.set(worker.name, told.slice(-MOST));
  }
}

function show(state) {
  remember(state.workers);
  last = state;
  const { workers } = state;
  byId("empty").hidden = workers.length > 0;
  byId("empty-title").textContent = state.problem ? "The fleet cannot be seen" : "No worker is there";
  byId("empty-words").textContent = state.problem || "Start one on a Pi, or here: pifleet worker";
  showFigures(byId("figures"), [
    ["Workers", count(workers.length)],
    ["Processes", count(workers.reduce((sum, one) => sum + one.processes, 0))],
    ["Images/s", count(workers.reduce((sum, one) => sum + one.per_s, 0))],
    ["Chunks waiting", count(state.waiting)],
  ]);
  keepInStep(byId("workers"), workers, (one) => one.name, () => el("li", { className: "card worker" }), fill);
}

doing(async () => {
  const history = await ask("/api/fleet/history");
  for (const [name, told] of Object.entries(history)) moments.set(name, told);
  watch(show);
  // A fleet that does nothing sends nothing; its lines go on.
  setInterval(() => last && !document.hidden && show(last), 2000);
  const links = await ask("/api/links");
  byId("links").replaceChildren(...links.map((one) => el("a", { href: one.url, rel: "noreferrer" }, one.name)));
});
