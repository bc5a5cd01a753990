// Review: a screen of images at a time. Enter says that a text is right; what is wrong is typed over.
import { ask, byId, count, doing, el, notice, percent, showFigures } from "./page.js";

const job = byId("main").dataset.job;
const isPhone = matchMedia("(max-width: 600px)").matches;
const most = isPhone ? 6 : 12;
const screen = byId("screen");
const history = []; // what was said, the last one last, each with what had been said before
let order = "least sure";
let passedOver = 0; // images of this order that somebody turned over without a word
let looks = [];
let symbols = new Set();
let sending = Promise.resolve();

const range = (r, write) => `${write(r.low)} to ${write(r.high)}`;
const few = (n) => (n < 9.95 ? n.toFixed(1) : count(n));

function showEstimate(found) {
  const match = found.exact_match;
  const rows = [
    ["Looked at", count(found.looked_at), `of ${count(found.images - found.failed)} that were read`],
    ["Were wrong", count(found.wrong), `the model promised ${few(found.promised_wrong)}`],
    ["Errors left", `about ${few(found.errors_left.value)}`, range(found.errors_left, count) + failedWords(found)],
    ["Exact match now", percent(match.value, 2), `${range(match, (n) => percent(n, 2))}; was ${percent(found.exact_match_before, 2)}`],
  ];
  if (found.spot_check) rows.push(spotFigure(found.spot_check));
  showFigures(byId("figures"), rows);
}

function failedWords(found) {
  return found.failed ? `, and ${count(found.failed)} without a text` : "";
}

function spotFigure(spot) {
  const word = spot.agrees ? "as the model promised" : "other than the model promised";
  return ["At random", `${count(spot.wrong)} of ${count(spot.n)} wrong`, `${range(spot.errors, count)} errors left by these alone, ${word}`];
}

async function loadPicture(look) {
  const address = `/api/jobs/${job}/images/${look.image.index}`;
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Error((await response.json()).error);
    const shown = el("img", { src: URL.createObjectURL(await response.blob()), alt: "" });
    shown.addEventListener("load", () => URL.revokeObjectURL(shown.src));
    look.picture.replaceChildren(shown);
  } catch (error) {
    look.picture.replaceChildren(el("span", {}, error.message));
  }
}

function makeLook(image) {
  const input = el("input", {
    value: image.text ?? image.read, autocomplete: "off", autocapitalize: "off", spellcheck: false, enterKeyHint: "next", maxLength: 256,
    "aria-label": `Text of ${image.name}`,
  });
  const look = {
    image, input,
    picture: el("div", { className: "picture" }, "…"),
    sure: el("span", { className: "sure" }),
    note: el("p", { className: "note", hidden: true }),
    doubted: null,
  };
  look.item = el("li", { className: "look", title: image.name }, look.picture, el("div", { className: "answer" }, input, look.sure), look.note);
  input.addEventListener("focus", () => input.select());
  input.addEventListener("keydown", (event) => press(event, look));
  markLook(look);
  loadPicture(look);
  return look;
}

function markLook(look) {
  const { image, item, sure } = look;
  const isSaid = image.text !== null;
  item.classList.toggle("is-right", isSaid && image.text === image.read);
  item.classList.toggle("is-corrected", isSaid && image.text !== image.read);
  if (!isSaid) sure.textContent = percent(image.confidence);
  else sure.textContent = image.text === image.read ? "✓ right" : "✎ put right";
}

function tellNote(look, said) {
  look.note.textContent = said;
  look.note.hidden = !said;
}

/** Ask once more about a symbol that the model does not know: most often a slip of the finger. */
function isDoubtful(look, text) {
  const unknown = [...new Set(text)].filter((symbol) => !symbols.has(symbol));
  if (!unknown.length || look.doubted === text) return false;
  look.doubted = text;
  tellNote(look, `${unknown.join(" ")} is not among the model’s symbols: Enter again keeps it.`);
  return true;
}

function say(some, texts) {
  const before = some.map((look) => look.image.text);
  const words = some.map((look, place) => ({ index: look.image.index, text: texts[place] }));
  some.forEach((look, place) => {
    look.image.text = texts[place];
    tellNote(look, "");
    markLook(look);
  });
  const how = order === "random" ? "random" : "least sure";
  sending = sending.then(async () => {
    try {
      showEstimate(await ask(`/api/jobs/${job}/corrections`, { method: "POST", json: { words, how } }));
    } catch (error) {
      some.forEach((look, place) => {
        look.image.text = before[place];
        markLook(look);
        tellNote(look, `not kept: ${error.message}`);
      });
      notice(error.message, true);
    }
  });
}

