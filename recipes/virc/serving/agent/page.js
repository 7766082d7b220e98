// Asks an agent endpoint, and shows the thoughts, the crops and the answer as they stream in.
// What a model or a server says is only ever set as text; the page's policy forbids anything else.

const KEY = "virc-api-key"; // in sessionStorage
const LONG = 160; // characters from which a text is set small
// What would hide or reorder text; the joiners are needed to spell some scripts.
const HIDING = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

const part = Object.fromEntries([...document.querySelectorAll("[id]")].map((each) => [each.id, each]));
const pictures = []; // of the whole chat, in order; `turn` is the one that a picture was first sent in
const answered = []; // {question, answer} of the turns that came to an answer
let model = "";
let running = null; // AbortController of the turn that streams

// ---- elements

function make(tag, css = "", ...children) {
  const made = document.createElement(tag);
  made.className = css;
  made.append(...children);
  return made;
}

/** Text of others: what would hide or reorder it stands as its code point. */
function text(value) {
  const point = (sign) => sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return value.replace(HIDING, (sign) => `[U+${point(sign)}]`);
}

/** A paragraph of text of others, in the direction of its own script. */
function words(css, value) {
  const made = make("p", value.length > LONG ? `${css} long` : css, text(value));
  made.dir = "auto";
  return made;
}

function sentence(message) {
  const said = text(message).trim() || "something went wrong";
  return said[0].toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}

function button(css, label, action) {
  const made = make("button", css, label);
  made.type = "button";
  made.onclick = action;
  return made;
}

/** A picture in a frame that boxes can be drawn on, at its proportions and never much enlarged. */
function framed(url, width, height, alt) {
  const image = make("img");
  image.src = url;
  image.alt = alt;
  const frame = make("div", "frame", image);
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.setProperty("--ratio", width / height);
  frame.style.setProperty("--most", `${width * Math.min(4, Math.max(1, 720 / Math.max(width, height)))}px`);
  return frame;
}

/** Draw a box, in pixels of a source of that size, on the frame that shows the source. */
function drawn(frame, [left, top, right, bottom], [width, height], label) {
  const box = make("div", "box", make("span", "", label));
  box.setAttribute("aria-hidden", "true"); // its caption says the same in words
  Object.assign(box.style, {
    left: `${(100 * left) / width}%`,
    top: `${(100 * top) / height}%`,
    width: `${(100 * (right - left)) / width}%`,
    height: `${(100 * (bottom - top)) / height}%`,
  });
  const small = Math.min((right - left) / width, (bottom - top) / height) < 0.5; // a label inside would hide much
  if (small) box.classList.add(top + bottom < height ? "under" : "over");
  frame.append(box);
  return box;
}

function toEnd() {
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
}

/** Keep what is new in sight, unless the reader has scrolled away from the end. */
function following(change) {
  const { scrollHeight, scrollTop, clientHeight } = document.scrollingElement;
  change();
  if (scrollHeight - scrollTop - clientHeight < 120) toEnd();
}

// ---- pictures

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function addPictures(files) {
  note("");
  for (const file of files) {
    const image = new Image();
    try {
      const url = await dataUrl(file);
      image.src = url;
      await image.decode();
      addPicture({ name: file.name, url, width: image.naturalWidth, height: image.naturalHeight });
    } catch {
      note(`${text(file.name)} is no picture that this browser can show.`);
    }
  }
  part.question.focus();
}

function addPicture(picture) {
  picture.frame = framed(picture.url, picture.width, picture.height, picture.name);
  picture.caption = make("figcaption");
  picture.remove = button("remove", "×", () => {
    pictures.splice(pictures.indexOf(picture), 1);
    picture.figure.remove();
    pictures.forEach(caption);
    stand();
    part.file.focus();
  });
  picture.frame.append(picture.remove);
  picture.figure = make("figure", "", picture.frame, picture.caption);
  pictures.push(picture);
  pictures.forEach(caption);
  part.pictures.append(picture.figure);
  stand();
}

function caption(picture, index) {
  picture.caption.textContent = `Image ${index} · ${text(picture.name)} · ${picture.width} × ${picture.height} px`;
  picture.remove.ariaLabel = `Remove image ${index}, ${text(picture.name)}`;
}

