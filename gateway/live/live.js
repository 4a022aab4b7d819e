// The page: takes a token, and gives its buttons and fields something to do.

import { Failed } from "/live/api.js";
import { element, make } from "/live/dom.js";
import { Session } from "/live/session.js";
import { allRight, tell, warn } from "/live/story.js";
import { clockOf, dayAfter, dayInWords, localTime } from "/live/words.js";

const TICK_MS = 15000;
// A break that heals at once need not move the board.
const WARN_MS = 2000;
const AGAIN_MS = [2000, 4000, 8000, 15000];

let session = null;
let warning = 0;
let beginning = 0;
let attempt = 0;

function clockNow() {
  return session?.place ? clockOf(localTime(session.zone)) : "";
}

function showState(name, text) {
  const state = element("state");
  const wasLive = state.dataset.state === "live";
  const isLost = name === "waiting" || name === "offline";
  state.dataset.state = name;
  element("state-text").textContent = text;
  if (name === "live" || name === "idle" || name === "ended") {
    clearTimeout(warning);
    warn("link");
    if (name === "live" && state.dataset.lost) tell("link", clockNow(), "Connected again", "What was missed has been told");
    delete state.dataset.lost;
  } else if (wasLive && isLost) {
    state.dataset.lost = clockNow();
    tell("link", clockNow(), "Connection lost", "Trying again");
    warning = setTimeout(() => warn("link", `Not live since ${state.dataset.lost}: what you see may be out of date.`), WARN_MS);
  }
}

function shows({ directory, place, day, followsToday }) {
  const { locations, clinic } = directory;
  document.title = `${place.name} · ${dayInWords(day, "short")} · medforall`;
  element("clinic").textContent = clinic.name || "Your clinic";
  element("place").textContent = place.name;
  element("day").textContent = dayInWords(day);
  element("day").dateTime = day;
  element("today").ariaPressed = String(followsToday);
  element("location").replaceChildren(...locations.map((each) => make("option", each.name, { value: each.id })));
  element("location").value = place.id;
  element("location").hidden = locations.length < 2;
  for (const each of ["heading", "days", "day-view"]) element(each).hidden = false;
  element("sign-in").hidden = element("brand").hidden = true;
}

function signOut(reason) {
  clearTimeout(beginning);
  session?.end();
  session = null;
  allRight();
  openDrawer(false);
  document.title = "Live day · medforall";
  for (const each of ["heading", "days", "location", "day-view"]) element(each).hidden = true;
  element("sign-in").hidden = element("brand").hidden = false;
  atDoor(reason);
  showState("idle", "Not connected");
}

/** Say something beside the form; `again` is what its second button tries. */
function atDoor(text, again = null) {
  element("fault").textContent = text;
  element("fault").hidden = !text;
  element("retry").hidden = !again;
  element("retry").onclick = again;
}

async function signIn(token, wanted = {}) {
  signOut("");
  try {
    session = new Session(token.trim(), { state: showState, shows, signOut });
    showState("waiting", "Connecting…");
    await begin(session, wanted);
  } catch (error) {
    signOut(error.message);
  }
}

/** A server that is away is asked again by itself; the token is kept meanwhile. */
async function begin(mine, wanted) {
  try {
    await mine.begin(wanted);
    attempt = 0;
  } catch (error) {
    // Somebody has come in with another token meanwhile.
    if (mine !== session) return;
    if (!(error instanceof Failed)) throw error;
    const wait = AGAIN_MS[Math.min(attempt++, AGAIN_MS.length - 1)];
    const again = () => {
      clearTimeout(beginning);
      begin(mine, wanted).catch((fault) => signOut(fault.message));
    };
    atDoor(`The clinic could not be read: ${error.message} Trying again in ${wait / 1000} s.`, again);
    beginning = setTimeout(again, wait);
  }
}

function openDrawer(isOpen) {
  element("side").classList.toggle("open", isOpen);
  element("more").ariaExpanded = String(isOpen);
  if (isOpen) element("less").focus();
}

function submitted(form, field, take) {
  element(form).addEventListener("submit", (event) => {
    event.preventDefault();
    const { value } = element(field);
    element(field).value = "";
    take(value);
  });
}

submitted("token-form", "token", (token) => signIn(token));
submitted("renewal", "renewal-token", (token) => {
  try {
    session.renew(token.trim());
  } catch (error) {
    warn("token", error.message);
  }
});
const placed = (id) => session.directory.locations.find((place) => place.id === id);
element("location").addEventListener("change", (event) => session.open(placed(event.target.value), session.day));
element("previous").addEventListener("click", () => session.open(session.place, dayAfter(session.day, -1)));
element("next").addEventListener("click", () => session.open(session.place, dayAfter(session.day, 1)));
element("today").addEventListener("click", () => session.open(session.place, session.today));
element("more").addEventListener("click", () => openDrawer(!element("side").classList.contains("open")));
element("less").addEventListener("click", () => { openDrawer(false); element("more").focus(); });
addEventListener("keydown", (event) => { if (event.key === "Escape") openDrawer(false); });
setInterval(() => session?.tick(), TICK_MS);
document.addEventListener("visibilitychange", () => session?.tick());

// A token may come in the fragment, which no server sees; it leaves the address at once.
const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has("token")) {
  history.replaceState(null, "", location.pathname);
  signIn(fragment.get("token"), { location: fragment.get("location"), date: fragment.get("date") });
}
