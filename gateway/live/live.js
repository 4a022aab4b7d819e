// The page: takes a token, reads the day by REST, follows it by WebSocket, tells what happens.

import { Board, make } from "/live/board.js";
import { Feed } from "/live/feed.js";

const element = (id) => document.getElementById(id);
const WORDS = {
  "appointment.created": "Booked", "appointment.rescheduled": "Moved", "appointment.canceled": "Canceled",
  "appointment.confirmed": "Confirmed", "appointment.checked_in": "Arrived", "appointment.started": "Started",
  "appointment.completed": "Completed", "appointment.no_show": "Did not come", "hold.created": "Held", "hold.expired": "Hold expired", "hold.released": "Hold released",
};
const FEED_MAX = 60;

const board = new Board();
let session = null;

class Refused extends Error {}

class Session {
  constructor(token) {
    this.token = token;
    this.claims = readClaims(token);
    this.clinic = `/v1/clinics/${this.claims.clinic_id}`;
    this.heard = 0;
    this.feed = new Feed(token, {
      message: (message) => this.hear(message),
      state: (name, text) => showState(name, text),
      resync: () => this.load(),
      refused: (reason) => signOut(reason),
    });
  }

  async get(path, parameters = {}) {
    const address = new URL(this.clinic + path, location.href);
    for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
    const answer = await fetch(address, { headers: { authorization: `Bearer ${this.token}` } });
    if (answer.status === 401) throw new Refused("The token was not accepted.");
    if (!answer.ok) throw new Error(`${path || "clinic"} answered ${answer.status}`);
    return answer.json();
  }

  /** Every page of a list. */
  async list(path, name, parameters = {}) {
    const found = [];
    let pageToken = "";
    do {
      const page = await this.get(path, pageToken ? { ...parameters, pageToken } : parameters);
      found.push(...page[name]);
      pageToken = page.nextPageToken;
    } while (pageToken && found.length < 2000);
    return found;
  }

  async names(path, name) {
    try {
      return await this.list(path, name, { pageSize: 200 });
    } catch (error) {
      if (error instanceof Refused) throw error;
      return [];
    }
  }

  async begin(wanted) {
    const [clinic, locations, services, rooms] = await Promise.all([
      this.get("").then((reply) => reply.clinic ?? reply).catch((error) => { if (error instanceof Refused) throw error; return {}; }),
      this.names("/locations", "locations"), this.names("/services", "services"), this.names("/rooms", "rooms"),
    ]);
    element("clinic").textContent = clinic.name || "Live day";
    this.locations = locations.length ? locations : wanted.location ? [{ id: wanted.location, name: "Location", timezone: "UTC" }] : [];
    if (!this.locations.length) throw new Refused("This clinic has no location to show.");
    this.services = new Map(services.map((service) => [service.id, service.name]));
    this.rooms = new Map(rooms.map((room) => [room.id, room.name]));
    element("location").replaceChildren(...this.locations.map((place) => make("option", place.name, { value: place.id })));
    const place = this.locations.find((each) => each.id === wanted.location) ?? this.locations[0];
    element("location").value = place.id;
    element("location").hidden = element("days").hidden = element("day-view").hidden = false;
    element("sign-in").hidden = true;
    await this.open(place, wanted.date || localNow(place.timezone).slice(0, 10));
  }