/** What the page looks like follows from what it holds. */
function stand() {
  const { dataset } = document.body;
  dataset.pictures = ["none", "one"][pictures.length] ?? "many";
  dataset.begun = Boolean(part.log.childElementCount);
  dataset.running = Boolean(running);
  part.send.textContent = running ? "Stop" : "Ask";
  part.again.hidden = !part.log.childElementCount;
  part.question.placeholder = answered.length ? "Ask a follow-up" : "Ask about the picture";
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

function messages(question) {
  const turns = [...answered, { question }];
  return turns.flatMap(({ question, answer }, at) => {
    const own = pictures.filter((picture) => picture.turn === at);
    const content = own.map(({ url }) => ({ type: "image_url", image_url: { url } }));
    const asked = { role: "user", content: [...content, { type: "text", text: question }] };
    return answer === undefined ? [asked] : [asked, { role: "assistant", content: answer }];
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

class Turn {
  /** The question, a place for the steps, and the line that says that more is to come. */
  constructor(question) {
    for (const box of document.querySelectorAll("#pictures .box")) box.classList.add("past");
    for (const picture of pictures) picture.turn ??= answered.length;
    this.pictures = [...pictures];
    this.frames = pictures.map(({ frame }) => frame); // of all images, by their numbers
    this.began = performance.now();
    this.looks = 0;
    this.tokens = 0;
    this.step = null;
    this.answer = "";
    this.failed = false;
    this.steps = make("ol", "steps");
    this.seconds = make("span");
    this.seconds.setAttribute("aria-hidden", "true"); // else it is read out every second
    this.waiting = make("p", "waiting", "Looking… ", this.seconds);
    this.element = make("article", "turn", words("question", question), this.steps, this.waiting);
    part.log.append(this.element);
    this.clock = setInterval(() => this.tick(), 1000);
  }

  tick() {
    this.seconds.textContent = `${Math.round((performance.now() - this.began) / 1000)} s`;
  }

  hear(event) {
    if (event.error) throw new Error(event.error.message);
    this.tokens = event.usage?.completion_tokens ?? this.tokens;
    const delta = event.choices?.[0]?.delta ?? {};
    following(() => {
      if (delta.reasoning_content) this.think(delta.reasoning_content);
      for (const look of delta.virc_tool_calls ?? []) this.look(look);
      if (delta.refusal) this.fail("No answer", sentence(delta.refusal), delta.content);
      else if (delta.content) this.say(delta.content);
    });
  }

  /** A step is a thought and what was looked at for it. */
  open() {
    this.thought = "";
    this.step = make("li", "step", words("thought", ""));
    this.steps.append(this.step);
  }

  think(piece) {
    if (!this.step) this.open();
    this.thought += piece;
    this.step.firstChild.textContent = text(this.thought.trim());
  }

  look({ tool, source, source_size: size, box, image, size: [width, height], url }) {
    this.looks += 1;
    const verb = text(tool).replace(/_image$/, "").replaceAll("_", " ");
    const where = (box ? `${box[0]},${box[1]}–${box[2]},${box[3]} of ` : "") + `image ${source}`;
    const frame = framed(url, width, height, `Image ${image}: ${verb} ${where}`);
    const legend = make("figcaption", "", make("b", "", String(image)), ` ${verb} `);
    this.frames[image] = frame;
    if (!this.step) this.open();
    this.step.append(make("figure", "cut", frame, legend));
    const seen = this.pictures[source]?.figure;
    if (seen) part.pictures.scrollLeft = seen.offsetLeft - part.pictures.firstChild.offsetLeft; // a row on phones
    if (box) this.link(this.step, legend, where, drawn(this.frames[source], box, size, image));
    else legend.append(where);
    this.step = null;
  }

  /** A step and its box light up together; the button finds the box where it is out of sight. */
  link(step, legend, where, box) {
    const light = (on) => box.classList.toggle("lit", on);
    legend.append(button("where", where, () => box.scrollIntoView({ block: "nearest", behavior: "smooth" })));
    step.onpointerenter = () => light(true);
    step.onpointerleave = () => light(false);
    step.addEventListener("focusin", () => light(true));
    step.addEventListener("focusout", () => light(false));
  }

  say(piece) {
    this.answer += piece;
    this.said?.remove();
    this.said = words("answer", this.answer);
    this.element.append(this.said);
  }

  fail(heading, message, said) {
    this.failed = true;
    const own = said ? [words("said", said)] : []; // the model's words, then why they are no answer
    this.element.append(make("div", "failed", make("strong", "", heading), ...own, words("", message)));
  }

  end() {
    clearInterval(this.clock);
    this.waiting.remove();
    const parts = [
      this.looks && `${this.looks} look${this.looks > 1 ? "s" : ""}`,
      this.tokens && `${this.tokens.toLocaleString("en")} tokens`,
      this.seconds.textContent,
    ];
    this.element.append(make("p", "cost", parts.filter(Boolean).join(" · ")));
  }
}

async function stream(turn, question) {
  const { signal } = running;
  await loadModel({ signal });
  const body = { model, messages: messages(question), stream: true, stream_options: { include_usage: true } };
  const headers = { "content-type": "application/json" };
  const response = await call("v1/chat/completions", { method: "POST", headers, body: JSON.stringify(body), signal });
  for await (const data of events(response)) {
    if (data === "[DONE]") return;
    turn.hear(JSON.parse(data));
  }
  throw new Error("the connection broke off");
}

async function ask(question) {
  running = new AbortController();
  const turn = new Turn(question);
  stand();
  toEnd();
  try {
    await stream(turn, question);
    if (!turn.answer && !turn.failed) throw new Error("the model gave none");
  } catch (error) {
    const said = error.name === "AbortError" ? ["Stopped", ""] : ["No answer", sentence(error.message)];
    following(() => turn.fail(...said));
    part.question.value ||= question; // to ask it again
  }
  if (!turn.failed) {
    answered.push({ question, answer: turn.answer }); // what failed is no part of the chat
    for (const { remove } of turn.pictures) remove.hidden = true;
  }
  running.abort(); // nothing more is read
  running = null;
  following(() => turn.end());
  stand();
}

// ---- what the reader does

function note(message) {
  part.note.textContent = message;
}

function submit() {
  const question = part.question.value.trim();
  if (running) return;
  if (!pictures.length) return note("Choose a picture first.");
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
  if (event.key === "Escape" && !part.door.open) running?.abort();
};
part.file.onchange = () => {
  addPictures([...part.file.files]);
  part.file.value = ""; // the same file can be chosen again
};
document.onpaste = (event) => {
  const files = [...event.clipboardData.files];
  if (!files.length) return;
  event.preventDefault();
  addPictures(files);
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
  addPictures([...event.dataTransfer.files]);
};
part.again.onclick = () => location.reload();
part.leave.onclick = () => part.door.close();

stand();
loadModel().catch((error) => note(sentence(error.message)));
