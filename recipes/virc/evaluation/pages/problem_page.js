// Shows one problem of an evaluation, and lists those that the filters and the search leave. What is chosen stands in
// the address, so that it can be sent on and the browser goes back.

import { button, make, part, text, words } from "./elements.js";
import { describe, drawn, framed } from "./frames.js";

const ROW = 60; // px that a problem takes in the list, as in the style
const AROUND = 5; // rows that are made above and below those in sight
const { models, problems } = JSON.parse(part.data.textContent);
const FILTERS = {
  "wrong-looked": ["wrong and looked", (answers) => answers.some((each) => each.right === false && each.looked)],
  "right-unlooked": ["right without evidence", (answers) => answers.some((each) => each.right && each.looked === false)],
  wrong: ["wrong", (answers) => answers.some((each) => each.right === false)],
  open: ["without a verdict", (answers) => answers.some((each) => each.right === null)],
  disagree: ["models disagree", (_, all) => new Set(all.map((each) => each.right)).size > 1],
};
if (models.length < 2) delete FILTERS.disagree;
const MARKS = new Map([[true, ["r", "right"]], [false, ["w", "wrong"]], [null, ["u", "undecided"]]]);
const letter = (at) => (models.length > 1 ? String.fromCharCode(65 + at) : "");
const percent = (share) => `${Math.round(100 * share)} %`;

let asked = {}; // what the address says
let found = []; // the problems that are listed
let current = null; // the one that is shown

// ---- what is asked for

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const filters = given.getAll("filter").filter((each) => each in FILTERS);
  return { problem: given.get("problem"), filters, search: given.get("search") ?? "", model: given.get("model") ?? "" };
}

/** The address of what is asked for, with changes. */
function address(changes) {
  const { filters, ...others } = { ...asked, problem: current?.id, ...changes };
  const given = Object.entries(others).filter(([, value]) => value);
  return `#${new URLSearchParams([...filters.map((each) => ["filter", each]), ...given])}`;
}

/** Ask for something else; what is `typed` is no step to go back to. */
function go(changes, typed = false) {
  history[typed ? "replaceState" : "pushState"](null, "", address(changes));
  show();
}

function holds(problem, filter) {
  const all = problem.answers.filter(Boolean);
  const chosen = asked.model ? [problem.answers[asked.model]].filter(Boolean) : all;
  return FILTERS[filter][1](chosen, all);
}

function contains(problem, search) {
  const said = (each) => [each.answer ?? "", ...each.turns.map((turn) => turn.text)];
  problem.all ??= [problem.id, problem.question, problem.reference, ...problem.categories]
    .concat(problem.answers.filter(Boolean).flatMap(said)).join("\n").toLowerCase();
  return problem.all.includes(search.toLowerCase());
}

function show() {
  asked = read();
  if (part.search.value !== asked.search) part.search.value = asked.search;
  part.model.value = asked.model;
  for (const box of part.filters.querySelectorAll("input")) {
    box.checked = asked.filters.includes(box.value);
    box.nextSibling.lastChild.textContent = problems.filter((each) => holds(each, box.value)).length;
  }
  found = problems.filter((each) => asked.filters.every((filter) => holds(each, filter)) && (!asked.search || contains(each, asked.search)));
  const wanted = problems.find((each) => each.id === asked.problem) ?? found[0] ?? null;
  if (wanted !== current || !part.problem.hasChildNodes()) showProblem(wanted);
  const at = found.indexOf(current);
  const all = found.length < problems.length ? ` (of ${problems.length})` : "";
  part.count.textContent = `${at < 0 ? "" : `${at + 1} of `}${found.length}${all} problems`;
  part.rows.style.height = `${found.length * ROW}px`;
  const top = at * ROW;
  if (at >= 0 && (top < part.list.scrollTop || top + ROW > part.list.scrollTop + part.list.clientHeight)) {
    part.list.scrollTop = top - part.list.clientHeight / 2;
  }
  showRows();
}

