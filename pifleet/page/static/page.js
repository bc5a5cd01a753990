// What all pages share: elements, requests, notices, the live state. Text only ever becomes text.

const csrf = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
const numbers = new Intl.NumberFormat("en");

export const byId = (id) => document.getElementById(id);
export const count = (n) => numbers.format(Math.round(n));
export const counted = (n, noun) => `${count(n)} ${noun}${Math.round(n) === 1 ? "" : "s"}`;

/** Write a share in percent; what is not quite all is never rounded up to it. */
export function percent(share, digits = 1) {
  const shown = (100 * share).toFixed(digits);
  if (share < 1 && Number(shown) === 100) return `${(100 - 10 ** -digits).toFixed(digits)} %`;
  return `${shown} %`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Make an element: properties are set, children that are strings become text. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "for" || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Fill a list of figures: [[name, value, what stands under it], ...]. */
export function showFigures(list, rows) {
  list.replaceChildren(
    ...rows.map(([name, value, under]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value), under ? el("dd", {}, under) : null),
    ),
  );
}

export function notice(said, isBad = false) {
  const close = el("button", { className: "button quiet small", type: "button" }, "Close");
  const shown = el("div", { className: isBad ? "notice is-bad" : "notice" }, el("span", {}, said), close);
  close.addEventListener("click", () => shown.remove());
  byId("notices").replaceChildren(shown);
  if (!isBad) setTimeout(() => shown.remove(), 8000);
}

/** Ask the server; what goes wrong is thrown as its one sentence. */
export async function ask(path, { method = "GET", json, form } = {}) {
  const headers = method === "GET" ? {} : { "X-CSRF-Token": csrf };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: form ?? (json === undefined ? undefined : JSON.stringify(json)) });
  } catch {
    throw new Error("pifleet serve does not answer: is it still running?");
  }
  const answer = await response.json().catch(() => ({ error: `the answer is no JSON (${response.status})` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/** Do something, and tell if it goes wrong. */
export async function doing(action) {
  try {
    return await action();
  } catch (error) {
    notice(error.message, true);
    return undefined;
  }
}

/** Watch jobs and fleet for as long as somebody looks at the page. */
export function watch(show) {
  let source = null;
  const open = () => {
    if (document.hidden || source) return;
    source = new EventSource("/api/events");
    source.onmessage = (event) => show(JSON.parse(event.data));
    source.onerror = () => {
      if (source?.readyState === EventSource.CLOSED) notice("pifleet serve no longer knows this page: load it again.", true);
    };
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  open();
}

/** Fill the models and the sets of symbols that a form offers. */
export async function offer() {
  const choices = await ask("/api/choices");
  byId("model").replaceChildren(
    ...choices.models.map((one) => el("option", { value: one.name, selected: one.is_default }, one.name)),
  );
  byId("presets").replaceChildren(
    ...Object.entries(choices.presets).map(([name, symbols]) => el("option", { value: name }, symbols)),
  );
  return choices;
}

/** Put what is wanted of the texts into a form. */
export function wanted() {
  const form = new FormData();
  for (const id of ["model", "symbols", "pattern"]) form.append(id, byId(id).value.trim());
  const [lexicon] = byId("lexicon").files;
  if (lexicon) form.append("lexicon", lexicon, lexicon.name);
  return form;
}

/** Let files be dropped somewhere. */
export function takeDrops(place, take) {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => event.preventDefault());
  place.addEventListener("dragover", () => place.classList.add("is-over"));
  place.addEventListener("dragleave", () => place.classList.remove("is-over"));
  place.addEventListener("drop", (event) => {
    place.classList.remove("is-over");
    take([...event.dataTransfer.files]);
  });
}

/** Keep the children of a list in step with rows, by key: what stays is only filled anew. */
export function keepInStep(list, rows, key, make, fill) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  rows.forEach((row, place) => {
    const name = key(row);
    let child = known.get(name);
    if (!child) {
      child = make(row);
      child.dataset.key = name;
    }
    known.delete(name);
    fill(child, row);
    if (list.children[place] !== child) list.insertBefore(child, list.children[place] ?? null);
  });
  known.forEach((child) => child.remove());
}
