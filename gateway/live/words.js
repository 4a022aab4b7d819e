// What is said: the words for what happens, for states, days and times of the location's clock.

const EVENTS = {
  "appointment.created": "Booked", "appointment.updated": "Changed", "appointment.rescheduled": "Moved",
  "appointment.canceled": "Canceled", "appointment.confirmed": "Confirmed", "appointment.checked_in": "Arrived",
  "appointment.started": "Started", "appointment.completed": "Completed", "appointment.no_show": "Did not come",
  "hold.created": "Held", "hold.rescheduled": "Hold moved", "hold.renewed": "Held for longer",
  "hold.confirmed": "Hold booked", "hold.released": "Hold given back", "hold.expired": "Hold ran out",
};
const STATUSES = {
  held: "held", scheduled: "scheduled", confirmed: "confirmed", checked_in: "arrived", in_progress: "in progress",
  completed: "completed", no_show: "did not come",
};

/** What a board shows; everything else has left it. */
export const SHOWN = Object.keys(STATUSES);
export const eventWord = (type) => EVENTS[type] ?? "Changed";
export const statusWord = (status) => STATUSES[status] ?? status;
export const clockOf = (local) => local.slice(11, 16);
export const dayOf = (local) => local.slice(0, 10);

/** Minutes from a day's midnight to a local time: below 0 or above 1440 is another day, cut at the edge. */
export function minuteOn(day, local) {
  if (dayOf(local) !== day) return dayOf(local) < day ? 0 : 1440;
  return Number(local.slice(11, 13)) * 60 + Number(local.slice(14, 16));
}

/** An instant on the clock of a zone, `2026-02-20T09:00:00`. */
export function localTime(zone, instant = new Date()) {
  const shown = new Intl.DateTimeFormat("sv", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
  return shown.format(instant).replace(" ", "T");
}

export function dayInWords(day, style = "long") {
  const parts = { weekday: style, day: "numeric", month: style, year: "numeric", timeZone: "UTC" };
  return new Date(`${day}T12:00:00Z`).toLocaleDateString("en-GB", parts);
}

export function dayAfter(day, days) {
  const moved = new Date(`${day}T12:00:00Z`);
  moved.setUTCDate(moved.getUTCDate() + days);
  return moved.toISOString().slice(0, 10);
}

export const counted = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