function remember(some) {
  history.push({ looks, some, before: some.map((look) => look.image.text) });
}

function accept(look) {
  const text = look.input.value.trim();
  if (text !== look.image.read && isDoubtful(look, text)) return;
  remember([look]);
  say([look], [text]);
  step(look, 1);
}

function acceptRest() {
  const rest = looks.filter((look) => look.image.text === null);
  const doubtful = rest.find((look) => look.input.value.trim() !== look.image.read && isDoubtful(look, look.input.value.trim()));
  if (doubtful) return doubtful.input.focus();
  if (rest.length) {
    remember(rest);
    say(rest, rest.map((look) => look.input.value.trim()));
  }
  turn(1);
}

async function takeBack() {
  const last = history.pop();
  if (!last) return notice("There is nothing to take back.");
  if (last.looks !== looks) {
    await sending;
    draw(last.looks);
  }
  last.some.forEach((look, place) => {
    look.input.value = last.before[place] ?? look.image.read;
    look.doubted = null;
  });
  say(last.some, last.before);
  last.some[0].input.focus();
  last.some[0].input.select();
}

function step(look, by) {
  const next = looks[looks.indexOf(look) + by];
  if (next) {
    next.input.focus();
    next.item.scrollIntoView({ block: "nearest" });
  } else if (by > 0) turn(1);
}

function press(event, look) {
  const isCommand = event.ctrlKey || event.metaKey;
  const isTouched = look.input.value !== (look.image.text ?? look.image.read);
  const keys = {
    Enter: () => (event.shiftKey ? acceptRest() : accept(look)),
    ArrowDown: () => step(look, 1),
    ArrowUp: () => step(look, -1),
    PageDown: () => turn(1),
    PageUp: () => turn(-1),
    Escape: () => {
      look.input.value = look.image.read;
      look.input.select();
    },
  };
  const isUndo = isCommand && event.key.toLowerCase() === "z" && !isTouched;
  const action = isUndo ? takeBack : keys[event.key];
  if (!action || event.isComposing) return;
  event.preventDefault();
  action();
}

function draw(made) {
  looks = made;
  screen.replaceChildren(...looks.map((look) => look.item));
  byId("bar").hidden = byId("screen").hidden = !looks.length;
  byId("empty").hidden = looks.length > 0;
}

function query(after) {
  return `/api/jobs/${job}/review?${new URLSearchParams({ order, after, most })}`;
}

/** Turn to another screen; what nobody said a word about on this one is passed over. */
async function turn(by) {
  const isSeen = order === "looked at";
  const here = isSeen ? looks.length : looks.filter((look) => look.image.text === null).length;
  await sending;
  const after = Math.max(0, by > 0 ? passedOver + here : passedOver - most);
  await load(by === 0 ? 0 : after);
}

async function load(after) {
  const found = await doing(() => ask(query(after)));
  if (!found) return;
  if (!found.images.length && after > 0) {
    notice("That was the last screen.");
    if (looks.length) return looks.at(-1).input.focus();
  }
  passedOver = after;
  symbols = new Set(found.symbols);
  byId("name").textContent = found.name;
  showEstimate(found.estimate);
  showEmpty(found);
  draw(found.images.map(makeLook));
  looks[0]?.input.focus({ preventScroll: true });
  if (isPhone) screen.scrollIntoView();
  else scrollTo({ top: 0 });
  warm(after);
}

function showEmpty(found) {
  const isSeen = order === "looked at";
  byId("empty-title").textContent = isSeen ? "Nobody looked at an image yet" : "Nothing left to look at";
  const more = found.is_open ? "The job goes on: load the page again for more." : "Write the corrected CSV, and hand it in.";
  byId("empty-words").textContent = isSeen ? "" : more;
}

/** Have the pictures of the next screen fetched while this one is looked at. */
async function warm(after) {
  if (order === "looked at") return;
  const next = await ask(query(after + looks.length)).catch(() => null);
  for (const image of next?.images ?? []) await fetch(`/api/jobs/${job}/images/${image.index}`).catch(() => null);
}

byId("order").addEventListener("change", (event) => {
  order = event.target.value;
  turn(0);
});
byId("undo").addEventListener("click", takeBack);
byId("rest").addEventListener("click", acceptRest);
byId("next").addEventListener("click", () => turn(1));
byId("write").addEventListener("click", async () => {
  await sending;
  const written = await doing(() => ask(`/api/jobs/${job}/corrected`, { method: "POST" }));
  if (!written) return;
  notice(`${written.file}: ${count(written.corrected)} texts put right`);
  location.assign(`/api/jobs/${job}/corrected.csv`);
});
load(0);