// ---- the list, of which only what is in sight is made

function showRows() {
  const first = Math.max(0, Math.floor(part.list.scrollTop / ROW) - AROUND);
  const last = first + Math.ceil(part.list.clientHeight / ROW) + 2 * AROUND;
  const focused = part.rows.contains(document.activeElement) ? document.activeElement.hash : null;
  part.rows.style.paddingTop = `${first * ROW}px`;
  part.rows.replaceChildren(...found.slice(first, last).map(rowOf));
  const links = [...part.rows.querySelectorAll("a")];
  if (focused) (links.find((each) => each.hash === focused) ?? part.list).focus({ preventScroll: true });
}

function rowOf(problem) {
  const marks = problem.answers.map(verdictOf).map(([css, title]) => Object.assign(make("span", css), { title }));
  const link = make("a", "", make("b", "", text(problem.id)), make("span", "marks", ...marks), words("asked", problem.question));
  link.href = address({ problem: problem.id });
  if (problem === current) link.ariaCurrent = "true";
  return make("li", "", link);
}

function step(by) {
  const at = found.indexOf(current);
  const next = found[at < 0 ? 0 : at + by];
  if (next) go({ problem: next.id });
}

// ---- one problem

/** The style of a verdict, and the verdict in words. */
function verdictOf(answer) {
  if (!answer) return ["f", "missing"];
  return answer.answer === null && !answer.right ? ["n", "no answer"] : MARKS.get(answer.right);
}

function showProblem(problem) {
  current = problem;
  if (!problem) return part.problem.replaceChildren(make("p", "note", "No problem is left by these filters."));
  const steps = make("p", "steps", button("plain", "← Previous", () => step(-1)), button("plain", "Next →", () => step(1)));
  const heading = make("h1", problem.question.length > 160 ? "long" : "", text(problem.question));
  heading.dir = "auto";
  const facts = [`Problem ${problem.id}`, ...problem.categories].map(text).join(" · ");
  const reference = problem.reference && [make("p", "label", "Right answer"), words("reference", problem.reference)];
  const pictures = make("div", "pictures");
  part.problem.replaceChildren(steps, make("p", "label", facts), heading, ...(reference || []), pictures);
  const frames = problem.pictures.map((each, at) => pictureOf(pictures, each, `Picture ${at + 1}`));
  for (const box of problem.evidence) drawn(frames[0], box, problem.pictures[0].size, "E").classList.add("evidence");
  if (problem.evidence.length) pictures.append(make("p", "note", "Dashed: where the answer is seen."));
  part.problem.append(...models.map((model, at) => answerOf(model, at, problem.answers[at], frames)));
  part.problem.scrollTop = 0;
}

function pictureOf(place, { file, size, reason }, name) {
  if (!file) return void place.append(words("note", `${name} is not shown: ${reason}`));
  const frame = framed(file, ...size);
  place.append(make("figure", "", frame));
  describe(frame, name, `${size[0]} × ${size[1]} px`);
  return frame;
}

function answerOf(model, at, answer, frames) {
  const section = make("section", `model m${at % 4}`, make("h2", "", letter(at) ? make("b", "", letter(at)) : "", ` ${text(model.name)}`));
  if (!answer) return section.append(make("p", "note", "Not asked yet, or its row failed.")), section;
  const [css, verdict] = verdictOf(answer);
  const given = answer.answer === null ? text(answer.reason ?? "") : make("strong", "", text(answer.answer));
  const said = make("p", `verdict ${css}`, `${verdict}: `, given);
  said.dir = "auto";
  section.append(said, make("p", "note", looksOf(answer)));
  const cuts = answer.crops.map((crop, number) => cropOf(crop, `${letter(at)}${number + 1}`, at, frames));
  if (cuts.length) section.append(make("div", "cuts", ...cuts));
  if (answer.turns.length) section.append(folded("Replies", answer.turns.map((turn) => turnOf(turn, letter(at)))));
  const arms = Object.entries(answer.arms);
  const rows = arms.map(([arm, [other, right]]) => words(MARKS.get(right)[0], `${arm}: ${other ?? "no answer"}`));
  if (arms.length) section.append(folded("Asked in other ways", rows));
  if (model.verdict) section.append(words("note", `Over all problems: ${model.verdict}`));
  const link = make("a", "", "Trace");
  link.href = answer.trace;
  if (answer.trace) section.append(make("p", "note", link));
  return section;
}

