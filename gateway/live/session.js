// A token's time on the page: reads a day by REST, follows it live, and shows it on the board.

import { Api, Failed, Refused, pause } from "/live/api.js";
import { Board } from "/live/board.js";
import { Directory } from "/live/directory.js";
import { Feed } from "/live/feed.js";
import { forget, heard, tell, warn } from "/live/story.js";
import { SHOWN, clockOf, dayOf, eventWord, localTime } from "/live/words.js";

const JOIN_MS = 1500;
const SETTLE_MS = 400;
const SETTLED_MS = 3000;
const REMIND_MS = 5 * 60000;
const NAMED = new Set(["clinic", "location", "provider", "room", "service"]);

export class Session {
  /** `page` has: state(name, text), shows(session), signOut(reason). */
  constructor(token, page) {
    this.api = new Api(token);
    this.page = page;
    this.directory = new Directory(this.api);
    this.turn = this.loads = this.failures = 0;
    this.stale = new Set();
    this.feed = new Feed(token, {
      message: (message) => this.hear(message), state: (name, text) => page.state(name, text), resync: () => this.load(),
      admitted: (expiresAt) => this.admitted(expiresAt), ended: (reason) => this.ended(reason), refused: (reason) => page.signOut(reason),
    });
  }

  get zone() { return this.directory.zoneOf(this.place); }
  get today() { return dayOf(localTime(this.zone)); }

  /** Read who and what there is, and show a day. Raises what Api.get raises. */
  async begin(wanted) {
    const turn = this.turn;
    await this.directory.read();
    if (turn !== this.turn) return; // signed out meanwhile
    const { locations } = this.directory;
    if (!locations.length) throw new Error("This clinic has no location yet.");
    const { role, provider_id: ownId } = this.api.claims;
    this.board = new Board(this.directory, role === "provider" ? ownId : "");
    this.place = locations.find((each) => each.id === wanted.location) ?? locations[0];
    this.open(this.place, wanted.date || this.today);
  }

  end() {
    this.turn += 1;
    this.loads += 1;
    for (const timer of [this.retry, this.reminder, this.rereading, this.rechecking]) clearTimeout(timer);
    this.feed.end();
    this.board?.end();
    forget();
  }

  /** Show a day of a location and follow it; what an earlier call still waits for no longer counts. */
  async open(place, day) {
    const turn = ++this.turn;
    this.loads += 1;
    this.place = place;
    this.day = day;
    this.followsToday = day === this.today;
    this.stale.clear();
    clearTimeout(this.rechecking);
    this.changes = 0;
    this.isFirst = true;
    this.board.begin(day, place);
    this.page.shows(this);
    this.tick();
    forget();
    warn("list");
    // Live first, then the list: what happens in between is told by both, and the newer version stays.
    const channels = [`location:${place.id}:${day}`, `clinic:${this.api.claims.clinic_id}`];
    let isJoined = false;
    const joined = this.feed.follow(channels).then(() => { isJoined = true; });
    await Promise.race([joined, pause(JOIN_MS)]);
    if (turn !== this.turn) return;
    if (!isJoined) joined.then(() => { if (turn === this.turn) this.load(); });
    await this.load();
  }

  /** Read the day again; the last call counts. */
  async load() {
    const load = ++this.loads;
    clearTimeout(this.retry);
    // What is told while the list is under way may be younger than the list.
    const told = this.told = new Set();
    try {
      const filters = { locationId: this.place.id, date: this.day, status: SHOWN, limit: 200 };
      const [visits, shifts] = await Promise.all([this.api.list("/appointments", "appointments", filters), this.shifts()]);
      if (load !== this.loads) return;
      this.show(visits, shifts, told);
    } catch (error) {
      if (load === this.loads) this.failed(error);
    }
  }

  shifts() {
    const { directory, place, day } = this;
    return this.board.ownId ? directory.shifts(place, day) : directory.hours(place, day);
  }

  show(visits, shifts, told) {
    this.failures = 0;
    if (shifts.missed && shifts.size) warn("list", `The hours of ${shifts.missed} of those who work here could not be read.`, () => this.load());
    else warn("list");
    this.board.keepOnly(new Set([...visits.map((visit) => visit.id), ...told]));
    this.board.takeShifts(shifts);
    for (const visit of visits) this.board.apply(visit, false);
    this.board.ready();
    this.tick();
    if (this.isFirst) this.board.reveal();
    this.isFirst = false;
    this.meet(this.board.upcoming(localTime(this.zone)));
  }

