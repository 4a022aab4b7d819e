// The board: a column per provider, a card per visit. Only shows; it asks nobody for anything.

import { fillCard, flash, glide, isCalm, makeCard } from "/live/card.js";
import { Column } from "/live/column.js";
import { element, make } from "/live/dom.js";
import { SHOWN, counted, dayOf, minuteOn } from "/live/words.js";

const ARRIVED = new Set(["checked_in", "in_progress", "completed"]);
const NOT_COUNTED = new Set(["held", "no_show"]);
const FIRST_MIN = 8 * 60;
const LAST_MIN = 17 * 60;
const COLUMN_PX = 150;
const WIDEST_PX = 440;
// From here on the end of a visit has room in every card.
const ROOMY_PX = 240;

export class Board {
  /** `ownId`: the provider whose visits alone may be read; others' calendars are only free or busy. */
  constructor(directory, ownId = "") {
    this.directory = directory;
    this.ownId = ownId;
    this.visits = new Map();
    this.cards = new Map();
    this.columns = new Map();
    this.shifts = new Map();
    this.frame = element("board");
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(this.frame);
    this.frame.onscroll = () => this.scrolled();
    element("further").onclick = () => this.turnOver();
  }

  end() {
    this.sizes.disconnect();
    this.clear();
  }

  /** Begin a day: nothing is shown until it is read. */
  begin(day, place) {
    this.day = day;
    this.place = place;
    this.clear();
    this.frame.ariaBusy = "true";
    this.say("Reading the day…");
    this.bound();
    this.count();
  }

  clear() {
    for (const each of [this.visits, this.cards, this.columns, this.shifts]) each.clear();
    element("heads").replaceChildren(make("div", "", { class: "corner" }));
    element("grid").replaceChildren(element("hours"), element("now"));
  }

  /** The day is read: what is known of it is all there is. */
  ready() {
    this.frame.ariaBusy = "false";
    const nobody = this.columns.size ? "Nothing is booked on this day yet." : "Nobody works here on this day, and nothing is booked.";
    this.say(this.cards.size ? "" : nobody);
  }

  say(text) {
    element("empty").textContent = text;
    element("empty").hidden = !text;
  }

  /** Take the state of a visit; tells whether this day's picture changed. An older version changes nothing. */
  apply(visit, isNews) {
    const id = visit.appointmentId ?? visit.id;
    const known = this.visits.get(id);
    const version = Number(visit.version);
    if (known && known.version >= version) return false;
    const now = { ...visit, id, version, patientId: visit.patientId ?? (known?.patientId || undefined) };
    const isHere = this.holds(now);
    const wasHere = this.cards.has(id);
    // What has left is remembered too: a list that is under way may still have it.
    if (known || this.isThen(now) || (visit.previous && this.isThen(visit.previous))) this.visits.set(id, now);
    if (isHere) this.show(now, known, isNews);
    else this.hide(id, known);
    if (isNews && this.frame.ariaBusy !== "true") this.ready();
    this.count();
    return isHere || wasHere;
  }

  holds(visit) {
    return this.isThen(visit) && SHOWN.includes(visit.status);
  }

  isThen({ locationId, start, end }) {
    const reachesIn = dayOf(start) < this.day && end > `${this.day}T00:00:00~`;
    return locationId === this.place.id && (dayOf(start) === this.day || reachesIn);
  }

  /** Forget visits that a fresh list no longer has. */
  keepOnly(ids) {
    for (const id of [...this.visits.keys()]) {
      if (ids.has(id)) continue;
      this.hide(id, this.visits.get(id));
      this.visits.delete(id);
    }
    this.count();
  }

  show(visit, before, isNews) {
    const card = this.cards.get(visit.id) ?? makeCard(visit.id);
    const isNew = !this.cards.has(visit.id);
    this.cards.set(visit.id, card);
    fillCard(card, visit, this.directory);
    const column = this.column(visit.providerId);
    this.bound();
    if (isNew || card.parentElement !== column.body) glide(card, column.body, () => this.arrange(column));
    else this.arrange(column);
    if (before && before.providerId !== visit.providerId) this.leave(before.providerId);
    if (isNews) flash(card, isNew ? "new" : "touched");
  }

  hide(id, before) {
    const card = this.cards.get(id);
    if (!card) return;
    this.cards.delete(id);
    card.classList.add("gone");
    card.removeAttribute("tabindex");
    setTimeout(() => card.remove(), 380);
    this.leave(before.providerId);
  }

  leave(providerId) {
    const column = this.columns.get(providerId);
    if (column) this.arrange(column);
  }

  arrange(column) {
    column.arrange(this.shown().filter((visit) => visit.providerId === column.id), this.cards);
  }

  shown() {
    return [...this.cards.keys()].map((id) => this.visits.get(id));
  }

  /** The same, in the order in which they matter: what is still to come first. */
  upcoming(local) {
    const isOver = (visit) => visit.end.slice(0, 19) < local;
    return this.shown().sort((a, b) => isOver(a) - isOver(b) || (a.start < b.start ? -1 : 1));
  }

  /** Names may have become known. */
  rename(visits = this.shown()) {
    for (const visit of visits) if (this.cards.has(visit.id)) fillCard(this.cards.get(visit.id), this.visits.get(visit.id), this.directory);
  }

  renameColumns() {
    for (const [id, column] of this.columns) column.name(this.directory.providers.get(id));
    this.rename();
    this.count();
  }

