// What is told beside the board: what happened, and what is wrong.

import { element, icon, make } from "/live/dom.js";

const ENTRIES_MAX = 60;

/** Tell that something happened, at a time of the location's clock. */
export function tell(status, clock, title, text) {
  const entry = make("li", "", { "data-status": status });
  const words = make("div");
  words.append(make("b", title), make("span", text));
  entry.append(icon(status), words, make("time", clock));
  const feed = element("feed");
  feed.prepend(entry);
  while (feed.children.length > ENTRIES_MAX) feed.lastChild.remove();
  element("quiet").hidden = true;
}

export function forget() {
  element("feed").replaceChildren();
  element("quiet").hidden = false;
  heard(0);
}

export function heard(changes) {
  element("heard").textContent = changes;
  element("more-count").textContent = changes || "";
}

// What matters most is said alone.
const KINDS = ["token", "list", "link"];
const wrongs = new Map();

/** Say what is wrong in a strip above the board; no text: it is right again. `again` is what a button tries. */
export function warn(kind, text = "", again = null) {
  if (text) wrongs.set(kind, { text, again });
  else wrongs.delete(kind);
  const worst = KINDS.find((each) => wrongs.has(each));
  element("notice").hidden = !worst;
  element("notice-text").textContent = worst ? wrongs.get(worst).text : "";
  element("renewal").hidden = worst !== "token";
  element("again").hidden = !wrongs.get(worst)?.again;
  element("again").onclick = wrongs.get(worst)?.again ?? null;
}

export function allRight() {
  for (const kind of KINDS) warn(kind);
}
