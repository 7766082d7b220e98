// Asks an agent endpoint, and shows the thoughts, the crops and the answer as they stream in.

import { button, following, make, part, sentence, text, toEnd } from "./elements.js";
import { clear, describe, framed } from "./frames.js";
import { forget, keep, kept } from "./last_chat.js";
import { called, Turn } from "./turn.js";

const KEY = "virc-api-key"; // in sessionStorage
const MOST_KEPT = 16e6; // characters of a chat, its pictures included

const chat = { pictures: [], turns: [] }; // what is kept; `turn` of a picture is the answer that it was first sent for
const views = new Map(); // picture -> its elements
let model = "";
let running = null; // AbortController of the turn that streams

const answered = () => chat.turns.filter(({ answer }) => answer);

// ---- pictures

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function addPicture(name, url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  chat.pictures.push({ name, url, width: image.naturalWidth, height: image.naturalHeight });
  changed();
}

/** The reader has changed the pictures. */
function changed() {
  showPictures();
  if (chat.turns.length) remember();
}

async function addFiles(files) {
  note("");
  for (const file of files) {
    try {
      await addPicture(file.name, await dataUrl(file));
    } catch {
      note(`${text(file.name)} is no picture that this browser can show.`);
    }
  }
  part.question.focus();
}

/** The elements of a picture; those of one that was removed are still drawn on. */
function viewOf(picture) {
  if (views.has(picture)) return views.get(picture);
  const frame = framed(picture.url, picture.width, picture.height);
  const title = make("span");
  const remove = button("remove", "×", () => {
    chat.pictures.splice(chat.pictures.indexOf(picture), 1);
    views.get(picture).figure.remove();
    changed();
    part.file.focus();
  });
  const view = { frame, title, remove, figure: make("figure", "", frame, make("figcaption", "", title, remove)) };
  views.set(picture, view);
  return view;
}

function showPictures() {
  const names = called(chat.pictures.length);
  for (const [at, picture] of chat.pictures.entries()) {
    const { frame, title, remove, figure } = viewOf(picture);
    if (!figure.isConnected) part.pictures.append(figure);
    const own = `${names[at]}, ${text(picture.name)}`;
    describe(frame, own, `image ${at}, ${picture.width} × ${picture.height} px`);
    title.textContent = names.length > 1 ? `Picture ${at + 1} · ${text(picture.name)}` : text(picture.name);
    remove.ariaLabel = `Remove ${own}`;
    remove.hidden = picture.turn < answered().length; // an answer is about it
  }
  stand();
}

/** What the page looks like follows from what it holds. */
function stand() {
  const { dataset } = document.body;
  dataset.pictures = ["none", "one"][chat.pictures.length] ?? "many";
  dataset.begun = Boolean(chat.turns.length);
  dataset.running = Boolean(running);
  part.send.textContent = running ? "Stop" : "Ask";
  part.again.hidden = !chat.turns.length;
  part.question.placeholder = answered().length ? "Ask a follow-up" : "Ask a question";
}

// ---- examples

async function loadExamples() {
  const examples = await (await fetch("examples.json")).json();
  for (const { name, question, url } of examples) {
    const image = make("img");
    image.src = url;
    image.alt = "";
    const use = async () => {
      note("");
      await addPicture(name, url);
      part.question.value = question;
      part.send.focus();
    };
    part.examples.append(button("example plain", "", use));
    part.examples.lastChild.append(image, make("span", "", text(question)));
  }
}

// ---- the endpoint

/** What stands for an error of the network; that the reader stopped is none. */
function lost(message) {
  return (error) => {
    throw error.name === "AbortError" ? error : new Error(message);
  };
}

/** Ask the endpoint, with its API key where it wants one; an answer that is no good is thrown as one sentence. */
async function call(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
    const response = await fetch(path, { ...options, headers }).catch(lost("the server cannot be reached"));
    if (response.ok) return response;
    if (response.status !== 401) throw new Error(await refusal(response));
    sessionStorage.removeItem(KEY);
    if (!(await askForKey(Boolean(key)))) throw new Error("the server wants its API key");
  }
}

async function refusal(response) {
  const said = await response.json().catch(() => null);
  return said?.error?.message ?? `the server answered ${response.status}`;
}

/** Whether the reader gave a key. */
function askForKey(refused) {
  part.why.textContent = refused ? "The server did not take this API key." : "This server asks for its API key.";
  part.key.value = "";
  part.door.returnValue = "";
  part.door.showModal();
  return new Promise((resolve) => {
    part.door.onclose = () => {
      const given = part.door.returnValue === "open";
      if (given) sessionStorage.setItem(KEY, part.key.value);
      part.key.value = "";
      resolve(given);
    };
  });
}