  /** Take when providers work; who works here, or would if that may not be known, has a column. */
  takeShifts(shifts) {
    for (const [id, shift] of shifts) this.shifts.set(id, shift);
    for (const id of this.directory.active(this.place)) if (this.belongs(id)) this.column(id);
    for (const [id, column] of [...this.columns]) {
      if (this.belongs(id) || this.shown().some((visit) => visit.providerId === id)) this.paint(column);
      else this.remove(id);
    }
    this.bound();
    this.count();
  }

  belongs(id) {
    const shift = this.shifts.get(id);
    if (!shift) return this.directory.isAtHome(id, this.place);
    return shift.open.length > 0 || (this.isVeiled(id) && shift.busy.length > 0 && this.directory.isAtHome(id, this.place));
  }

  isVeiled(id) {
    return Boolean(this.ownId) && id !== this.ownId;
  }

  paint(column) {
    const shift = this.shifts.get(column.id);
    if (shift) column.paint(shift, this.isVeiled(column.id));
  }

  remove(id) {
    const { head, body } = this.columns.get(id);
    head.remove();
    body.remove();
    this.columns.delete(id);
    this.fit();
  }

  /** A provider's column; columns stand in the order of their names, one's own before them. */
  column(id) {
    const known = this.columns.get(id);
    if (known) return known;
    const column = new Column(id, this.day);
    column.name(this.directory.providers.get(id));
    const place = (each) => `${each.id === this.ownId ? "" : "~"}${each.title} ${each.id}`;
    const next = [...this.columns.values()].filter((each) => place(each) > place(column)).sort((a, b) => (place(a) < place(b) ? -1 : 1))[0];
    element("heads").insertBefore(column.head, next?.head ?? null);
    element("grid").insertBefore(column.body, next?.body ?? element("now"));
    this.columns.set(id, column);
    this.paint(column);
    this.fit();
    return column;
  }

  /** Show the hours in which somebody works or something is. */
  bound() {
    const shifts = [...this.columns.keys()].flatMap((id) => this.shifts.get(id)?.open ?? []);
    const spans = [...this.shown(), ...shifts];
    const from = Math.min(FIRST_MIN, ...spans.map((each) => minuteOn(this.day, each.start)));
    const to = Math.max(LAST_MIN, ...spans.map((each) => minuteOn(this.day, each.end)));
    this.rule(Math.floor(from / 60) * 60, Math.ceil(to / 60) * 60);
  }

  rule(from, to) {
    if (from === this.from && to === this.to) return;
    [this.from, this.to] = [from, to];
    this.frame.style.setProperty("--from", from);
    this.frame.style.setProperty("--span", to - from);
    const labels = [];
    for (let minute = from; minute <= to; minute += 60) {
      const label = make("span", `${String(minute / 60).padStart(2, "0")}:00`);
      label.style.setProperty("--at", minute);
      labels.push(label);
    }
    element("hours").replaceChildren(...labels, element("now-time"));
  }

  /** Whole columns only: none is cut off at the edge. */
  fit() {
    const room = this.frame.clientWidth - element("hours").offsetWidth;
    const places = Math.max(1, Math.min(this.columns.size, Math.floor(room / COLUMN_PX)));
    const columnPx = Math.min(WIDEST_PX, room / places);
    this.frame.style.setProperty("--column", `${columnPx}px`);
    this.frame.classList.toggle("roomy", columnPx >= ROOMY_PX);
    this.frame.style.setProperty("--columns", this.columns.size);
    this.frame.classList.toggle("wide", places < this.columns.size);
    element("further").hidden = places >= this.columns.size;
    this.scrolled();
  }

  /** The button below the board tells how many columns lie further on, and leads there; at the end it leads back. */
  scrolled() {
    const { scrollLeft, clientWidth, scrollWidth } = this.frame;
    const columnPx = (scrollWidth - element("hours").offsetWidth) / (this.columns.size || 1);
    const left = Math.ceil((scrollWidth - clientWidth - scrollLeft - 2) / columnPx);
    this.isAtEnd = left < 1;
    element("further").textContent = this.isAtEnd ? "‹ Back" : `${left} more ›`;
    element("further").ariaLabel = this.isAtEnd ? "Back to the first providers" : `${counted(left, "more provider")}`;
  }

  turnOver() {
    const page = this.frame.clientWidth - element("hours").offsetWidth;
    this.frame.scrollTo({ left: this.isAtEnd ? 0 : this.frame.scrollLeft + page, behavior: isCalm.matches ? "auto" : "smooth" });
  }

  /** Draw the line of the present; `local` is the location's time now. */
  tick(local) {
    const line = element("now");
    const minute = minuteOn(this.day, local);
    line.hidden = dayOf(local) !== this.day || minute < this.from || minute > this.to;
    const label = element("now-time");
    label.hidden = line.hidden;
    label.textContent = local.slice(11, 16);
    for (const each of [line, label]) each.style.setProperty("--at", minute);
  }

  /** Bring the present into view, or the first visit. */
  reveal() {
    const first = [...this.cards.values()].sort((a, b) => a.offsetTop - b.offsetTop)[0];
    const mark = element("now").hidden ? (first?.offsetTop ?? 0) - 40 : element("now").offsetTop - this.frame.clientHeight / 3;
    this.frame.scrollTop = mark > 120 ? mark : 0;
  }

  count() {
    const shown = this.shown().filter((visit) => !NOT_COUNTED.has(visit.status));
    const arrived = shown.filter((visit) => ARRIVED.has(visit.status));
    for (const each of document.querySelectorAll("[data-count=visits]")) each.textContent = shown.length;
    for (const each of document.querySelectorAll("[data-count=arrived]")) each.textContent = arrived.length;
    for (const [id, column] of this.columns) column.count(shown.filter((visit) => visit.providerId === id).length);
  }
}
