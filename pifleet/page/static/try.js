// Try: images go in, readings come out, the newest on top.
import { ask, byId, doing, el, notice, offer, percent, takeDrops, wanted } from "./page.js";

const MOST = 32;
const MOST_BYTES = 8 * 2 ** 20;
const UNSURE = 0.9;
const models = new Map();

function symbolBars(symbols) {
  return el(
    "div",
    { className: "symbols" },
    ...symbols.map(({ text, confidence }) => {
      const track = el("span", { className: "track" }, el("i"));
      track.style.setProperty("--part", confidence);
      const shown = confidence < 0.9995 ? percent(confidence, 0) : "";
      const label = `${text}, ${percent(confidence)}`;
      const bar = el("span", { className: "symbol", title: label }, el("b", {}, text), track, el("small", {}, shown));
      if (confidence < UNSURE) bar.classList.add("is-unsure");
      return bar;
    }),
  );
}

function picture(source, caption, className = "") {
  if (!source) return null;
  const shown = el("img", { src: source, alt: caption, className });
  const framed = el("figure", {}, shown, el("figcaption", {}, caption));
  shown.addEventListener("error", () => framed.remove()); // TIFF, say, is nothing that a browser shows
  return framed;
}

function facts(read, model) {
  const parts = [el("span", {}, el("b", {}, percent(read.confidence)), " sure of the whole text")];
  if (read.took_ms !== null) parts.push(el("span", {}, el("b", {}, `${read.took_ms.toFixed(1)} ms`)));
  parts.push(el("span", {}, model));
  if (read.worker) parts.push(el("span", {}, `by ${read.worker}`));
  return el("p", { className: "facts" }, ...parts);
}

function others(alternatives) {
  if (!alternatives.length) return null;
  return el(
    "p",
    { className: "others" },
    "else",
    ...alternatives.map(({ text, confidence }) => el("span", {}, el("code", {}, text || "(nothing)"), ` ${percent(confidence)}`)),
  );
}

function text(read) {
  if (read.symbols.length) return symbolBars(read.symbols);
  return el("div", { className: "symbols" }, el("span", { className: "symbol" }, el("b", {}, read.text || "(nothing)")));
}

function fill(card, read, original, model) {
  const looks = el("div", { className: "looks" }, picture(original, "as it came"), picture(read.seen, "as the network saw it", "seen"));
  const said = el("div", { className: "said" }, el("p", { className: "file-name" }, read.name));
  if (read.problem) said.append(el("p", { className: "is-wrong" }, read.problem));
  else said.append(text(read), facts(read, model), others(read.alternatives) ?? "");
  card.replaceChildren(el("div", { className: "reading" }, looks, said));
}

async function read(files) {
  if (!files.length) return;
  if (files.length > MOST) return notice(`${files.length} images at once: ${MOST} at most. For more, start a job.`, true);
  byId("empty").hidden = true;
  const model = byId("model").value;
  const cards = files.map((file) => {
    const card = el("article", { className: "card" }, el("p", { className: "said waiting" }, `Reading ${file.name} …`));
    return { file, card, original: URL.createObjectURL(file) };
  });
  byId("results").prepend(...cards.map(({ card }) => card));
  if (matchMedia("(max-width: 860px)").matches) cards[0].card.scrollIntoView({ block: "center" });
  const small = cards.filter(({ file }) => file.size <= MOST_BYTES);
  for (const { file, card, original } of cards) {
    if (file.size > MOST_BYTES) fill(card, { name: file.name, problem: "it is larger than 8 MB: scale it down" }, original, model);
  }
  if (!small.length) return;
  const form = wanted();
  form.append("where", byId("where").value);
  small.forEach(({ file }) => form.append("images", file, file.name));
  try {
    const found = await ask("/api/read", { method: "POST", form });
    found.forEach((one, place) => fill(small[place].card, one, small[place].original, model));
  } catch (error) {
    for (const { file, card, original } of small) fill(card, { name: file.name, problem: error.message }, original, model);
  }
}

function showKnown() {
  byId("known").textContent = models.get(byId("model").value) ?? "";
}

for (const id of ["files", "camera"]) {
  byId(id).addEventListener("change", (event) => {
    read([...event.target.files]);
    event.target.value = "";
  });
}
takeDrops(document.body, read);
byId("drop").addEventListener("dragover", () => byId("drop").classList.add("is-over"));
addEventListener("dragend", () => byId("drop").classList.remove("is-over"));
addEventListener("drop", () => byId("drop").classList.remove("is-over"));
addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
  if (files.length) read(files);
});
byId("try").addEventListener("submit", (event) => event.preventDefault());
byId("model").addEventListener("change", showKnown);
doing(async () => {
  const choices = await offer();
  choices.models.forEach((one) => models.set(one.name, one.symbols));
  byId("where-field").hidden = !choices.has_fleet;
  showKnown();
});
