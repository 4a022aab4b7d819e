// Search, book, be refused, cancel: over gRPC, from Node.js. Reads what `medforall env` prints.
//   eval "$(.venv/bin/medforall env)" && node clients/node-grpc/book.mjs
import { randomUUID } from "node:crypto";
import { caller, loadContracts } from "./medforall.js";

const { AVAILABILITY_GRPC, BOOKING_GRPC, TOKEN, CLINIC, LOCATION, SERVICE, PATIENT, CA_FILE, CLIENT_CERT_FILE, CLIENT_KEY_FILE } = process.env;
const tls = CA_FILE && { ca: CA_FILE, certificate: CLIENT_CERT_FILE, key: CLIENT_KEY_FILE };
const contracts = loadContracts();
const search = caller(contracts.availability.v1.AvailabilityService, AVAILABILITY_GRPC, TOKEN, tls);
const booking = caller(contracts.booking.v1.BookingService, BOOKING_GRPC, TOKEN, tls);

const day = (offset) => new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10);
const place = { clinic_id: CLINIC, location_id: LOCATION, service_id: SERVICE };
const found = await search("SearchSlots", { ...place, start: day(1), end: day(15), patient_id: PATIENT, order_by: "SLOT_ORDER_TIME", limit: 1 });
const [slot] = found.slots;

const visit = { ...place, patient_id: PATIENT, provider_id: slot.provider.id, start: slot.start };
const { appointment } = await booking("CreateAppointment", { ...visit, idempotency_key: randomUUID() });
console.log(`booked ${appointment.id} at ${appointment.start}`);

const refusal = await booking("CreateAppointment", { ...visit, idempotency_key: randomUUID() }).catch((error) => error);
console.log(`again: ${refusal.reason}`);

const canceled = await booking("CancelAppointment", {
  clinic_id: CLINIC, appointment_id: appointment.id, etag: appointment.etag, reason: "only trying", idempotency_key: randomUUID(),
});
console.log(`now ${canceled.appointment.status}, version ${canceled.appointment.version}`);
search.close();
booking.close();
