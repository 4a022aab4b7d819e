// The board: a column per provider, a card per visit. Only shows; it asks nobody for anything.

const SHOWN = new Set(["held", "scheduled", "confirmed", "checked_in", "in_progress", "completed"]);
const ARRIVED = new Set(["checked_in", "in_progress", "completed"]);
const WORDS = { held: "held", confirmed: "confirmed", checked_in: "arrived", in_progress: "in progress", completed: "completed" };
const element = (id) => document.getElementById(id);

export function make(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const minuteOf = (local) => Number(local.slice(11, 13)) * 60 + Number(local.slice(14, 16));
const clockOf = (local) => local.slice(11, 16);
const initials = (name) => name.replace(/^(Dr|Prof|Mr|Ms|Mrs)\.?\s+/i, "").split(/\s+/).map((part) => part[0]).slice(0, 2).join("").toUpperCase();

export class Board {
  constructor() {
    this.visits = new Map();
    this.cards = new Map();
    this.columns = new Map();
    this.names = { providers: new Map(), services: new Map(), rooms: new Map() };
    this.from = 8 * 60;
    this.to = 18 * 60;
  }

  /** Begin a day: `providers` are shown even when they have no visit. */
  begin(day, locationId, names) {
    this.day = day;
    this.locationId = locationId;
    this.names = names;
    this.visits.clear();
    this.cards.clear();
    this.columns.clear();
    this.from = 8 * 60;
    this.to = 18 * 60;
    element("heads").replaceChildren(make("div", "", { class: "corner" }));
    element("grid").replaceChildren(element("hours"), element("now"));
    for (const id of names.providers.keys()) this.column(id);
    this.rule();
    this.count();
  }

  /** Take the state of a visit, as REST or a message tells it; an older version changes nothing. */
  apply(visit, isNews) {
    const id = visit.appointmentId ?? visit.id;
    const known = this.visits.get(id);
    const version = Number(visit.version);
    if (known && known.version >= version) return null;
    const now = { ...visit, id, version };
    this.visits.set(id, now);
    const here = visit.locationId === this.locationId && visit.start.slice(0, 10) === this.day && SHOWN.has(visit.status);
    if (here) this.show(now, isNews);
    else this.hide(id);
    this.count();
    return known ?? {};
  }

  /** Forget visits that a fresh list no longer has. */
  keepOnly(ids) {
    for (const id of [...this.cards.keys()]) if (!ids.has(id)) { this.visits.delete(id); this.hide(id); }
    this.count();
  }

  show(visit, isNews) {
    this.stretch(minuteOf(visit.start), this.endOf(visit));
    let card = this.cards.get(visit.id);
    const isNew = !card;
    if (isNew) {
      card = make("article", "", { class: "visit", "data-id": visit.id });
      card.append(make("b"), make("span"), make("small"));
      this.cards.set(visit.id, card);
    }
    this.fill(card, visit);
    this.move(card, this.column(visit.providerId));
    this.place(card, visit);
    if (isNews) this.flash(card, isNew ? "new" : "touched");
  }

  fill(card, visit) {
    const service = this.names.services.get(visit.serviceId) ?? "Visit";
    card.dataset.status = visit.status;
    card.children[0].replaceChildren(clockOf(visit.start), make("i", ` – ${clockOf(visit.end)}`));
    card.children[1].textContent = service;
    // A colour alone does not tell everybody.
    card.children[2].textContent = [WORDS[visit.status], this.names.rooms.get(visit.roomId)].filter(Boolean).join(" · ");
    card.title = `${clockOf(visit.start)} – ${clockOf(visit.end)} ${service}, ${WORDS[visit.status] ?? visit.status}`;
    const minutes = this.endOf(visit) - minuteOf(visit.start);
    card.classList.toggle("short", minutes < 45);
    card.classList.toggle("brief", minutes < 20);
  }

  /** Put a card into a column; from another one it glides over. */
  move(card, column) {
    if (card.parentElement === column) return;
    const before = card.isConnected ? card.getBoundingClientRect() : null;
    column.append(card);
    if (!before) return;
    const after = card.getBoundingClientRect();
    card.animate([{ transform: `translate(${before.left - after.left}px, ${before.top - after.top}px)` }, { transform: "none" }], { duration: 450, easing: "cubic-bezier(.2,.8,.2,1)" });
  }

  place(card, visit) {
    const start = minuteOf(visit.start);
    card.style.top = `calc(var(--minute) * ${start - this.from} + 1px)`;
    card.style.height = `calc(var(--minute) * ${Math.max(14, this.endOf(visit) - start)} - 2px)`;
  }

  endOf(visit) {
    return visit.end.slice(0, 10) > visit.start.slice(0, 10) ? 1440 : minuteOf(visit.end);
  }

  hide(id) {
    const card = this.cards.get(id);
    if (!card) return;
    this.cards.delete(id);
    card.classList.add("gone");
    setTimeout(() => card.remove(), 380);
  }

  flash(card, name) {
    card.classList.remove("new", "touched");
    void card.offsetWidth;
    card.classList.add(name);
    setTimeout(() => card.classList.remove(name), name === "new" ? 600 : 1600);
  }

  column(providerId) {
    let column = this.columns.get(providerId);
    if (column) return column;
    const { name, specialty } = this.names.providers.get(providerId) ?? { name: `Provider ${providerId.slice(0, 4)}`, specialty: "" };
    const head = make("div", "", { class: "head" });
    const words = make("div");
    words.append(make("b", name), make("span", specialty));
    head.append(make("div", initials(name), { class: "face" }), words, make("output", "", { "data-of": providerId, title: "Visits" }));
    element("heads").append(head);
    column = make("div", "", { class: "column", "data-provider": providerId });
    element("grid").insertBefore(column, element("now"));
    this.columns.set(providerId, column);
    element("board").style.setProperty("--columns", this.columns.size);
    this.size(column);
    return column;
  }

  /** Show more hours when a visit lies outside of them. */
  stretch(start, end) {
    const from = Math.min(this.from, Math.floor(start / 60) * 60);
    const to = Math.max(this.to, Math.ceil(end / 60) * 60);
    if (from === this.from && to === this.to) return;
    this.from = from;
    this.to = to;
    this.rule();
    for (const [id, card] of this.cards) this.place(card, this.visits.get(id));
  }

  rule() {
    const labels = [];
    for (let minute = this.from; minute < this.to; minute += 60) {
      const label = make("span", `${String(minute / 60).padStart(2, "0")}:00`);
      label.style.top = `calc(var(--minute) * ${minute - this.from})`;
      labels.push(label);
    }
    element("hours").replaceChildren(...labels);
    for (const column of this.columns.values()) this.size(column);
    this.size(element("hours"));
  }

  size(part) {
    part.style.height = `calc(var(--minute) * ${this.to - this.from})`;
  }

  /** Draw the line of the present; `local` is the location's time now, or null on another day. */
  tick(local) {
    const line = element("now");
    const minute = local ? minuteOf(local) : -1;
    line.hidden = !local || local.slice(0, 10) !== this.day || minute < this.from || minute > this.to;
    line.style.top = `calc(var(--minute) * ${minute - this.from})`;
  }

  count() {
    const shown = [...this.cards.keys()].map((id) => this.visits.get(id)).filter((visit) => visit.status !== "held");
    element("count").textContent = shown.length;
    element("arrived").textContent = shown.filter((visit) => ARRIVED.has(visit.status)).length;
    for (const each of element("heads").querySelectorAll("output")) {
      each.textContent = shown.filter((visit) => visit.providerId === each.dataset.of).length || "";
    }
    element("empty").hidden = this.cards.size > 0;
  }
}
