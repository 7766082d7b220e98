// Pictures in frames: boxes are drawn on them, and each opens in a dialog, as large as the window allows.

import { button, make, part } from "./elements.js";

const LABEL = [28, 20]; // px that a label of two digits takes, about
const drawings = new WeakMap(); // frame -> rectangles on it, in shares of its sides: left, top, right, bottom

/** A picture in a frame, at its proportions and never much enlarged. */
export function framed(url, width, height) {
  const image = make("img");
  image.src = url;
  const frame = make("div", "frame", image, button("enlarge", "", () => enlarge(frame)));
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.setProperty("--ratio", width / height);
  frame.style.setProperty("--most", `${width * Math.min(4, Math.max(1, 720 / Math.max(width, height)))}px`);
  return frame;
}

/** What the picture in a frame is: in words, and in pixels for those who want to know. */
export function describe(frame, words, pixels) {
  frame.firstChild.alt = words;
  frame.children[1].ariaLabel = `Enlarge ${words}`;
  frame.title = pixels;
}

function enlarge(frame) {
  const large = frame.cloneNode(true);
  large.querySelector(".enlarge").remove();
  for (const lit of large.querySelectorAll(".lit")) lit.classList.remove("lit");
  large.style.setProperty("--most", "100%");
  part.seen.replaceChildren(large, make("figcaption", "", frame.firstChild.alt));
  part.large.showModal();
}

part.large.onclick = (event) => {
  if (event.target === part.large) part.large.close(); // outside of what is in it
};

/** Draw a box, in pixels of a source of that size, on the frame that shows the source. */
export function drawn(frame, [left, top, right, bottom], [width, height], label) {
  const share = [left / width, top / height, right / width, bottom / height];
  const box = make("div", `box ${beside(frame, share)}`, make("span", "", label));
  box.setAttribute("aria-hidden", "true"); // the caption of what was cut says the same in words
  Object.assign(box.style, {
    left: `${100 * share[0]}%`,
    top: `${100 * share[1]}%`,
    width: `${100 * (share[2] - share[0])}%`,
    height: `${100 * (share[3] - share[1])}%`,
  });
  frame.append(box);
  return box;
}

/** What was drawn for an answer before is hidden; it comes back to who asks where a crop was. */
export function clear(frame) {
  drawings.delete(frame);
  for (const box of frame.querySelectorAll(".box")) box.classList.add("past");
}

/** Where the label of a box goes: outside of it, and where that can be, in the picture and over no other box. */
function beside(frame, [left, top, right, bottom]) {
  const [wide, high] = [LABEL[0] / (frame.clientWidth || 1), LABEL[1] / (frame.clientHeight || 1)];
  const spots = {
    over: [left, top - high, left + wide, top],
    under: [left, bottom, left + wide, bottom + high],
    "over end": [right - wide, top - high, right, top],
    "under end": [right - wide, bottom, right, bottom + high],
    before: [left - wide, top, left, top + high],
    after: [right, top, right + wide, top + high],
  };
  const others = drawings.get(frame) ?? [];
  const within = (spot, other) => shared(spot, other) / (wide * high);
  const hides = (spot) => Math.max(0, ...others.map((other) => within(spot, other)));
  // above the picture there is room, else a label that leaves it would cover what is beside
  const leaves = (spot) => 2 * (1 - within(spot, [0, -high, 1, 1])) + 0.9 * (1 - within(spot, [0, 0, 1, 1]));
  const costs = Object.entries(spots).map(([at, spot]) => [hides(spot) + leaves(spot), at]);
  const [, best] = costs.reduce((one, other) => (other[0] < one[0] - 0.01 ? other : one)); // of equals the first
  drawings.set(frame, [...others, [left, top, right, bottom], spots[best]]);
  return best;
}

function shared(one, other) {
  const wide = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const high = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  return Math.max(0, wide) * Math.max(0, high);
}
