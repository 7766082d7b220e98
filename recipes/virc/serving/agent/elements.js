// Elements, and the text of others in them. What a model or a server says is only ever set as text; the page's policy
// forbids anything else.

const LONG = 160; // characters from which a text is set small
// What would hide or reorder text; the joiners are needed to spell some scripts.
const HIDING = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

export const part = Object.fromEntries([...document.querySelectorAll("[id]")].map((each) => [each.id, each]));

export function make(tag, css = "", ...children) {
  const made = document.createElement(tag);
  made.className = css;
  made.append(...children);
  return made;
}

/** Text of others: what would hide or reorder it stands as its code point. */
export function text(value) {
  const point = (sign) => sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return value.replace(HIDING, (sign) => `[U+${point(sign)}]`);
}

/** A paragraph of text of others, in the direction of its own script. */
export function words(css, value) {
  const made = make("p", value.length > LONG ? `${css} long` : css, text(value));
  made.dir = "auto";
  return made;
}

export function sentence(message) {
  const said = text(message).trim() || "something went wrong";
  return said[0].toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}

export function button(css, label, action) {
  const made = make("button", css, label);
  made.type = "button";
  made.onclick = action;
  return made;
}

export function toEnd() {
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
}

/** Keep what is new in sight, unless the reader has scrolled away from the end. */
export function following(change) {
  const { scrollHeight, scrollTop, clientHeight } = document.scrollingElement;
  change();
  if (scrollHeight - scrollTop - clientHeight < 120) toEnd();
}
