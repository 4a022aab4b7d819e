// A card: one visit on the board.

import { icon, make } from "/live/dom.js";
import { clockOf, statusWord } from "/live/words.js";

export function makeCard(id) {
  const card = make("article", "", { class: "visit", "data-id": id, tabindex: "0", role: "listitem" });
  const line = make("span", "", { class: "when" });
  line.append(make("time"), make("i"));
  card.append(line, make("b"), make("small"));
  return card;
}

/** Write a visit into its card; without a patient's name the service is its title. */
export function fillCard(card, visit, directory) {
  const [line, title, more] = card.children;
  const patient = directory.patientOf(visit);
  const service = directory.services.get(visit.serviceId)?.name ?? "Visit";
  const room = directory.rooms.get(visit.roomId)?.name;
  if (card.dataset.status !== visit.status) {
    card.dataset.status = visit.status;
    card.querySelector("svg")?.remove();
    line.append(icon(visit.status));
  }
  line.firstChild.textContent = clockOf(visit.start);
  line.children[1].textContent = `–${clockOf(visit.end)}`;
  title.textContent = patient || service;
  const [first = "", second] = [room, patient && service].filter(Boolean);
  more.replaceChildren(make("span", first), make("i", second && ` · ${second}`));
  const parts = [`${clockOf(visit.start)} to ${clockOf(visit.end)}`, directory.nameOf(visit.providerId), patient, service, room, statusWord(visit.status)];
  card.ariaLabel = card.title = parts.filter(Boolean).join(", ");
}

/** How many lines a card has room for; three are snug in some. */
export function sizeOf(minutes) {
  if (minutes < 14) return "one";
  if (minutes < 19) return "two";
  if (minutes < 27) return "snug";
  return minutes < 40 ? "three" : "four";
}

export const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

/** Put a card where `place` puts it; from another column it glides over. */
export function glide(card, column, place) {
  const before = card.isConnected ? card.getBoundingClientRect() : null;
  card.classList.add("still");
  column.append(card);
  place();
  const after = card.getBoundingClientRect();
  card.classList.remove("still");
  if (!before || isCalm.matches) return;
  const from = `translate(${before.left - after.left}px, ${before.top - after.top}px)`;
  card.animate([{ transform: from, zIndex: 3 }, { transform: "none", zIndex: 3 }], { duration: 420, easing: "cubic-bezier(.2,.8,.2,1)" });
}

export function flash(card, name) {
  card.classList.remove("new", "touched");
  void card.offsetWidth;
  card.classList.add(name);
  setTimeout(() => card.classList.remove(name), name === "new" ? 600 : 1800);
}
