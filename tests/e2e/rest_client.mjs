// What an integrator does with the TypeScript client, on a running suite; prints one JSON line a step.
// The variables are those that `medforall env` prints; CLIENT is the address of the client's module.
const { CLIENT, GATEWAY, TOKEN, CLINIC, LOCATION, SERVICE, PATIENT } = process.env;
const { Medforall, MedforallError } = await import(CLIENT);

const clinic = new Medforall({ baseUrl: GATEWAY, token: async () => TOKEN });
const say = (step, value) => console.log(JSON.stringify({ step, ...value }));
const day = (offset) => new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10);
const refusal = async (call) => {
  try {
    await call;
    return { refused: false };
  } catch (error) {
    if (!(error instanceof MedforallError)) throw error;
    return { status: error.status, reason: error.reason, hasId: error.requestId.length > 0, details: Object.keys(error.details) };
  }
};

// A page's stream of events, opened by a ticket: it tells the types of what happened to one appointment.
const { data: { ticket } } = await clinic.createRealtimeTicket({});
const stream = await fetch(`${GATEWAY}/v1/realtime/sse?clinicId=${CLINIC}&ticket=${ticket}`, { signal: AbortSignal.timeout(40_000) });
const heard = (async (text = "") => {
  const decoder = new TextDecoder();
  for await (const chunk of stream.body) {
    text += decoder.decode(chunk, { stream: true });
    const messages = [...text.matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json));
    const mine = messages.filter(({ payload }) => JSON.stringify(payload ?? {}).includes(appointmentId ?? "none yet"));
    if (mine.some(({ type }) => type === "appointment.canceled")) return mine.map(({ type }) => type);
  }
})();
let appointmentId;

const place = { serviceId: SERVICE, locationId: LOCATION };
const wanted = { clinicId: CLINIC, ...place, start: day(8), end: day(20), patientId: PATIENT, limit: 40 };
const found = await clinic.searchSlots(wanted);
const again = await clinic.searchSlots(wanted, { ifNoneMatch: found.etag });
const [first, ...others] = found.data.slots;
const next = others.find((slot) => slot.provider.id === first.provider.id && slot.start.slice(0, 10) !== first.start.slice(0, 10));
say("search", { slots: found.data.slots.length, again: again.status });

const visit = { ...place, patientId: PATIENT, providerId: first.provider.id, start: first.start };
const key = { idempotencyKey: crypto.randomUUID() };
const hold = await clinic.createHold({ clinicId: CLINIC }, visit, key);
const repeated = await clinic.createHold({ clinicId: CLINIC }, visit, key);
appointmentId = hold.data.appointment.id;
const at = { clinicId: CLINIC, appointmentId };
say("hold", { status: hold.status, state: hold.data.appointment.status, replayed: repeated.replayed, same: repeated.data.appointment.id === appointmentId });
say("key reused", await refusal(clinic.createHold({ clinicId: CLINIC }, { ...visit, start: next.start }, key)));

const booked = await clinic.confirmHold({ clinicId: CLINIC, holdId: appointmentId }, { holdToken: hold.data.holdToken });
say("confirm", { state: booked.data.appointment.status });
say("taken", await refusal(clinic.createAppointment({ clinicId: CLINIC }, visit)));

const listed = await clinic.listAppointments({ clinicId: CLINIC, patientId: PATIENT, date: first.start.slice(0, 10), status: ["scheduled", "confirmed"] });
say("list", { has: listed.data.appointments.some(({ id }) => id === appointmentId) });

const moved = await clinic.rescheduleAppointment(at, { start: next.start }, { ifMatch: booked.etag });
say("reschedule", { moved: moved.data.appointment.start === next.start });
say("stale", await refusal(clinic.cancelAppointment(at, { reason: "too late" }, { ifMatch: booked.etag })));
const canceled = await clinic.cancelAppointment(at, { reason: "only trying" }, { ifMatch: moved.etag });
say("cancel", { state: canceled.data.appointment.status });

say("malformed", await refusal(clinic.searchSlots({ ...wanted, locationId: "nowhere" })));
say("stranger", await refusal(new Medforall({ baseUrl: GATEWAY, token: "nobody" }).getAppointment(at)));
say("events", { types: await heard });
process.exit(0);