function looksOf({ evidence, looked, made, crops, by }) {
  const judged = by && by !== "rule" ? ` Decided by: ${by}.` : "";
  if (made && !crops.length) return `${made} crops, which were not kept.${judged}`;
  const seen = evidence?.map(percent).join(", ");
  if (seen) return `${looked ? "Looked at" : "Did not look at"} the evidence: ${seen} of it in a crop.${judged}`;
  if (looked === null) return `Whether it looked is not known.${judged}`;
  return (looked ? "Looked; where the answer is seen is not known." : "Did not look.") + judged;
}

function cropOf({ file, size, picture, box, of }, label, at, frames) {
  const frame = framed(file, ...size);
  const where = box ? `${box[0]},${box[1]}–${box[2]},${box[3]} px` : "the whole picture";
  describe(frame, `crop ${label}`, `${size[0]} × ${size[1]} px`);
  const mark = box && frames[picture] && drawn(frames[picture], box, of, label);
  mark?.classList.add(`m${at % 4}`);
  const figure = make("figure", "cut", frame, make("figcaption", "", make("b", "", label), ` ${where}`));
  figure.onpointerenter = figure.onfocusin = () => mark?.classList.add("lit");
  figure.onpointerleave = figure.onfocusout = () => mark?.classList.remove("lit");
  return figure;
}

function turnOf({ role, text: said, crops }, model) {
  const shown = crops.map((number) => `crop ${model}${number + 1}`).join(", ");
  const written = make("pre", role, text(said) || "(no text)");
  written.dir = "auto";
  const who = { assistant: "model", rejected: "model, rejected" }[role] ?? "tools";
  return make("div", "turn", make("p", "label", [who, shown].filter(Boolean).join(": ")), written);
}

function folded(title, children) {
  return Object.assign(make("details", "", make("summary", "", title), ...children), { open: true });
}

// ---- keys

const KEYS = {
  j: () => step(1), ArrowRight: () => step(1), k: () => step(-1), ArrowLeft: () => step(-1),
  "/": () => part.search.select(), "?": () => part.help.showModal(),
};

function toggle(filter) {
  const { filters } = asked;
  go({ filters: filters.includes(filter) ? filters.filter((each) => each !== filter) : [...filters, filter], problem: null });
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") return document.activeElement.blur();
  if (event.target.matches("input[type=search], select")) return;
  const filter = Object.keys(FILTERS)[event.key - 1];
  const action = KEYS[event.key] ?? (filter && (() => toggle(filter)));
  if (action) event.preventDefault(), action();
});

for (const [at, [key, [label]]] of Object.entries(FILTERS).entries()) {
  const box = Object.assign(make("input"), { type: "checkbox", id: key, value: key, onchange: () => toggle(key) });
  const shown = Object.assign(make("label", "", `${label} `, make("span")), { htmlFor: key, title: `key ${at + 1}` });
  part.filters.append(box, shown);
}
part.model.append(...models.map(({ name }, at) => Object.assign(make("option", "", `${letter(at)} ${text(name)}`), { value: at })));
part.model.hidden = models.length < 2;
part.model.onchange = () => go({ model: part.model.value, problem: null });
part.search.oninput = () => go({ search: part.search.value, problem: null }, true);
part.asked.onsubmit = (event) => (event.preventDefault(), part.problem.focus());
part.ask.onclick = () => part.help.showModal();
part.list.onscroll = showRows;
addEventListener("resize", showRows);
addEventListener("hashchange", show);
show();
