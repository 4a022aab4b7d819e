// A column: one provider's day, with its head, its hours and its cards side by side where they overlap.

import { sizeOf } from "/live/card.js";
import { make } from "/live/dom.js";
import { lay } from "/live/lanes.js";
import { counted, minuteOn } from "/live/words.js";

/** A card is never lower than this, and what would lie under it stands beside it. */
const LOWEST_MIN = 10;

const initials = (name) => name.replace(/^(Dr|Prof|Mr|Ms|Mrs)\.?\s+/i, "").split(/\s+/).map((part) => part[0]).slice(0, 2).join("").toUpperCase();

export class Column {
  constructor(id, day) {
    this.id = id;
    this.day = day;
    this.isWorking = false;
    this.head = make("div", "", { class: "head" });
    this.body = make("div", "", { class: "column", "data-provider": id, role: "list" });
    this.shade = make("div", "", { class: "shade", role: "presentation" });
    this.body.append(this.shade);
  }

  name(provider) {
    const { name = "Another provider", specialty = "" } = provider ?? {};
    this.title = name;
    const words = make("div", "", { class: "words" });
    this.total = make("output");
    const below = make("span", "", { class: "below" });
    below.append(make("span", specialty), this.total);
    words.append(make("b", name), below);
    this.head.replaceChildren(make("div", initials(name), { class: "face", "aria-hidden": "true" }), words);
    this.head.title = [name, specialty].filter(Boolean).join(", ");
  }

  count(visits) {
    this.total.textContent = visits || "";
    this.total.title = counted(visits, "visit");
    this.body.ariaLabel = `${this.title}, ${counted(visits, "visit")}`;
  }

  /** Show when it works and, of a calendar that may not be read, when it is taken. */
  paint({ open, busy }, showsBusy) {
    this.isWorking = open.length > 0;
    const parts = [];
    let free = 0;
    for (const { start, end } of [...open, { start: `${this.day}T24:00`, end: `${this.day}T24:00` }]) {
      const until = minuteOn(this.day, start);
      if (until > free) parts.push(this.block("off", free, until));
      free = Math.max(free, minuteOn(this.day, end));
    }
    for (const { start, end } of showsBusy ? busy : []) {
      parts.push(this.block("busy", minuteOn(this.day, start), minuteOn(this.day, end)));
    }
    this.shade.replaceChildren(...parts);
  }

  block(name, start, end) {
    const block = make("div", name === "busy" ? "Busy" : "", { class: name });
    if (name === "busy") block.title = `Busy ${clock(start)} to ${clock(end)}`;
    position(block, start, end);
    return block;
  }

  /** Give every visit of `visits` (those of this column) its place; their order is the order of time. */
  arrange(visits, cards) {
    const items = visits.map((visit) => {
      const start = minuteOn(this.day, visit.start);
      const end = minuteOn(this.day, visit.end);
      return { card: cards.get(visit.id), start, end: Math.max(end, start + LOWEST_MIN) };
    });
    let last = this.shade;
    for (const { card, start, end, lane, lanes } of lay(items)) {
      position(card, start, end);
      card.dataset.size = sizeOf(end - start);
      card.classList.toggle("beside", lanes > 1);
      card.style.setProperty("--lane", lane);
      card.style.setProperty("--lanes", lanes);
      last = this.putAfter(last, card);
    }
  }

  /** Only what is out of order is moved: moving takes the focus away. */
  putAfter(last, card) {
    let next = last.nextElementSibling;
    while (next?.classList.contains("gone")) next = next.nextElementSibling;
    if (next !== card) {
      const isFocused = document.activeElement === card;
      last.after(card);
      if (isFocused) card.focus({ preventScroll: true });
    }
    return card;
  }
}

const clock = (minute) => `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;

function position(part, start, end) {
  part.style.setProperty("--at", start);
  part.style.setProperty("--for", end - start);
}