  meet(visits) {
    const { turn } = this;
    const isWanted = () => turn === this.turn;
    this.directory.meet(visits, isWanted, (visit) => { if (isWanted()) this.board.rename([visit]); });
  }

  failed(error) {
    if (error instanceof Refused) return this.ended(error.message);
    const text = `${this.isFirst ? "The day could not be read" : "The day may be incomplete"}: ${error.message}`;
    if (this.isFirst) this.board.say("");
    warn("list", text, () => this.load());
    if (!(error instanceof Failed)) return;
    this.failures += 1;
    this.retry = setTimeout(() => this.load(), Math.min(15000, 1000 * 2 ** this.failures));
  }

  hear({ type, payload, metadata }) {
    if (type === "directory.changed") return this.reread(payload.kind);
    if (type === "availability.invalidated") return this.recheck(payload);
    this.told?.add(payload.appointmentId);
    if (!this.board.apply(payload, true)) return;
    heard(++this.changes);
    const service = this.directory.services.get(payload.serviceId)?.name ?? "Visit";
    const status = type.endsWith("canceled") ? "canceled" : payload.status;
    tell(status, clockOf(localTime(this.zone, new Date(metadata.timestamp))), `${eventWord(type)} · ${service}`, this.whereabouts(payload));
    const visit = this.board.visits.get(payload.appointmentId);
    if (visit && !this.directory.patientOf(visit)) this.meet([visit]);
  }

  /** `09:00 → 10:30 · Dr. Chen`: what differs is shown with what it was. */
  whereabouts({ start, providerId, previous }) {
    const change = (was, is) => (was && was !== is ? `${was} → ${is}` : is);
    const name = (id) => this.directory.nameOf(id);
    return [change(previous && clockOf(previous.start), clockOf(start)), change(previous && name(previous.providerId), name(providerId))].join(" · ");
  }

  /** Many things set up at once are read once, when it is quiet. */
  reread(kind) {
    if (!NAMED.has(kind)) return;
    clearTimeout(this.rereading);
    this.rereading = setTimeout(async () => {
      const { turn } = this;
      await this.directory.read().catch(() => {});
      if (turn !== this.turn) return;
      this.place = this.directory.locations.find((each) => each.id === this.place.id) ?? this.place;
      this.board.renameColumns();
      this.page.shows(this);
      this.refresh(this.directory.active(this.place));
    }, SETTLE_MS);
  }

  /** Ask again when providers work and are taken: soon, and once more, for what answers may be a little behind. */
  recheck({ locationIds = [], providerIds = [] }) {
    if (locationIds.length && !locationIds.includes(this.place.id)) return;
    for (const id of providerIds.length ? providerIds : this.directory.active(this.place)) this.stale.add(id);
    clearTimeout(this.rechecking);
    this.rechecking = setTimeout(async () => {
      await this.refresh([...this.stale]);
      this.rechecking = setTimeout(() => { this.refresh([...this.stale]); this.stale.clear(); }, SETTLED_MS);
    }, SETTLE_MS);
  }

  async refresh(providerIds) {
    const { turn } = this;
    this.directory.forgetHours();
    const shifts = await this.directory.shifts(this.place, this.day, providerIds);
    if (turn === this.turn) this.board.takeShifts(shifts);
  }

  /** The token is good until then; somebody is reminded before. */
  admitted(expiresAt) {
    clearTimeout(this.reminder);
    warn("token");
    const left = new Date(expiresAt) - Date.now() - REMIND_MS;
    const remind = () => warn("token", `The token ends at ${clockOf(localTime(this.zone, new Date(expiresAt)))}. Paste a new one to stay connected.`);
    // Longer than a timer can wait is long enough.
    if (left < 2 ** 31) this.reminder = setTimeout(remind, Math.max(0, left));
  }

  ended(reason) {
    // A token that never opened anything is judged at the door.
    if (!this.board) return this.page.signOut(reason);
    warn("token", `${reason} The day stays as it was last seen; paste a new token to go on.`);
  }

  /** Go on with another token of the same clinic. Raises Refused for what is none. */
  renew(token) {
    const { claims } = new Api(token);
    if (claims.clinic_id !== this.api.claims.clinic_id) throw new Refused("This token is of another clinic.");
    if (claims.role !== this.api.claims.role) throw new Refused(`This token is of another role: ${claims.role}.`);
    this.api.renew(token);
    this.feed.renew(token);
    this.load();
  }

  tick() {
    if (!this.place) return;
    if (this.followsToday && this.day !== this.today) this.open(this.place, this.today);
    else this.board.tick(localTime(this.zone));
  }
}