  /** Show a day of a location and follow it. */
  async open(place, day) {
    this.place = place;
    this.day = day;
    element("day").textContent = new Date(`${day}T12:00:00Z`).toLocaleDateString("en", { weekday: "short", day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
    const providers = await this.names(`/providers`, "providers");
    const here = providers.filter((provider) => !provider.locationId || provider.locationId === place.id);
    board.begin(day, place.id, {
      providers: new Map(here.map((provider) => [provider.id, provider])), services: this.services, rooms: this.rooms,
    });
    element("feed").replaceChildren();
    // Live first, then the list: what happens in between is told by both, and the newer version stays.
    this.feed.follow([`location:${place.id}:${day}`]);
    await this.load();
    tick();
  }

  async load() {
    const day = this.day;
    // What is told while the list is under way may be younger than the list.
    const told = this.told = new Set();
    try {
      const visits = await this.list("/appointments", "appointments", { locationId: this.place.id, date: day, limit: 200 });
      if (day !== this.day) return;
      board.keepOnly(new Set([...visits.map((visit) => visit.id), ...told]));
      for (const visit of visits) board.apply(visit, false);
    } catch (error) {
      if (error instanceof Refused) signOut(error.message);
      else tell("link", "The list could not be read", "Only what happens from now on is shown.");
    }
  }

  hear(message) {
    this.heard += 1;
    element("heard").textContent = this.heard;
    if (message.type === "availability.invalidated" || message.type === "directory.changed") return;
    this.told?.add(message.payload.appointmentId);
    const known = board.apply(message.payload, true);
    if (known === null) return;
    const { payload, type } = message;
    const service = this.services.get(payload.serviceId) ?? "Visit";
    const status = type.endsWith("canceled") ? "canceled" : payload.status;
    tell(status, `${WORDS[type] ?? type.split(".")[1]}: ${service}`, whereabouts(payload));
  }
}

/** `09:00 → 10:30 · Dr. Chen`: what differs is shown with what it was. */
function whereabouts({ start, providerId, previous }) {
  const name = (id) => board.names.providers.get(id)?.name ?? "";
  const change = (was, is) => (was && was !== is ? `${was} → ${is}` : is);
  const parts = [change(previous?.start.slice(11, 16), start.slice(11, 16)), change(previous && name(previous.providerId), name(providerId))];
  return parts.filter(Boolean).join(" · ");
}

function readClaims(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    if (claims.clinic_id) return claims;
  } catch {
    // Not a token: said below.
  }
  throw new Refused("This is not a token of a clinic.");
}

function localNow(zone) {
  const parts = new Intl.DateTimeFormat("sv", { timeZone: zone || "UTC", dateStyle: "short", timeStyle: "medium" }).format(new Date());
  return parts.replace(" ", "T");
}

function tell(status, title, text) {
  const entry = make("li", "", { "data-status": status });
  entry.append(make("time", new Date().toTimeString().slice(0, 8)), make("b", title), make("span", text));
  const feed = element("feed");
  feed.prepend(entry);
  while (feed.children.length > FEED_MAX) feed.lastChild.remove();
}

function showState(name, text) {
  const state = element("state");
  const before = state.dataset.state;
  state.dataset.state = name;
  element("state-text").textContent = text;
  if (name === "waiting" && before === "live") tell("link", "Connection lost", "Trying again");
  if (name === "live" && before === "resuming") tell("link", "Connected again", "What was missed has been told");
}

function signOut(reason) {
  session?.feed.follow([]);
  session = null;
  element("day-view").hidden = element("days").hidden = element("location").hidden = true;
  element("sign-in").hidden = false;
  element("fault").textContent = reason;
  element("fault").hidden = !reason;
  showState("idle", "Not connected");
}

function tick() {
  if (session?.place) board.tick(localNow(session.place.timezone));
}

async function signIn(token, wanted = {}) {
  try {
    session = new Session(token.trim());
    await session.begin(wanted);
  } catch (error) {
    signOut(error instanceof Refused ? error.message : `The day could not be shown: ${error.message}.`);
  }
}

function step(days) {
  const day = new Date(`${session.day}T12:00:00Z`);
  day.setUTCDate(day.getUTCDate() + days);
  session.open(session.place, day.toISOString().slice(0, 10));
}

element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = element("token");
  const token = field.value;
  field.value = "";
  signIn(token);
});
element("location").addEventListener("change", (event) => session.open(session.locations.find((place) => place.id === event.target.value), session.day));
element("previous").addEventListener("click", () => step(-1));
element("next").addEventListener("click", () => step(1));
element("today").addEventListener("click", () => session.open(session.place, localNow(session.place.timezone).slice(0, 10)));
setInterval(tick, 20000);

// A token may come in the fragment, which no server sees; it leaves the address at once.
const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has("token")) {
  history.replaceState(null, "", location.pathname);
  signIn(fragment.get("token"), { location: fragment.get("location"), date: fragment.get("date") });
}
