// How the TypeScript client is used, in all its forms: `npm run check` compiles it and runs nothing.
import { Medforall, MedforallError, type Answer, type Appointment, type CreateAppointmentRequest, type Unchanged } from "../typescript/index.js";

const clinic = new Medforall({ baseUrl: "http://127.0.0.1:8080", token: async () => "token", attempts: 2 });
const clinicId = "01980000-0000-7000-8000-000000000000";

export async function book(visit: CreateAppointmentRequest, signal: AbortSignal): Promise<Appointment | undefined> {
  const found = await clinic.searchSlots({ clinicId, serviceId: visit.serviceId!, locationId: visit.locationId!, start: "2026-02-20", end: "2026-02-21", limit: 5 });
  for (const slot of found.data.slots) {
    try {
      const booked = await clinic.createAppointment({ clinicId }, { ...visit, start: slot.start }, { idempotencyKey: "one", signal });
      return booked.data.appointment;
    } catch (error) {
      if (!(error instanceof MedforallError) || error.status !== 409) throw error;
      const free: string[] = (error.details.bookingConflict?.anyProvider ?? []).map((other) => other.start);
      console.log(error.reason, error.requestId, free);
    }
  }
  return undefined;
}

export async function read(appointmentId: string, known: string): Promise<void> {
  const again: Answer<{ appointment?: Appointment }> | Unchanged = await clinic.getAppointment({ clinicId, appointmentId }, { ifNoneMatch: known });
  if (again.data === undefined) return; // it is as it is known
  const answer: Answer<{ appointment?: Appointment }> = await clinic.getAppointment({ clinicId, appointmentId });
  const etag: string | null = answer.etag;
  await clinic.updateAppointment({ clinicId, appointmentId }, { status: "canceled" }, { ifMatch: etag ?? "" });
  // @ts-expect-error a status that there is not
  await clinic.updateAppointment({ clinicId, appointmentId }, { status: "vanished" });
  // @ts-expect-error the clinic must be named
  await clinic.getAppointment({ appointmentId });
}