/** The data of server-sent events as they arrive; each of ours is one line. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(lost("the connection broke off"));
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield* lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
  }
}

function messages(asked) {
  return [...answered(), asked].flatMap(({ question, answer }, at) => {
    const own = chat.pictures.filter((picture) => picture.turn === at);
    const content = own.map(({ url }) => ({ type: "image_url", image_url: { url } }));
    const user = { role: "user", content: [...content, { type: "text", text: question }] };
    return answer ? [user, { role: "assistant", content: answer }] : [user];
  });
}

async function loadModel(options) {
  if (model) return;
  const { data } = await (await call("v1/models", options)).json();
  model = data[0].id;
  part.model.textContent = text(model);
  document.title = `${text(model)} · virc`;
}

// ---- a turn

function newTurn(record) {
  const frames = record.pictures.map((picture) => viewOf(picture).frame);
  for (const frame of frames) clear(frame);
  chat.turns.push(record);
  const turn = new Turn(record, frames);
  stand();
  return turn;
}

/** Take in a turn that has ended: what failed is no part of what the model is told later. */
function end(turn) {
  const { record } = turn;
  if (record.failure) turn.fail(...record.failure);
  if (!turn.failed) record.answer = turn.answer;
  turn.end();
  showPictures();
}

async function stream(turn) {
  const { signal } = running;
  const { record } = turn;
  await loadModel({ signal });
  record.model = model;
  const body = { model, messages: messages(record), stream: true, stream_options: { include_usage: true } };
  const headers = { "content-type": "application/json" };
  const response = await call("v1/chat/completions", { method: "POST", headers, body: JSON.stringify(body), signal });
  for await (const data of events(response)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    following(() => turn.hear(event));
    record.events.push(event);
    remember();
  }
  throw new Error("the connection broke off");
}

async function ask(question) {
  running = new AbortController();
  for (const picture of chat.pictures) picture.turn ??= answered().length;
  const turn = newTurn({ question, pictures: [...chat.pictures], events: [] });
  const { record } = turn;
  turn.start();
  toEnd();
  remember();
  try {
    await stream(turn);
    if (!turn.answer && !turn.failed) throw new Error("the model gave none");
  } catch (error) {
    record.failure = error.name === "AbortError" ? ["Stopped", ""] : ["No answer", sentence(error.message)];
    part.question.value ||= question; // to ask it again
  }
  running.abort(); // nothing more is read
  running = null;
  following(() => end(turn));
  remember();
}

// ---- the chat over a reload

let keeping = Promise.resolve(); // one write after the other
let isWritten = true;

function length() {
  const urls = new Set([...chat.pictures, ...chat.turns.flatMap(({ pictures }) => pictures)].map(({ url }) => url));
  const events = JSON.stringify(chat.turns.map(({ events }) => events));
  return [...urls].reduce((sum, url) => sum + url.length, events.length);
}

async function write() {
  if (isWritten) return;
  isWritten = true;
  const isTooLong = length() > MOST_KEPT;
  await (isTooLong || !chat.turns.length ? forget() : keep(chat));
  part.unkept.textContent = isTooLong ? "This chat is too long to be kept: a reload forgets it." : "";
}

function remember() {
  isWritten = false;
  keeping = keeping.then(write).catch(() => {
    part.unkept.textContent = "This browser cannot keep the chat: a reload forgets it.";
  });
}

async function restore() {
  const last = await kept();
  if (!last || chat.pictures.length) return;
  chat.pictures = last.pictures;
  showPictures();
  last.turns.forEach(replay);
  toEnd();
}

function replay(record) {
  const turn = newTurn(record);
  for (const event of record.events) turn.hear(event);
  if (!record.answer && !record.failure && !turn.failed) {
    record.failure = ["Stopped", "The page was left before the answer came."];
    part.question.value = record.question;
  }
  end(turn);
}

// ---- what the reader does

function note(message) {
  part.note.textContent = message;
}

function submit() {
  const question = part.question.value.trim();
  if (running) return;
  if (!chat.pictures.length) return note("Choose a picture first.");
  if (!question) return note("Ask a question first.");
  note("");
  part.question.value = "";
  if (matchMedia("(pointer: coarse)").matches) part.question.blur(); // a keyboard on the screen would hide the answer
  ask(question);
}

part.ask.onsubmit = (event) => {
  event.preventDefault();
  if (running && event.submitter) running.abort();
  else submit();
};
part.question.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
};
document.onkeydown = (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) running?.abort();
};
part.file.onchange = () => {
  addFiles([...part.file.files]);
  part.file.value = ""; // the same file can be chosen again
};
document.onpaste = (event) => {
  const files = [...event.clipboardData.files];
  if (!files.length) return;
  event.preventDefault();
  addFiles(files);
};
document.ondragover = (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dropping");
};
document.ondragleave = (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
};
document.ondrop = (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  document.body.classList.remove("dropping");
  addFiles([...event.dataTransfer.files]);
};
part.leave.onclick = () => part.door.close();
part.again.onclick = () => {
  Object.assign(chat, { pictures: [], turns: [] });
  running?.abort();
  remember();
  keeping.then(() => location.reload());
};

/** Heights of what stays in sight, for what must not lie under it. */
const heights = new ResizeObserver(() => {
  const { style } = document.documentElement;
  style.setProperty("--stage", `${part.stage.offsetHeight}px`);
  style.setProperty("--bar", `${part.ask.offsetHeight}px`);
});
heights.observe(part.stage);
heights.observe(part.ask);

stand();
restore().catch(() => forget().then(() => location.reload(), () => {})); // what cannot be shown again is in no way
loadExamples().catch(() => {}); // the page does without
loadModel().catch((error) => note(sentence(error.message)));
