// One question as it is answered: the thoughts, what was looked at for them, and the answer.

import { button, make, part, sentence, text, words } from "./elements.js";
import { describe, drawn, framed } from "./frames.js";

const NOUNS = new Map([
  ["crop_image", "crop"],
  ["zoom_image", "enlarged crop"],
  ["display_image", "copy"],
]);

/** What a tool has made, in a word or two. */
function noun(tool, from, to) {
  if (tool === "scale_image") return to[0] < from[0] ? "smaller copy" : "enlarged copy";
  return NOUNS.get(tool) ?? text(tool).replace(/_image$/, "").replaceAll("_", " ");
}

/** What the pictures of a chat are called, in order. */
export function called(count) {
  return count === 1 ? ["the picture"] : Array.from({ length: count }, (_, at) => `picture ${at + 1}`);
}

const pace = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth");

export class Turn {
  /**
   * The question, a place for the steps, and the line that says that more is to come.
   * `record` is what is kept of it: {question, pictures, model, events, answer, failure, took};
   * `frames` show its pictures.
   */
  constructor(record, frames) {
    this.record = record;
    this.frames = [...frames]; // of all images, by their numbers
    this.names = called(frames.length); // of all images, too
    this.looks = 0;
    this.tokens = 0;
    this.step = null;
    this.answer = "";
    this.failed = false;
    this.steps = make("ol", "steps");
    this.seconds = make("span");
    this.seconds.setAttribute("aria-hidden", "true"); // else it is read out every second
    this.waiting = make("p", "waiting", "Looking… ", this.seconds);
    this.element = make("article", "turn", words("question", record.question), this.steps, this.waiting);
    part.log.append(this.element);
  }

  /** How long it takes is shown from now on. */
  start() {
    const began = performance.now();
    this.clock = setInterval(() => {
      this.record.took = Math.round((performance.now() - began) / 1000);
      this.seconds.textContent = `${this.record.took} s`;
    }, 1000);
  }

  /** Show an event of the stream. */
  hear(event) {
    if (event.error) throw new Error(event.error.message);
    this.tokens = event.usage?.completion_tokens ?? this.tokens;
    const delta = event.choices?.[0]?.delta ?? {};
    if (delta.reasoning_content) this.think(delta.reasoning_content);
    for (const look of delta.virc_tool_calls ?? []) this.look(look);
    for (const warning of delta.virc_warnings ?? []) this.element.append(words("warning", warning));
    if (delta.refusal) this.fail("No answer", sentence(delta.refusal), delta.content);
    else if (delta.content) this.say(delta.content);
  }

  /** A step is a thought and what was looked at for it. */
  open() {
    this.thought = "";
    this.closed = false;
    this.results = make("div", "results");
    this.step = make("li", "step", words("thought", ""), this.results);
    this.steps.append(this.step);
  }

  think(piece) {
    if (!this.step || this.closed) this.open();
    this.thought += piece;
    this.step.firstChild.textContent = text(this.thought.trim());
  }

  /** What a call came to: a picture, a text, or why there is none. */
  look(look) {
    if (!this.step) this.open();
    if (look.error) this.results.append(words("said refused", look.error));
    if (look.text) this.results.append(words("said", look.text));
    if (look.url) this.picture(look);
    this.closed = true; // the next thought is a step of its own
  }

  picture({ tool, source, source_size: size, box, image, size: [width, height], url }) {
    this.looks += 1;
    if (source === null) {
      this.made(tool, image, width, height, url);
      return;
    }
    const own = `${noun(tool, size, [width, height])} ${this.looks}`;
    const from = this.names[source];
    const cut = box ? `, pixels ${box[0]},${box[1]} to ${box[2]},${box[3]}` : "";
    const frame = framed(url, width, height);
    describe(frame, `${own} of ${from}`, `image ${image}, ${width} × ${height} px: image ${source}${cut}`);
    const legend = make("figcaption", "", make("b", "", own), " of ");
    this.frames[image] = frame;
    this.names[image] = own;
    this.results.append(make("figure", "cut", frame, legend));
    this.show(source);
    if (box) this.link(legend, from, drawn(this.frames[source], box, size, this.looks));
    else legend.append(from);
  }

  /** A picture that a tool made of none. */
  made(tool, image, width, height, url) {
    const own = `${noun(tool, [width, height], [width, height])} ${this.looks}`;
    const frame = framed(url, width, height);
    describe(frame, own, `image ${image}, ${width} × ${height} px`);
    this.frames[image] = frame;
    this.names[image] = own;
    this.results.append(make("figure", "cut", frame, make("figcaption", "", make("b", "", own))));
  }

  /** Pictures lie in a row on phones: that which is looked at comes into sight. */
  show(source) {
    const figure = this.frames[source].closest("#pictures > *");
    if (figure) part.pictures.scrollLeft = figure.offsetLeft - part.pictures.firstChild.offsetLeft;
  }

  /** The step and its box light up together; the button finds the box where it is out of sight. */
  link(legend, from, box) {
    const { step } = this;
    const light = (on) => box.classList.toggle("lit", on);
    legend.append(button("where", from, () => box.scrollIntoView({ block: "nearest", behavior: pace() })));
    step.addEventListener("pointerenter", () => light(true));
    step.addEventListener("pointerleave", () => light(false));
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
    const { model, took } = this.record;
    const parts = [
      model && text(model),
      this.looks && `${this.looks} look${this.looks > 1 ? "s" : ""}`,
      this.tokens && `${this.tokens.toLocaleString("en")} tokens`,
      took && `${took} s`,
    ];
    this.element.append(make("p", "cost", parts.filter(Boolean).join(" · ")));
  }
}
