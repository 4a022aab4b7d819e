// Who and what there is in the clinic, and who works when. All of it stays in memory.

import { FREE_BUSY, Failed, Refused, forEach, pause } from "/live/api.js";
import { dayAfter } from "/live/words.js";

const PROVIDERS_MAX = 30;
const PATIENTS_MAX = 2000;
const PATIENTS_AT_ONCE = 100;
const DAYS_MAX = 50;
// So many requests are left for what matters more than names; below, names are asked for once a second.
const RESERVE = 80;
const SLOW_MS = 1000;
const TRIES_MAX = 5;

const byId = (things) => new Map(things.map((thing) => [thing.id, thing]));

export class Directory {
  constructor(api) {
    this.api = api;
    this.clinic = {};
    this.locations = [];
    this.providers = this.services = this.rooms = new Map();
    this.patients = new Map();
    this.known = new Map();
  }

  /** Read it all. Without the locations nothing can be shown; names that may not be read are left out. */
  async read() {
    const [clinic, locations, providers, services, rooms] = await Promise.all([
      this.optional(this.api.get(""), {}), this.api.list("/locations", "locations", { pageSize: 200 }),
      this.all("providers", { includeInactive: true }), this.all("services", { includeInactive: true }), this.all("rooms", { includeInactive: true }),
    ]);
    this.clinic = clinic.clinic ?? clinic;
    this.locations = locations;
    [this.providers, this.services, this.rooms] = [providers, services, rooms].map(byId);
  }

  all(name, parameters) {
    return this.optional(this.api.list(`/${name}`, name, { pageSize: 200, ...parameters }), []);
  }

  async optional(reading, otherwise) {
    try {
      return await reading;
    } catch (error) {
      if (error instanceof Refused || error instanceof Failed) throw error;
      return otherwise;
    }
  }

  zoneOf(place) {
    return place.timezone || this.clinic.defaultTimezone || "UTC";
  }

  nameOf(providerId) {
    return this.providers.get(providerId)?.name ?? "Another provider";
  }

  isAtHome(providerId, place) {
    const provider = this.providers.get(providerId);
    return Boolean(provider?.active) && (!provider.locationId || provider.locationId === place.id);
  }

  /** When providers work at a place and are taken that day, by id: only what may be known, and of the first ones only. */
  async shifts(place, day, providerIds = this.active(place)) {
    const found = new Map();
    if (!this.api.may("read:availability")) return found;
    const when = { locationId: place.id, start: day, end: dayAfter(day, 1) };
    found.missed = await forEach(providerIds.slice(0, PROVIDERS_MAX), async (id) => {
      const { open, busy } = await this.api.get(FREE_BUSY, { resourceId: id, ...when });
      found.set(id, { open, busy: busy.map((each) => each.interval) });
    });
    return found;
  }

  /** The same for all, from memory when it was read: good for hours, which seldom change, not for what is taken. */
  async hours(place, day) {
    const key = `${place.id} ${day}`;
    const known = this.known.get(key);
    if (known) return known;
    const found = await this.shifts(place, day);
    if (this.known.size >= DAYS_MAX) this.known.clear();
    if (found.size === Math.min(this.active(place).length, PROVIDERS_MAX)) this.known.set(key, found);
    return found;
  }

  forgetHours() {
    this.known.clear();
  }

  /** Those who may work there: the ones at home there come first. */
  active(place) {
    const ids = [...this.providers.values()].filter((provider) => provider.active).map((provider) => provider.id);
    return ids.sort((a, b) => this.isAtHome(b, place) - this.isAtHome(a, place));
  }

  patientOf(visit) {
    return this.patients.get(visit.patientId) ?? "";
  }

  /**
   * Learn who comes, by name, where the token may know it, while `isWanted`; `told` hears of each answer, at once of names in memory.
   * Messages name no patient: whose visit is from one is looked up first, and keeps nobody else waiting.
   */
  async meet(visits, isWanted, told) {
    if (!this.api.may("read:phi")) return;
    const nameless = visits.filter((visit) => !visit.patientId);
    const found = forEach(nameless, async (visit) => {
      visit.patientId ??= (await this.patiently(`/appointments/${visit.id}`, isWanted))?.appointment.patientId;
    });
    await Promise.all([
      this.name(visits.filter((visit) => visit.patientId), isWanted, told),
      found.then(() => this.name(nameless, isWanted, told)),
    ]);
  }

  /** Tell the names in memory of those who come, and learn the others. */
  async name(visits, isWanted, told) {
    const coming = new Set(visits.map((visit) => visit.patientId).filter(Boolean));
    const unknown = [...coming].filter((id) => !this.patients.has(id));
    for (const visit of visits) if (this.patientOf(visit)) told(visit);
    const portions = [];
    while (unknown.length) portions.push(unknown.splice(0, PATIENTS_AT_ONCE));
    await forEach(portions, async (ids) => {
      await this.learnAll(ids, isWanted);
      for (const visit of visits) if (ids.includes(visit.patientId)) told(visit);
    });
  }

  /** Learn the names of as many as may be asked for at once; one that is not for this token to see leaves the others theirs. */
  async learnAll(ids, isWanted) {
    const left = [...ids];
    while (left.length) {
      try {
        const answer = await this.patiently("/patients:batchGet", isWanted, { ids: left });
        for (const { id, name } of answer?.patients ?? []) this.learn(id, name);
        return;
      } catch (error) {
        if (error.details?.place === undefined) throw error;
        left.splice(Number(error.details.place), 1);
      }
    }
  }

  learn(id, name) {
    if (this.patients.size >= PATIENTS_MAX) this.patients.clear();
    if (name) this.patients.set(id, name);
  }

  /** Names can wait: they leave requests for the rest, and are asked for again when the server is busy. */
  async patiently(path, isWanted, parameters = {}) {
    for (let tries = 0; tries < TRIES_MAX && isWanted(); tries += 1) {
      if (this.api.remaining < RESERVE) await pause(SLOW_MS);
      try {
        return await this.api.get(path, parameters);
      } catch (error) {
        if (!(error instanceof Failed)) throw error;
        await pause(SLOW_MS * 2 ** tries);
      }
    }
    return undefined;
  }
}
