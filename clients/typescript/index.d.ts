// Made from docs/openapi.json by `make clients`; not edited by hand.

export class MedforallError extends Error {
  status: number;
  reason: string;
  details: NonNullable<Error_["details"]>;
  requestId: string;
}

export interface Answer<T> { status: number; etag: string | null; replayed: boolean; data: T }

/** The answer when what `ifNoneMatch` names still holds. */
export interface Unchanged { status: 304; etag: string | null; replayed: false; data: undefined }

export interface CallOptions {
  /** The `etag` that was read; the call is refused with STALE_ETAG when it has changed since. */
  ifMatch?: string;
  /** One per intent; a fresh one is made when it is left out. */
  idempotencyKey?: string;
  /** Ends the call, and the wait for another try. */
  signal?: AbortSignal;
}

export interface ConditionalOptions extends CallOptions {
  /** The `etag` of the answer at hand. */
  ifNoneMatch?: string;
}

export interface Settings {
  baseUrl: string;
  token?: string | (() => string | Promise<string>);
  fetch?: typeof globalThis.fetch;
  timeoutMs?: number;
  /** How often a call is tried, the first time included; only what may safely be tried again is. */
  attempts?: number;
  firstWaitMs?: number;
  /** The longest wait for another try; a call whose service asks for a longer one fails at once. */
  waitMaxMs?: number;
}

/** A postal address. */
export type Address = {
  street: string;
  city: string;
  state: string;
  zip: string;
  country: string;
};

/** A postal address. */
export type AddressInput = {
  street?: string | null;
  city?: string | null;
  state?: string | null;
  zip?: string | null;
  country?: string | null;
};

/** A visit of a patient with a provider, with the room and equipment it uses. */
export type Appointment = {
  id: string;
  clinicId: string;
  locationId: string;
  /** Empty only on a hold whose patient is not known yet. */
  patientId: string;
  providerId: string;
  /** Absent when no room is used. */
  roomId?: string;
  serviceId: string;
  /** Local start at the location with its offset, `2026-02-20T09:00:00-05:00`. */
  start: string;
  /** Local end with its offset. */
  end: string;
  startUTC?: string;
  endUTC?: string;
  status: "unspecified" | "held" | "scheduled" | "confirmed" | "checked_in" | "in_progress" | "completed" | "canceled" | "no_show" | "released" | "expired";
  /** Free text about the visit. Left out for callers without `read:phi` or a staff role. */
  notes: string;
  createdAt?: string;
  updatedAt?: string;
  /** Raised by every change. */
  version: string;
  /** The version as an entity tag, quotes included; send it back as `If-Match` or `etag`. */
  etag: string;
  roomSelectionMode: "unspecified" | "auto" | "specific" | "none";
  /** Equipment the visit uses, with its units. */
  equipment: Array<EquipmentUse>;
  /** IANA zone of the location. */
  timezone: string;
  /** Set when staff booked against soft rules. */
  override?: Override;
  /** Why it was canceled or last moved, in the caller's words. */
  reason: string;
  /** When a hold ends by itself; absent otherwise. */
  expiresAt?: string;
};

/** Who did what, when, from where. Append-only; without patient data. */
export type AuditEvent = {
  id: string;
  clinicId: string;
  /** Subject and role of the token that acted. */
  actor: string;
  actorRole: string;
  /** `appointment.create`, `patient.read` and so on. */
  action: string;
  entityType: string;
  entityId: string;
  at?: string;
  /** Address of the caller as the gateway saw it. */
  sourceIp: string;
  requestId: string;
  /** JSON of the changed fields before and after, without patient data. */
  beforeJson: string;
  afterJson: string;
  /** True once the row is part of the clinic's hash chain. */
  sealed: boolean;
  /** Why, where the caller said so: sealed in the database, and shown to those who may read the audit. */
  reason: string;
};

/** They, in the same order. */
export type BatchGetPatientsResponse = {
  patients: Array<Patient>;
};

/** Several searches. */
export type BatchSearchSlotsRequest = {
  /** Each names the same clinic. */
  searches: Array<SearchSlotsRequest>;
};

/** Their answers, in the same order. */
export type BatchSearchSlotsResponse = {
  results: Array<SearchSlotsResponse>;
};

/** Why a booking was refused and what is free instead: a detail of every refusal of a time where another one may do, by something taken, a rule, the hours or the grid. Never tells of another patient. A slot names its three best rooms at most, and the farthest slots are left out where names are so long that all would not fit. */
export type BookingConflict = {
  /** What is taken; nothing when a rule, the hours or the grid say no. */
  taken: Array<TakenResource>;
  /** Up to three nearest free slots of the same provider. */
  sameProvider: Array<Slot>;
  /** Up to three nearest free slots of any provider. */
  anyProvider: Array<Slot>;
};

/** Emergency access to patients' data: one hour, with a reason, reviewed afterwards. */
export type BreakGlassGrant = {
  id: string;
  clinicId: string;
  actor: string;
  /** Empty: every patient of the clinic. */
  patientId: string;
  reason: string;
  grantedAt?: string;
  expiresAt?: string;
};

/** Why access is needed. */
export type BreakGlassRequest = {
  /** The patient concerned; empty: all of the clinic. */
  patientId?: string | null;
  /** Why, in the caller's words; sealed like every text that may speak of a patient. */
  reason: string;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The grant. */
export type BreakGlassResponse = {
  grant?: BreakGlassGrant;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** A taken interval of one unit. */
export type BusyInterval = {
  interval?: LocalInterval;
  unit: number;
};

/** Which appointment to cancel, and why. */
export type CancelAppointmentRequest = {
  reason?: string | null;
  /** The entity tag that was read; refused with `STALE_ETAG` when the appointment has changed. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The appointment after the change. */
export type CancelAppointmentResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Who arrived. */
export type CheckInAppointmentRequest = {
  reason?: string | null;
  /** The entity tag that was read; refused with `STALE_ETAG` when the appointment has changed. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The appointment after the change. */
export type CheckInAppointmentResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** A tenant: one clinic with its own data, key and limits.  In all entities, fields that are needed may be left out of an update whose mask does not name them. */
export type Clinic = {
  id: string;
  name: string;
  /** IANA zone of locations that name none. */
  defaultTimezone: string;
  /** Changed by SetClinicStatus only. */
  status: "unspecified" | "active" | "suspended" | "archived";
  /** Opens search and public information to callers without a token. */
  publicSearch: boolean;
  /** Requests a minute over all users; 0 means 5,000. */
  requestsPerMinute: number;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** A tenant: one clinic with its own data, key and limits.  In all entities, fields that are needed may be left out of an update whose mask does not name them. */
export type ClinicInput = {
  id?: string | null;
  name?: string | null;
  /** IANA zone of locations that name none. */
  defaultTimezone?: string | null;
  /** Changed by SetClinicStatus only. */
  status?: "active" | "suspended" | "archived" | null;
  /** Opens search and public information to callers without a token. */
  publicSearch?: boolean | null;
  /** Requests a minute over all users; 0 means 5,000. */
  requestsPerMinute?: number | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** Time when a location, or every location of the clinic, is closed. */
export type Closure = {
  id: string;
  clinicId: string;
  /** Empty: the whole clinic. */
  locationId: string;
  /** Local wall clock, `YYYY-MM-DDTHH:MM`, half-open. */
  start: string;
  end: string;
  reason: string;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** Time when a location, or every location of the clinic, is closed. */
export type ClosureInput = {
  id?: string | null;
  clinicId?: string | null;
  /** Empty: the whole clinic. */
  locationId?: string | null;
  /** Local wall clock, `YYYY-MM-DDTHH:MM`, half-open. */
  start?: string | null;
  end?: string | null;
  reason?: string | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** Which visit is over. */
export type CompleteAppointmentRequest = {
  reason?: string | null;
  /** The entity tag that was read; refused with `STALE_ETAG` when the appointment has changed. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The appointment after the change. */
export type CompleteAppointmentResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which appointment to confirm. */
export type ConfirmAppointmentRequest = {
  reason?: string | null;
  /** The entity tag that was read; refused with `STALE_ETAG` when the appointment has changed. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The appointment after the change. */
export type ConfirmAppointmentResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which hold becomes an appointment. */
export type ConfirmHoldRequest = {
  /** The token that CreateHold told. */
  holdToken: string;
  /** Required when the hold has no patient yet; must be the same when it has. */
  patientId?: string | null;
  notes?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The appointment that the hold became. */
export type ConfirmHoldResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** A user and its connections. */
export type ConnectedUser = {
  userId: string;
  connections: number;
};

/** How to reach a patient. */
export type Contact = {
  phone: string;
  email: string;
  /** `phone`, `email` or `sms`. */
  preferredMethod: string;
};

/** How to reach a patient. */
export type ContactInput = {
  phone?: string | null;
  email?: string | null;
  /** `phone`, `email` or `sms`. */
  preferredMethod?: string | null;
};

/** What to book. */
export type CreateAppointmentRequest = {
  patientId: string;
  serviceId: string;
  providerId: string;
  /** May be left out when the room, or the provider's windows at that time, leave exactly one. */
  locationId?: string | null;
  /** ISO 8601 local time of the location, whole minutes; an offset decides a time that occurs twice. */
  start: string;
  /** When given it must equal start plus a duration that the service allows; empty means the service's duration. */
  end?: string | null;
  roomId?: string | null;
  roomSelectionMode?: "auto" | "specific" | "none" | null;
  notes?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** When the slots that this came from were fetched; older than 30 s is refused. */
  availabilityFetchedAt?: string | null;
  /** Staff with `override:booking`: why soft rules (grid, lead time, daily limit, blackout, patient limit) may be broken. */
  overrideReason?: string | null;
};

/** The appointment as booked. */
export type CreateAppointmentResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** The clinic. */
export type CreateClinicResponse = {
  clinic?: Clinic;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What was created. */
export type CreateClosureResponse = {
  closure?: Closure;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What was created. */
export type CreateEquipmentResponse = {
  equipment?: Equipment;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What to hold. */
export type CreateHoldRequest = {
  /** May stay empty until the hold is confirmed. */
  patientId?: string | null;
  serviceId: string;
  providerId: string;
  /** May be left out when the room, or the provider's windows at that time, leave exactly one. */
  locationId?: string | null;
  /** ISO 8601 local time of the location, whole minutes; an offset decides a time that occurs twice. */
  start: string;
  /** When given it must equal start plus a duration that the service allows; empty means the service's duration. */
  end?: string | null;
  roomId?: string | null;
  roomSelectionMode?: "auto" | "specific" | "none" | null;
  notes?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** When the slots that this came from were fetched; older than 30 s is refused. */
  availabilityFetchedAt?: string | null;
  /** Staff with `override:booking`: why soft rules (grid, lead time, daily limit, blackout, patient limit) may be broken. */
  overrideReason?: string | null;
  /** How long, in seconds; 0 means 300. */
  ttlSeconds?: number | null;
};

/** The hold. */
export type CreateHoldResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
  /** Whoever has it may renew, confirm or release the hold, and search as if it were free. */
  holdToken: string;
};

/** What was created. */
export type CreateLocationResponse = {
  location?: Location;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What was created. */
export type CreatePatientResponse = {
  patient?: Patient;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What was created. */
export type CreatePreferenceResponse = {
  preference?: Preference;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What was created. */
export type CreateProviderResponse = {
  provider?: Provider;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What was created. */
export type CreateRoomResponse = {
  room?: Room;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What was created. */
export type CreateServiceResponse = {
  service?: Service;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What was created. */
export type CreateServiceRuleResponse = {
  serviceRule?: ServiceRule;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** What was created. */
export type CreateWindowResponse = {
  window?: Window_;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** A run of grid starts with the same answer. */
export type DayRun = {
  interval?: LocalInterval;
  free: boolean;
  /** What blocks it, most telling first. */
  blockedBy: Array<RuleOutcome>;
};

/** A span of the local day, half-open. */
export type DaySpan = {
  /** `HH:MM`. */
  start: string;
  end: string;
};

/** A span of the local day, half-open. */
export type DaySpanInput = {
  /** `HH:MM`. */
  start: string;
  end: string;
};

/** Which one to take out of use. */
export type DeactivateClosureRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivateClosureResponse = {
  closure?: Closure;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which one to take out of use. */
export type DeactivateEquipmentRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivateEquipmentResponse = {
  equipment?: Equipment;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which one to take out of use. */
export type DeactivateLocationRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivateLocationResponse = {
  location?: Location;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which one to take out of use. */
export type DeactivatePatientRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivatePatientResponse = {
  patient?: Patient;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which one to take out of use. */
export type DeactivatePreferenceRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivatePreferenceResponse = {
  preference?: Preference;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which one to take out of use. */
export type DeactivateProviderRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivateProviderResponse = {
  provider?: Provider;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which one to take out of use. */
export type DeactivateRoomRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivateRoomResponse = {
  room?: Room;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which one to take out of use. */
export type DeactivateServiceRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivateServiceResponse = {
  service?: Service;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which one to take out of use. */
export type DeactivateServiceRuleRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivateServiceRuleResponse = {
  serviceRule?: ServiceRule;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which one to take out of use. */
export type DeactivateWindowRequest = {
  /** The entity tag that was read. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  /** Refuse with `WOULD_DISPLACE` instead of listing visits that fall outside. */
  strict?: boolean | null;
};

/** It, out of use. */
export type DeactivateWindowResponse = {
  window?: Window_;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** A visit that no longer fits after a change. No patient data. */
export type DisplacedAppointment = {
  appointmentId: string;
  startUTC?: string;
  endUTC?: string;
  reason: "" | "INVALID_ARGUMENT" | "NONEXISTENT_LOCAL_TIME" | "UNAUTHENTICATED" | "PERMISSION_DENIED" | "NOT_FOUND" | "SLOT_ALREADY_BOOKED" | "ROOM_ALREADY_BOOKED" | "EQUIPMENT_UNAVAILABLE" | "PATIENT_ALREADY_BOOKED" | "ALREADY_EXISTS" | "STALE_AVAILABILITY" | "CONCURRENT_BOOKING" | "IDEMPOTENCY_IN_PROGRESS" | "STALE_ETAG" | "IDEMPOTENCY_KEY_REUSED" | "MAX_DAILY_REACHED" | "MIN_GAP" | "LEAD_TIME" | "TOO_FAR_AHEAD" | "BLACKOUT_DATE" | "PATIENT_LIMIT" | "PROVIDER_NOT_ALLOWED" | "ROOM_TYPE" | "OUTSIDE_HOURS" | "OFF_GRID" | "DURATION_NOT_ALLOWED" | "INVALID_TRANSITION" | "HOLD_EXPIRED" | "HOLD_TOKEN_MISMATCH" | "CLINIC_SUSPENDED" | "RESOURCE_INACTIVE" | "WOULD_DISPLACE" | "LIMIT_REACHED" | "RATE_LIMIT_EXCEEDED" | "OVERLOADED" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "NOT_IMPLEMENTED" | "INTERNAL";
};

/** An equipment item, or a pool of equal ones. */
export type Equipment = {
  id: string;
  clinicId: string;
  /** Empty: usable at every location of the clinic. */
  locationId: string;
  /** `xray`, `ultrasound`, `ecg`, or the clinic's own word. */
  type: string;
  name: string;
  /** Units of the pool; 0 means 1. */
  quantity: number;
  /** Cleaning or charging after each use, in minutes. */
  turnaroundMin: number;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** An equipment item, or a pool of equal ones. */
export type EquipmentInput = {
  id?: string | null;
  clinicId?: string | null;
  /** Empty: usable at every location of the clinic. */
  locationId?: string | null;
  /** `xray`, `ultrasound`, `ecg`, or the clinic's own word. */
  type?: string | null;
  name?: string | null;
  /** Units of the pool; 0 means 1. */
  quantity?: number | null;
  /** Cleaning or charging after each use, in minutes. */
  turnaroundMin?: number | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** Units of one equipment item that a visit uses. */
export type EquipmentUse = {
  equipmentId: string;
  /** Which units of the pool, 1 and up. */
  units: Array<number>;
};

/** The day, provider by provider. */
export type ExplainDayResponse = {
  providers: Array<ProviderDay>;
  metadata?: SearchMetadata;
};

/** Why that time is free or not. */
export type ExplainSlotResponse = {
  /** True when at least one provider is free: SearchSlots offers it. */
  free: boolean;
  providers: Array<ProviderExplanation>;
  /** The nearest slot that works for any candidate, if one lies within 31 days. */
  nearest?: Slot;
  metadata?: SearchMetadata;
};

/** The first slots, by time. */
export type FindNextAvailableResponse = {
  slots: Array<Slot>;
  metadata?: SearchMetadata;
};

/** The appointment. */
export type GetAppointmentResponse = {
  appointment?: Appointment;
};

/** What the clinic's callers may use together. */
export type GetClinicLimitsResponse = {
  /** Requests a minute of all callers together; 0 means what the gateway is set to. */
  requestsPerMinute: number;
};

/** The clinic. */
export type GetClinicResponse = {
  clinic?: Clinic;
};

/** The one. */
export type GetClosureResponse = {
  closure?: Closure;
};

/** The one. */
export type GetEquipmentResponse = {
  equipment?: Equipment;
};

/** When it is open and when taken. */
export type GetFreeBusyResponse = {
  /** Working or available time, closures and time off taken out. */
  open: Array<LocalInterval>;
  /** Time taken by visits, buffers included, per unit. */
  busy: Array<BusyInterval>;
  metadata?: SearchMetadata;
};

/** The one. */
export type GetLocationResponse = {
  location?: Location;
};

/** The one. */
export type GetPatientResponse = {
  patient?: Patient;
};

/** The one. */
export type GetPreferenceResponse = {
  preference?: Preference;
};

/** Who is connected. */
export type GetPresenceResponse = {
  /** Open connections, all users together. */
  connections: number;
  /** Distinct users. */
  users: number;
  /** Who they are, for admins; empty for others. At most 1,000. */
  connected: Array<ConnectedUser>;
};

/** The one. */
export type GetProviderResponse = {
  provider?: Provider;
};

/** What anybody may know. */
export type GetPublicClinicResponse = {
  clinicId: string;
  name: string;
  timezone: string;
  locations: Array<PublicLocation>;
  services: Array<PublicService>;
};

/** The one. */
export type GetRoomResponse = {
  room?: Room;
};

/** The one. */
export type GetServiceResponse = {
  service?: Service;
};

/** The one. */
export type GetServiceRuleResponse = {
  serviceRule?: ServiceRule;
};

/** The one. */
export type GetWindowResponse = {
  window?: Window_;
};

/** A page of appointments. */
export type ListAppointmentsResponse = {
  appointments: Array<Appointment>;
  /** Empty on the last page. */
  nextPageToken: string;
  page: number;
  limit: number;
};

/** A page of audit rows. */
export type ListAuditEventsResponse = {
  auditEvents: Array<AuditEvent>;
  nextPageToken: string;
};

/** A page of grants. */
export type ListBreakGlassResponse = {
  grants: Array<BreakGlassGrant>;
  nextPageToken: string;
};

/** A page of clinics. */
export type ListClinicsResponse = {
  clinics: Array<Clinic>;
  nextPageToken: string;
};

/** A page of them. */
export type ListClosuresResponse = {
  closures: Array<Closure>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** A page of them. */
export type ListEquipmentResponse = {
  equipment: Array<Equipment>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** A page of them. */
export type ListLocationsResponse = {
  locations: Array<Location>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** Which ones. All filters must hold. */
export type ListPatientsRequest = {
  /** Rows a page; 0 means 50. */
  pageSize?: number | null;
  pageToken?: string | null;
  /** Deactivated ones too. */
  includeInactive?: boolean | null;
  /** Beginning of any word of the name, at least two letters. */
  namePrefix?: string | null;
  phone?: string | null;
  email?: string | null;
  /** `YYYY-MM-DD`. */
  dob?: string | null;
};

/** A page of them. */
export type ListPatientsResponse = {
  patients: Array<Patient>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** A page of them. */
export type ListPreferencesResponse = {
  preferences: Array<Preference>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** A page of them. */
export type ListProvidersResponse = {
  providers: Array<Provider>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** A page of them. */
export type ListRoomsResponse = {
  rooms: Array<Room>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** A page of them. */
export type ListServiceRulesResponse = {
  serviceRules: Array<ServiceRule>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** A page of them. */
export type ListServicesResponse = {
  services: Array<Service>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** A page of them. */
export type ListWindowsResponse = {
  windows: Array<Window_>;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** An interval in local time and UTC, half-open. */
export type LocalInterval = {
  start: string;
  end: string;
  startUTC?: string;
  endUTC?: string;
};

/** A place where visits happen. */
export type Location = {
  id: string;
  clinicId: string;
  name: string;
  address?: Address;
  /** IANA zone; empty means the clinic's. */
  timezone: string;
  /** None means always open. */
  hours: Array<OpeningHours>;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** A place where visits happen. */
export type LocationInput = {
  id?: string | null;
  clinicId?: string | null;
  name?: string | null;
  address?: AddressInput | null;
  /** IANA zone; empty means the clinic's. */
  timezone?: string | null;
  /** None means always open. */
  hours?: Array<OpeningHoursInput> | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** Who did not come. */
export type MarkNoShowRequest = {
  reason?: string | null;
  /** The entity tag that was read; refused with `STALE_ETAG` when the appointment has changed. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The appointment after the change. */
export type MarkNoShowResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Opening hours of one weekday, local wall clock. An end at or before the start is on the next day; `24:00` is allowed. */
export type OpeningHours = {
  /** 1 is Monday, 7 is Sunday. */
  weekday: number;
  /** `HH:MM`. */
  start: string;
  end: string;
};

/** Opening hours of one weekday, local wall clock. An end at or before the start is on the next day; `24:00` is allowed. */
export type OpeningHoursInput = {
  /** 1 is Monday, 7 is Sunday. */
  weekday: number;
  /** `HH:MM`. */
  start: string;
  end: string;
};

/** A soft rule broken by staff, with the reason given. */
export type Override = {
  reason: string;
  /** Subject of the token that did it. */
  by: string;
  /** Error reasons that would have refused the booking, `OFF_GRID` for example. */
  rules: Array<string>;
};

/** A patient of the clinic. Name, date of birth, contact and notes are encrypted at rest. */
export type Patient = {
  id: string;
  clinicId: string;
  name: string;
  /** `YYYY-MM-DD`. */
  dob: string;
  contact?: Contact;
  notes: string;
  /** A walk-in's stand-in: may have many visits at once. */
  placeholder: boolean;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** A patient of the clinic. Name, date of birth, contact and notes are encrypted at rest. */
export type PatientInput = {
  id?: string | null;
  clinicId?: string | null;
  name?: string | null;
  /** `YYYY-MM-DD`. */
  dob?: string | null;
  contact?: ContactInput | null;
  notes?: string | null;
  /** A walk-in's stand-in: may have many visits at once. */
  placeholder?: boolean | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** What a provider prefers. Ranks slots and chooses rooms; refuses nothing. */
export type Preference = {
  id: string;
  clinicId: string;
  providerId: string;
  /** Empty: all services. */
  serviceId: string;
  /** Best first. */
  preferredRoomIds: Array<string>;
  preferredEquipmentType: string;
  preferredTimeWindows: Array<DaySpan>;
  /** 0 to 100. A create that leaves it at 0 gets 50; an update whose mask names it may set 0. */
  weight: number;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** What a provider prefers. Ranks slots and chooses rooms; refuses nothing. */
export type PreferenceInput = {
  id?: string | null;
  clinicId?: string | null;
  providerId?: string | null;
  /** Empty: all services. */
  serviceId?: string | null;
  /** Best first. */
  preferredRoomIds?: Array<string> | null;
  preferredEquipmentType?: string | null;
  preferredTimeWindows?: Array<DaySpanInput> | null;
  /** 0 to 100. A create that leaves it at 0 gets 50; an update whose mask names it may set 0. */
  weight?: number | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** Which window, over which days. */
export type PreviewWindowsRequest = {
  /** The window as it would be saved. */
  window: WindowInput;
  /** The location whose zone counts; empty: the window's own. Its hours and closures do not: the window alone is shown. */
  locationId?: string | null;
  /** First local day, `YYYY-MM-DD`. */
  startDate: string;
  /** Last local day, included; at most 366 days. */
  endDate: string;
};

/** What it comes to. */
export type PreviewWindowsResponse = {
  occurrences: Array<WindowOccurrence>;
  timezone: string;
  /** True when there are more than the 1,000 listed. */
  truncated: boolean;
};

/** Somebody who sees patients. */
export type Provider = {
  id: string;
  clinicId: string;
  /** Primary location; windows say where it works when. */
  locationId: string;
  name: string;
  specialty: string;
  /** Licence, certifications. */
  credentials?: Record<string, unknown>;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** One provider's day. */
export type ProviderDay = {
  provider?: ProviderSummary;
  /** Runs of starts, in order, covering the whole day. */
  runs: Array<DayRun>;
  freeSlots: number;
};

/** One provider's answer for one start. */
export type ProviderExplanation = {
  provider?: ProviderSummary;
  free: boolean;
  /** Every rule that was judged, in order. */
  outcomes: Array<RuleOutcome>;
  /** The nearest slot of this provider that works. */
  nearest?: Slot;
};

/** Somebody who sees patients. */
export type ProviderInput = {
  id?: string | null;
  clinicId?: string | null;
  /** Primary location; windows say where it works when. */
  locationId?: string | null;
  name?: string | null;
  specialty?: string | null;
  /** Licence, certifications. */
  credentials?: Record<string, unknown> | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** A provider as anyone who may search sees it. */
export type ProviderSummary = {
  id: string;
  name: string;
  specialty: string;
};

/** A place, for everybody. */
export type PublicLocation = {
  id: string;
  name: string;
  address?: Address;
  timezone: string;
};

/** A service, for everybody. */
export type PublicService = {
  id: string;
  name: string;
  description: string;
  durationMin: number;
};

/** Which hold to give back. */
export type ReleaseHoldRequest = {
  /** The token that CreateHold told. */
  holdToken: string;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The released hold. */
export type ReleaseHoldResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Which hold to renew. */
export type RenewHoldRequest = {
  /** The token that CreateHold told. */
  holdToken: string;
  /** How long, in seconds; 0 means 300. */
  ttlSeconds?: number | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The hold with its new end. */
export type RenewHoldResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Where to move it. */
export type RescheduleAppointmentRequest = {
  start: string;
  end?: string | null;
  /** Another provider; empty keeps the present one. */
  providerId?: string | null;
  locationId?: string | null;
  roomId?: string | null;
  roomSelectionMode?: "auto" | "specific" | "none" | null;
  reason?: string | null;
  /** The entity tag that was read; refused with `STALE_ETAG` when the appointment has changed. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  availabilityFetchedAt?: string | null;
  overrideReason?: string | null;
};

/** The appointment at its new time. */
export type RescheduleAppointmentResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** A room of a location. */
export type Room = {
  id: string;
  clinicId: string;
  locationId: string;
  name: string;
  /** Persons; 0 means 1. Says nothing of how many visits run at once. */
  capacity: number;
  /** Visits at the same time; 0 means 1. */
  concurrentVisits: number;
  /** `exam`, `procedure`, `consultation`, or the clinic's own word. */
  roomType: string;
  /** Cleaning after each visit, in minutes. */
  turnaroundMin: number;
  features?: Record<string, unknown>;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** A room of a location. */
export type RoomInput = {
  id?: string | null;
  clinicId?: string | null;
  locationId?: string | null;
  name?: string | null;
  /** Persons; 0 means 1. Says nothing of how many visits run at once. */
  capacity?: number | null;
  /** Visits at the same time; 0 means 1. */
  concurrentVisits?: number | null;
  /** `exam`, `procedure`, `consultation`, or the clinic's own word. */
  roomType?: string | null;
  /** Cleaning after each visit, in minutes. */
  turnaroundMin?: number | null;
  features?: Record<string, unknown> | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** A room that is free for a slot. */
export type RoomOption = {
  id: string;
  name: string;
  type: string;
};

/** What one rule said. */
export type RuleOutcome = {
  /** `hours`, `time_off`, `location_hours`, `closure`, `busy`, `buffer`, `room`, `patient`, `grid`, `lead_time` (without a `subject_id`: no start in the past, none more than 24 months ahead), or the type of a rule, once for each rule. */
  check: string;
  passed: boolean;
  /** Set when it did not pass. */
  reason: "" | "INVALID_ARGUMENT" | "NONEXISTENT_LOCAL_TIME" | "UNAUTHENTICATED" | "PERMISSION_DENIED" | "NOT_FOUND" | "SLOT_ALREADY_BOOKED" | "ROOM_ALREADY_BOOKED" | "EQUIPMENT_UNAVAILABLE" | "PATIENT_ALREADY_BOOKED" | "ALREADY_EXISTS" | "STALE_AVAILABILITY" | "CONCURRENT_BOOKING" | "IDEMPOTENCY_IN_PROGRESS" | "STALE_ETAG" | "IDEMPOTENCY_KEY_REUSED" | "MAX_DAILY_REACHED" | "MIN_GAP" | "LEAD_TIME" | "TOO_FAR_AHEAD" | "BLACKOUT_DATE" | "PATIENT_LIMIT" | "PROVIDER_NOT_ALLOWED" | "ROOM_TYPE" | "OUTSIDE_HOURS" | "OFF_GRID" | "DURATION_NOT_ALLOWED" | "INVALID_TRANSITION" | "HOLD_EXPIRED" | "HOLD_TOKEN_MISMATCH" | "CLINIC_SUSPENDED" | "RESOURCE_INACTIVE" | "WOULD_DISPLACE" | "LIMIT_REACHED" | "RATE_LIMIT_EXCEEDED" | "OVERLOADED" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "NOT_IMPLEMENTED" | "INTERNAL";
  /** One sentence for a person; no patient's data. */
  sentence: string;
  /** Since and until when it blocks; without an end that lies beyond all that was looked at. */
  blocked?: LocalInterval;
  /** The rule's or resource's id, where there is one. */
  subjectId: string;
};

/** How the answer came about. */
export type SearchMetadata = {
  /** IANA zone of the location. */
  timezone: string;
  fetchedAt?: string;
  /** Time spent in the service, in milliseconds. */
  queryDurationMs: number;
  /** The facts are at least as new as this instant. */
  freshAt?: string;
  /** True when events cannot be received: the answer may miss changes since `freshAt`. */
  stale: boolean;
  /** How old the facts may be, in milliseconds. */
  ageMs: string;
  cacheLayer: "unspecified" | "l1" | "l2" | "database";
  /** False when no patient was given: patient rules were not judged. */
  patientRulesJudged: boolean;
  /** All slots found, over all pages. */
  totalSlots: number;
};

/** Which slots. */
export type SearchSlotsRequest = {
  clinicId: string;
  serviceId: string;
  locationId: string;
  /** ISO 8601 local date-time of the location (or a date: its midnight); slots lie wholly inside start and end. */
  start: string;
  end: string;
  providerIds?: Array<string> | null;
  /** Ranks, does not filter. */
  preferredTimeOfDay?: "morning" | "afternoon" | "evening" | null;
  /** Slots a page; 0 means 50. */
  limit?: number | null;
  pageToken?: string | null;
  orderBy?: "score" | "time" | null;
  /** Patient for whom: its visits and its limits are judged too. */
  patientId?: string | null;
  /** Another duration than the service's, within what it allows; 0 means the service's. */
  durationMin?: number | null;
  /** The caller's own hold does not stand in its way. */
  holdToken?: string | null;
  /** An appointment to move: its own claims do not stand in its way. */
  ignoreAppointmentId?: string | null;
  /** From a mutation's reply: the answer is at least that fresh. */
  consistencyToken?: string | null;
};

/** A page of slots. */
export type SearchSlotsResponse = {
  slots: Array<Slot>;
  metadata?: SearchMetadata;
  /** Empty on the last page. */
  nextPageToken: string;
};

/** What a patient can book. */
export type Service = {
  id: string;
  clinicId: string;
  name: string;
  description: string;
  /** Minutes with the provider, buffers aside. */
  defaultDurationMin: number;
  /** Shortest and longest that may be asked for; 0 means the default. */
  minDurationMin: number;
  maxDurationMin: number;
  bufferBeforeMin: number;
  bufferAfterMin: number;
  /** Starts are multiples of it from local midnight; 0 means 15. */
  slotStepMin: number;
  requiresRoom: boolean;
  requiresEquipment: boolean;
  /** Buffers must lie in open time too. */
  buffersWithinHours: boolean;
  /** The patient may have another visit at the same time. */
  allowPatientOverlap: boolean;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** What a patient can book. */
export type ServiceInput = {
  id?: string | null;
  clinicId?: string | null;
  name?: string | null;
  description?: string | null;
  /** Minutes with the provider, buffers aside. */
  defaultDurationMin?: number | null;
  /** Shortest and longest that may be asked for; 0 means the default. */
  minDurationMin?: number | null;
  maxDurationMin?: number | null;
  bufferBeforeMin?: number | null;
  bufferAfterMin?: number | null;
  /** Starts are multiples of it from local midnight; 0 means 15. */
  slotStepMin?: number | null;
  requiresRoom?: boolean | null;
  requiresEquipment?: boolean | null;
  /** Buffers must lie in open time too. */
  buffersWithinHours?: boolean | null;
  /** The patient may have another visit at the same time. */
  allowPatientOverlap?: boolean | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** A rule that bookings must keep. Judged by priority, highest first. */
export type ServiceRule = {
  id: string;
  clinicId: string;
  /** Empty: all services. */
  serviceId: string;
  /** Narrows the rule to one provider; empty: all. */
  providerId: string;
  /** `allowed_provider`, `required_equipment_type`, `room_type`, `min_gap`, `max_daily`, `lead_time`, `blackout_dates` or `patient_limit`. */
  ruleType: string;
  /** The type's own fields; a wrong one is refused with what to change. */
  rulePayload?: Record<string, unknown>;
  /** 0 to 10000. A create that leaves it at 0 gets 100; an update whose mask names it may set 0. */
  priority: number;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** A rule that bookings must keep. Judged by priority, highest first. */
export type ServiceRuleInput = {
  id?: string | null;
  clinicId?: string | null;
  /** Empty: all services. */
  serviceId?: string | null;
  /** Narrows the rule to one provider; empty: all. */
  providerId?: string | null;
  /** `allowed_provider`, `required_equipment_type`, `room_type`, `min_gap`, `max_daily`, `lead_time`, `blackout_dates` or `patient_limit`. */
  ruleType?: string | null;
  /** The type's own fields; a wrong one is refused with what to change. */
  rulePayload?: Record<string, unknown> | null;
  /** 0 to 10000. A create that leaves it at 0 gets 100; an update whose mask names it may set 0. */
  priority?: number | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** Which status. */
export type SetClinicStatusRequest = {
  status: "active" | "suspended" | "archived";
  /** Kept sealed in the clinic's audit. */
  reason?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The clinic after the change. */
export type SetClinicStatusResponse = {
  clinic?: Clinic;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** A start that can be booked, with everything that goes with it. */
export type Slot = {
  /** Local time of the location with its offset, `2026-02-20T09:00:00-05:00`. */
  start: string;
  /** Local end with offset. */
  end: string;
  startUTC?: string;
  endUTC?: string;
  provider?: ProviderSummary;
  /** Rooms free for the whole visit with its buffers, best first; empty when the service needs none. */
  roomOptions: Array<RoomOption>;
  /** 0 to 100, higher is better. */
  score: number;
  locationId: string;
};

/** Which visit begins. */
export type StartAppointmentRequest = {
  reason?: string | null;
  /** The entity tag that was read; refused with `STALE_ETAG` when the appointment has changed. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
};

/** The appointment after the change. */
export type StartAppointmentResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** A scarce thing that stood in a booking's way. */
export type TakenResource = {
  kind: "unspecified" | "provider" | "room" | "equipment" | "patient" | "quota";
  /** The resource's id; empty for a quota. */
  id: string;
  reason: "" | "INVALID_ARGUMENT" | "NONEXISTENT_LOCAL_TIME" | "UNAUTHENTICATED" | "PERMISSION_DENIED" | "NOT_FOUND" | "SLOT_ALREADY_BOOKED" | "ROOM_ALREADY_BOOKED" | "EQUIPMENT_UNAVAILABLE" | "PATIENT_ALREADY_BOOKED" | "ALREADY_EXISTS" | "STALE_AVAILABILITY" | "CONCURRENT_BOOKING" | "IDEMPOTENCY_IN_PROGRESS" | "STALE_ETAG" | "IDEMPOTENCY_KEY_REUSED" | "MAX_DAILY_REACHED" | "MIN_GAP" | "LEAD_TIME" | "TOO_FAR_AHEAD" | "BLACKOUT_DATE" | "PATIENT_LIMIT" | "PROVIDER_NOT_ALLOWED" | "ROOM_TYPE" | "OUTSIDE_HOURS" | "OFF_GRID" | "DURATION_NOT_ALLOWED" | "INVALID_TRANSITION" | "HOLD_EXPIRED" | "HOLD_TOKEN_MISMATCH" | "CLINIC_SUSPENDED" | "RESOURCE_INACTIVE" | "WOULD_DISPLACE" | "LIMIT_REACHED" | "RATE_LIMIT_EXCEEDED" | "OVERLOADED" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "NOT_IMPLEMENTED" | "INTERNAL";
};

/** What to change. */
export type UpdateAppointmentRequest = {
  /** New local start: reschedules. */
  start?: string | null;
  end?: string | null;
  /** New status: `canceled`, `confirmed`, `checked_in`, `in_progress`, `completed` or `no_show`. */
  status?: "held" | "scheduled" | "confirmed" | "checked_in" | "in_progress" | "completed" | "canceled" | "no_show" | "released" | "expired" | null;
  reason?: string | null;
  providerId?: string | null;
  roomId?: string | null;
  roomSelectionMode?: "auto" | "specific" | "none" | null;
  notes?: string | null;
  /** The entity tag that was read; refused with `STALE_ETAG` when the appointment has changed. Empty: not checked. */
  etag?: string | null;
  /** Chosen by the caller, one per intent (a UUID is best). */
  idempotencyKey?: string | null;
  availabilityFetchedAt?: string | null;
  overrideReason?: string | null;
  locationId?: string | null;
};

/** The appointment after the change. */
export type UpdateAppointmentResponse = {
  appointment?: Appointment;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** The clinic after the change. */
export type UpdateClinicResponse = {
  clinic?: Clinic;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdateClosureResponse = {
  closure?: Closure;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdateEquipmentResponse = {
  equipment?: Equipment;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdateLocationResponse = {
  location?: Location;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdatePatientResponse = {
  patient?: Patient;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdatePreferenceResponse = {
  preference?: Preference;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdateProviderResponse = {
  provider?: Provider;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdateRoomResponse = {
  room?: Room;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdateServiceResponse = {
  service?: Service;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdateServiceRuleResponse = {
  serviceRule?: ServiceRule;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** It, after the change. */
export type UpdateWindowResponse = {
  window?: Window_;
  /** Visits that no longer fit, for staff to move. */
  displaced: Array<DisplacedAppointment>;
  /** Send it with the next search to be sure to see this change. */
  consistencyToken: string;
  /** True when this is the first answer again, for a repeated idempotency key. */
  replayed: boolean;
};

/** Working time, time off or maintenance in local wall time, once or by rule. */
export type Window_ = {
  id: string;
  clinicId: string;
  /** The provider, room or equipment item. */
  resourceId: string;
  /** Providers only: where it holds; empty: everywhere. */
  locationId: string;
  /** Local wall clock of the first occurrence, `YYYY-MM-DDTHH:MM`. */
  start: string;
  end: string;
  /** RFC 5545 lines: RRULE, with EXDATE and RDATE if need be; empty: once. DAILY or coarser, at most 1,000 a year. */
  recurrenceRule: string;
  kind: "unspecified" | "available" | "unavailable" | "override";
  /** Shown to staff. */
  reason: string;
  active: boolean;
  createdAt?: string;
  updatedAt?: string;
  etag: string;
};

/** Working time, time off or maintenance in local wall time, once or by rule. */
export type WindowInput = {
  id?: string | null;
  clinicId?: string | null;
  /** The provider, room or equipment item. */
  resourceId?: string | null;
  /** Providers only: where it holds; empty: everywhere. */
  locationId?: string | null;
  /** Local wall clock of the first occurrence, `YYYY-MM-DDTHH:MM`. */
  start?: string | null;
  end?: string | null;
  /** RFC 5545 lines: RRULE, with EXDATE and RDATE if need be; empty: once. DAILY or coarser, at most 1,000 a year. */
  recurrenceRule?: string | null;
  kind?: "available" | "unavailable" | "override" | null;
  /** Shown to staff. */
  reason?: string | null;
  active?: boolean | null;
  createdAt?: string | null;
  updatedAt?: string | null;
  etag?: string | null;
};

/** One expanded window, half-open. */
export type WindowOccurrence = {
  /** Local with offset. */
  start: string;
  end: string;
  startUTC?: string;
  endUTC?: string;
  /** True when a clock change moved or shortened it. */
  shifted: boolean;
};

/** Every refusal, whatever refused it. */
export type Error_ = {
  /** Machine-readable reason, `SLOT_ALREADY_BOOKED` for example. */
  error: string;
  /** A sentence for people; never a patient's data. */
  message: string;
  /** What the reason needs: `violations`, `bookingConflict`, `nextValid` and the like. */
  details: {
  violations?: Array<{
  field: string;
  description: string;
}>;
  bookingConflict?: BookingConflict;
};
  /** Quote it when you report a problem. */
  requestId: string;
  /** Seconds; only in 429. */
  retryAfter?: number;
  /** Requests a minute; only in 429. */
  limit?: number;
  /** Only in 429. */
  window?: string;
};

export class Medforall {
  constructor(settings: Settings);
  /** Returns every bookable slot of a service at a location in a window, best first. */
  searchSlots(parameters: { clinicId: string; serviceId: string; locationId: string; start: string; end: string; providerIds?: Array<string>; preferredTimeOfDay?: "morning" | "afternoon" | "evening"; limit?: number; pageToken?: string; orderBy?: "score" | "time"; patientId?: string; durationMin?: number; holdToken?: string; ignoreAppointmentId?: string; consistencyToken?: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<SearchSlotsResponse>>;
  searchSlots(parameters: { clinicId: string; serviceId: string; locationId: string; start: string; end: string; providerIds?: Array<string>; preferredTimeOfDay?: "morning" | "afternoon" | "evening"; limit?: number; pageToken?: string; orderBy?: "score" | "time"; patientId?: string; durationMin?: number; holdToken?: string; ignoreAppointmentId?: string; consistencyToken?: string }, options: ConditionalOptions): Promise<Answer<SearchSlotsResponse> | Unchanged>;

  /** Returns the first slots from now (or `after`) over chosen or all providers and locations, up to 365 days ahead. */
  findNextAvailable(parameters: { clinicId: string; serviceId: string; locationIds?: Array<string>; providerIds?: Array<string>; after?: string; count?: number; withinDays?: number; preferredTimeOfDay?: "morning" | "afternoon" | "evening"; patientId?: string; durationMin?: number; holdToken?: string; ignoreAppointmentId?: string; consistencyToken?: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<FindNextAvailableResponse>>;
  findNextAvailable(parameters: { clinicId: string; serviceId: string; locationIds?: Array<string>; providerIds?: Array<string>; after?: string; count?: number; withinDays?: number; preferredTimeOfDay?: "morning" | "afternoon" | "evening"; patientId?: string; durationMin?: number; holdToken?: string; ignoreAppointmentId?: string; consistencyToken?: string }, options: ConditionalOptions): Promise<Answer<FindNextAvailableResponse> | Unchanged>;

  /** Answers up to 20 searches of one clinic, in the order asked, from one reading: each location and each calendar is read once for all of them, at least as new as every consistency token asks, and all have the same `fetchedAt` and `freshAt`. */
  batchSearchSlots(parameters: { clinicId: string }, body: BatchSearchSlotsRequest, options?: CallOptions): Promise<Answer<BatchSearchSlotsResponse>>;

  /** Returns when one provider, room or equipment item is open and when it is taken; never by whom. */
  getFreeBusy(parameters: { clinicId: string; resourceId: string; locationId?: string; start: string; end: string; consistencyToken?: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetFreeBusyResponse>>;
  getFreeBusy(parameters: { clinicId: string; resourceId: string; locationId?: string; start: string; end: string; consistencyToken?: string }, options: ConditionalOptions): Promise<Answer<GetFreeBusyResponse> | Unchanged>;

  /** Says for one time and every candidate provider each rule that was judged, what stands in the way, since and until when, and the nearest time that works. Free exactly when SearchSlots offers it. */
  explainSlot(parameters: { clinicId: string; serviceId: string; locationId: string; start: string; providerIds?: Array<string>; patientId?: string; durationMin?: number; holdToken?: string; ignoreAppointmentId?: string; consistencyToken?: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<ExplainSlotResponse>>;
  explainSlot(parameters: { clinicId: string; serviceId: string; locationId: string; start: string; providerIds?: Array<string>; patientId?: string; durationMin?: number; holdToken?: string; ignoreAppointmentId?: string; consistencyToken?: string }, options: ConditionalOptions): Promise<Answer<ExplainSlotResponse> | Unchanged>;

  /** Says the same for a whole local day: for each candidate provider the runs of time that are blocked, and by what. */
  explainDay(parameters: { clinicId: string; serviceId: string; locationId: string; date: string; providerIds?: Array<string>; patientId?: string; durationMin?: number; holdToken?: string; ignoreAppointmentId?: string; consistencyToken?: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<ExplainDayResponse>>;
  explainDay(parameters: { clinicId: string; serviceId: string; locationId: string; date: string; providerIds?: Array<string>; patientId?: string; durationMin?: number; holdToken?: string; ignoreAppointmentId?: string; consistencyToken?: string }, options: ConditionalOptions): Promise<Answer<ExplainDayResponse> | Unchanged>;

  /** Books provider, room, equipment and patient in one transaction, or nothing. */
  createAppointment(parameters: { clinicId: string }, body: CreateAppointmentRequest, options?: CallOptions): Promise<Answer<CreateAppointmentResponse>>;

  /** Lists appointments ordered by start, then id. */
  listAppointments(parameters: { clinicId: string; providerId?: string; patientId?: string; locationId?: string; date?: string; dateRange?: string; status?: Array<"held" | "scheduled" | "confirmed" | "checked_in" | "in_progress" | "completed" | "canceled" | "no_show" | "released" | "expired">; page?: number; limit?: number; pageToken?: string }, options?: CallOptions): Promise<Answer<ListAppointmentsResponse>>;

  /** Returns one appointment. A patient sees its own, a provider its own patients' visits. */
  getAppointment(parameters: { clinicId: string; appointmentId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetAppointmentResponse>>;
  getAppointment(parameters: { clinicId: string; appointmentId: string }, options: ConditionalOptions): Promise<Answer<GetAppointmentResponse> | Unchanged>;

  /** Reschedules (`start`), cancels or moves on (`status`), or changes notes: hands over to the RPC of that name. */
  updateAppointment(parameters: { clinicId: string; appointmentId: string }, body?: UpdateAppointmentRequest, options?: CallOptions): Promise<Answer<UpdateAppointmentResponse>>;

  /** Moves an appointment; the old time is freed in the same transaction, and kept when the new one is refused. */
  rescheduleAppointment(parameters: { clinicId: string; appointmentId: string }, body: RescheduleAppointmentRequest, options?: CallOptions): Promise<Answer<RescheduleAppointmentResponse>>;

  /** Cancels and frees everything the visit claims. Works in a suspended clinic. */
  cancelAppointment(parameters: { clinicId: string; appointmentId: string }, body?: CancelAppointmentRequest, options?: CallOptions): Promise<Answer<CancelAppointmentResponse>>;

  /** The patient said it will come: scheduled becomes confirmed. */
  confirmAppointment(parameters: { clinicId: string; appointmentId: string }, body?: ConfirmAppointmentRequest, options?: CallOptions): Promise<Answer<ConfirmAppointmentResponse>>;

  /** The patient has arrived. From no_show only on the same local day, if its claims can be had again. */
  checkInAppointment(parameters: { clinicId: string; appointmentId: string }, body?: CheckInAppointmentRequest, options?: CallOptions): Promise<Answer<CheckInAppointmentResponse>>;

  /** The visit begins: checked_in becomes in_progress. */
  startAppointment(parameters: { clinicId: string; appointmentId: string }, body?: StartAppointmentRequest, options?: CallOptions): Promise<Answer<StartAppointmentResponse>>;

  /** The visit is over: in_progress becomes completed; what is left of its claimed time is freed. */
  completeAppointment(parameters: { clinicId: string; appointmentId: string }, body?: CompleteAppointmentRequest, options?: CallOptions): Promise<Answer<CompleteAppointmentResponse>>;

  /** The patient did not come: all claims but the daily quota are freed. */
  markNoShow(parameters: { clinicId: string; appointmentId: string }, body?: MarkNoShowRequest, options?: CallOptions): Promise<Answer<MarkNoShowResponse>>;

  /** Takes a slot for a few minutes while somebody fills in a form. The reply's `holdToken` is told once. */
  createHold(parameters: { clinicId: string }, body: CreateHoldRequest, options?: CallOptions): Promise<Answer<CreateHoldResponse>>;

  /** Makes a hold last longer, at most 15 minutes from now. FAILED_PRECONDITION `HOLD_EXPIRED`, `HOLD_TOKEN_MISMATCH`. */
  renewHold(parameters: { clinicId: string; holdId: string }, body: RenewHoldRequest, options?: CallOptions): Promise<Answer<RenewHoldResponse>>;

  /** Makes a hold an appointment with the same id and claims. */
  confirmHold(parameters: { clinicId: string; holdId: string }, body: ConfirmHoldRequest, options?: CallOptions): Promise<Answer<ConfirmHoldResponse>>;

  /** Gives a hold back before it ends. `HOLD_EXPIRED`, `HOLD_TOKEN_MISMATCH`. */
  releaseHold(parameters: { clinicId: string; holdId: string }, body: ReleaseHoldRequest, options?: CallOptions): Promise<Answer<ReleaseHoldResponse>>;

  /** Creates a clinic with its data key. Platform role only. */
  createClinic(parameters: { idempotencyKey?: string }, body?: ClinicInput, options?: CallOptions): Promise<Answer<CreateClinicResponse>>;

  /** Lists clinics of the installation, for its operators: id, name, zone and status only. */
  listClinics(parameters: { pageSize?: number; pageToken?: string; status?: "active" | "suspended" | "archived" }, options?: CallOptions): Promise<Answer<ListClinicsResponse>>;

  /** Returns the caller's clinic. */
  getClinic(parameters: { clinicId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetClinicResponse>>;
  getClinic(parameters: { clinicId: string }, options: ConditionalOptions): Promise<Answer<GetClinicResponse> | Unchanged>;

  /** Changes name, zone, public search or limits of the caller's clinic. */
  updateClinic(parameters: { clinicId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: ClinicInput, options?: CallOptions): Promise<Answer<UpdateClinicResponse>>;

  /** Returns what all callers of the clinic may use together. Any of them may ask: the gateway does, with their tokens. */
  getClinicLimits(parameters: { clinicId: string }, options?: CallOptions): Promise<Answer<GetClinicLimitsResponse>>;

  /** Returns what anybody may know of a clinic that opened public search: names, places, services. No patient, no staff detail. */
  getPublicClinic(parameters: { clinicId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetPublicClinicResponse>>;
  getPublicClinic(parameters: { clinicId: string }, options: ConditionalOptions): Promise<Answer<GetPublicClinicResponse> | Unchanged>;

  /** Activates, suspends or archives a clinic. Suspended: reads and cancels, books nothing. Archived: NOT_FOUND to its users. Platform role only. */
  setClinicStatus(parameters: { clinicId: string }, body: SetClinicStatusRequest, options?: CallOptions): Promise<Answer<SetClinicStatusResponse>>;

  /** Creates a place where visits happen, with its opening hours. A clinic has at most 1,000 locations, those out of use included: LIMIT_REACHED beyond. */
  createLocation(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: LocationInput, options?: CallOptions): Promise<Answer<CreateLocationResponse>>;

  /** Lists them ordered by name, then id. */
  listLocations(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean }, options?: CallOptions): Promise<Answer<ListLocationsResponse>>;

  /** Returns a place where visits happen, with its opening hours. NOT_FOUND: unknown or another clinic's. */
  getLocation(parameters: { clinicId: string; locationId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetLocationResponse>>;
  getLocation(parameters: { clinicId: string; locationId: string }, options: ConditionalOptions): Promise<Answer<GetLocationResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updateLocation(parameters: { clinicId: string; locationId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: LocationInput, options?: CallOptions): Promise<Answer<UpdateLocationResponse>>;

  /** Takes it out of use; what is booked stays and is listed. */
  deactivateLocation(parameters: { clinicId: string; locationId: string }, body?: DeactivateLocationRequest, options?: CallOptions): Promise<Answer<DeactivateLocationResponse>>;

  /** Creates days or hours when a location, or the whole clinic, is closed. */
  createClosure(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: ClosureInput, options?: CallOptions): Promise<Answer<CreateClosureResponse>>;

  /** Lists them ordered by start, then id. */
  listClosures(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean; locationId?: string }, options?: CallOptions): Promise<Answer<ListClosuresResponse>>;

  /** Returns days or hours when a location, or the whole clinic, is closed. NOT_FOUND: unknown or another clinic's. */
  getClosure(parameters: { clinicId: string; closureId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetClosureResponse>>;
  getClosure(parameters: { clinicId: string; closureId: string }, options: ConditionalOptions): Promise<Answer<GetClosureResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updateClosure(parameters: { clinicId: string; closureId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: ClosureInput, options?: CallOptions): Promise<Answer<UpdateClosureResponse>>;

  /** Takes it out of use; what is booked stays and is listed. */
  deactivateClosure(parameters: { clinicId: string; closureId: string }, body?: DeactivateClosureRequest, options?: CallOptions): Promise<Answer<DeactivateClosureResponse>>;

  /** Creates somebody who sees patients. */
  createProvider(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: ProviderInput, options?: CallOptions): Promise<Answer<CreateProviderResponse>>;

  /** Lists them ordered by name, then id. */
  listProviders(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean; locationId?: string; specialty?: string }, options?: CallOptions): Promise<Answer<ListProvidersResponse>>;

  /** Returns somebody who sees patients. NOT_FOUND: unknown or another clinic's. */
  getProvider(parameters: { clinicId: string; providerId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetProviderResponse>>;
  getProvider(parameters: { clinicId: string; providerId: string }, options: ConditionalOptions): Promise<Answer<GetProviderResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updateProvider(parameters: { clinicId: string; providerId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: ProviderInput, options?: CallOptions): Promise<Answer<UpdateProviderResponse>>;

  /** Takes it out of use; what is booked stays and is listed. */
  deactivateProvider(parameters: { clinicId: string; providerId: string }, body?: DeactivateProviderRequest, options?: CallOptions): Promise<Answer<DeactivateProviderResponse>>;

  /** Creates a room of a location. */
  createRoom(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: RoomInput, options?: CallOptions): Promise<Answer<CreateRoomResponse>>;

  /** Lists them ordered by name, then id. */
  listRooms(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean; locationId?: string; roomType?: string }, options?: CallOptions): Promise<Answer<ListRoomsResponse>>;

  /** Returns a room of a location. NOT_FOUND: unknown or another clinic's. */
  getRoom(parameters: { clinicId: string; roomId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetRoomResponse>>;
  getRoom(parameters: { clinicId: string; roomId: string }, options: ConditionalOptions): Promise<Answer<GetRoomResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updateRoom(parameters: { clinicId: string; roomId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: RoomInput, options?: CallOptions): Promise<Answer<UpdateRoomResponse>>;

  /** Takes it out of use; what is booked stays and is listed. */
  deactivateRoom(parameters: { clinicId: string; roomId: string }, body?: DeactivateRoomRequest, options?: CallOptions): Promise<Answer<DeactivateRoomResponse>>;

  /** Creates an equipment item, or a pool of equal ones. */
  createEquipment(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: EquipmentInput, options?: CallOptions): Promise<Answer<CreateEquipmentResponse>>;

  /** Lists them ordered by name, then id. */
  listEquipment(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean; locationId?: string; type?: string }, options?: CallOptions): Promise<Answer<ListEquipmentResponse>>;

  /** Returns an equipment item, or a pool of equal ones. NOT_FOUND: unknown or another clinic's. */
  getEquipment(parameters: { clinicId: string; equipmentId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetEquipmentResponse>>;
  getEquipment(parameters: { clinicId: string; equipmentId: string }, options: ConditionalOptions): Promise<Answer<GetEquipmentResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updateEquipment(parameters: { clinicId: string; equipmentId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: EquipmentInput, options?: CallOptions): Promise<Answer<UpdateEquipmentResponse>>;

  /** Takes it out of use; what is booked stays and is listed. */
  deactivateEquipment(parameters: { clinicId: string; equipmentId: string }, body?: DeactivateEquipmentRequest, options?: CallOptions): Promise<Answer<DeactivateEquipmentResponse>>;

  /** Creates what a patient can book. */
  createService(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: ServiceInput, options?: CallOptions): Promise<Answer<CreateServiceResponse>>;

  /** Lists them ordered by name, then id. */
  listServices(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean }, options?: CallOptions): Promise<Answer<ListServicesResponse>>;

  /** Returns what a patient can book. NOT_FOUND: unknown or another clinic's. */
  getService(parameters: { clinicId: string; serviceId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetServiceResponse>>;
  getService(parameters: { clinicId: string; serviceId: string }, options: ConditionalOptions): Promise<Answer<GetServiceResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updateService(parameters: { clinicId: string; serviceId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: ServiceInput, options?: CallOptions): Promise<Answer<UpdateServiceResponse>>;

  /** Takes it out of use; what is booked stays and is listed. */
  deactivateService(parameters: { clinicId: string; serviceId: string }, body?: DeactivateServiceRequest, options?: CallOptions): Promise<Answer<DeactivateServiceResponse>>;

  /** Creates a rule that bookings must keep. */
  createServiceRule(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: ServiceRuleInput, options?: CallOptions): Promise<Answer<CreateServiceRuleResponse>>;

  /** Lists them ordered by priority, highest first, then id. */
  listServiceRules(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean; serviceId?: string; providerId?: string }, options?: CallOptions): Promise<Answer<ListServiceRulesResponse>>;

  /** Returns a rule that bookings must keep. NOT_FOUND: unknown or another clinic's. */
  getServiceRule(parameters: { clinicId: string; serviceRuleId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetServiceRuleResponse>>;
  getServiceRule(parameters: { clinicId: string; serviceRuleId: string }, options: ConditionalOptions): Promise<Answer<GetServiceRuleResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updateServiceRule(parameters: { clinicId: string; serviceRuleId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: ServiceRuleInput, options?: CallOptions): Promise<Answer<UpdateServiceRuleResponse>>;

  /** Takes it out of use; what is booked stays and is listed. */
  deactivateServiceRule(parameters: { clinicId: string; serviceRuleId: string }, body?: DeactivateServiceRuleRequest, options?: CallOptions): Promise<Answer<DeactivateServiceRuleResponse>>;

  /** Creates working time, time off or maintenance of a provider, room or equipment item. `unavailable` and `override` windows may displace visits. */
  createWindow(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: WindowInput, options?: CallOptions): Promise<Answer<CreateWindowResponse>>;

  /** Lists them ordered by start, then id. */
  listWindows(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean; resourceId: string; locationId?: string }, options?: CallOptions): Promise<Answer<ListWindowsResponse>>;

  /** Returns working time, time off or maintenance of a provider, room or equipment item. NOT_FOUND: unknown or another clinic's. */
  getWindow(parameters: { clinicId: string; windowId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetWindowResponse>>;
  getWindow(parameters: { clinicId: string; windowId: string }, options: ConditionalOptions): Promise<Answer<GetWindowResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updateWindow(parameters: { clinicId: string; windowId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: WindowInput, options?: CallOptions): Promise<Answer<UpdateWindowResponse>>;

  /** Takes it out of use; what is booked stays and is listed. */
  deactivateWindow(parameters: { clinicId: string; windowId: string }, body?: DeactivateWindowRequest, options?: CallOptions): Promise<Answer<DeactivateWindowResponse>>;

  /** Creates what a provider prefers, for ranking. */
  createPreference(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: PreferenceInput, options?: CallOptions): Promise<Answer<CreatePreferenceResponse>>;

  /** Lists them ordered by provider, then id. */
  listPreferences(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean; providerId?: string }, options?: CallOptions): Promise<Answer<ListPreferencesResponse>>;

  /** Returns what a provider prefers, for ranking. NOT_FOUND: unknown or another clinic's. */
  getPreference(parameters: { clinicId: string; preferenceId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetPreferenceResponse>>;
  getPreference(parameters: { clinicId: string; preferenceId: string }, options: ConditionalOptions): Promise<Answer<GetPreferenceResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updatePreference(parameters: { clinicId: string; preferenceId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: PreferenceInput, options?: CallOptions): Promise<Answer<UpdatePreferenceResponse>>;

  /** Takes it out of use; what is booked stays and is listed. */
  deactivatePreference(parameters: { clinicId: string; preferenceId: string }, body?: DeactivatePreferenceRequest, options?: CallOptions): Promise<Answer<DeactivatePreferenceResponse>>;

  /** Creates a patient of the clinic. */
  createPatient(parameters: { clinicId: string; idempotencyKey?: string; strict?: boolean }, body?: PatientInput, options?: CallOptions): Promise<Answer<CreatePatientResponse>>;

  /** Searches patients by `namePrefix`, `phone`, `email` or `dob`; one of them is needed. Audited. As a POST what is searched for stands in the body and in no address. */
  listPatients(parameters: { clinicId: string; pageSize?: number; pageToken?: string; includeInactive?: boolean; namePrefix?: string; phone?: string; email?: string; dob?: string }, options?: CallOptions): Promise<Answer<ListPatientsResponse>>;

  /** Returns a patient of the clinic. Audited. NOT_FOUND: unknown or another clinic's, or not for the caller to see: a token with `break:glass` in place of `read:phi` opens what `BreakGlass` has granted, and nothing else. */
  getPatient(parameters: { clinicId: string; patientId: string }, options?: CallOptions & { ifNoneMatch?: undefined }): Promise<Answer<GetPatientResponse>>;
  getPatient(parameters: { clinicId: string; patientId: string }, options: ConditionalOptions): Promise<Answer<GetPatientResponse> | Unchanged>;

  /** Changes the fields in the mask. */
  updatePatient(parameters: { clinicId: string; patientId: string; updateMask?: string; etag?: string; idempotencyKey?: string; strict?: boolean }, body?: PatientInput, options?: CallOptions): Promise<Answer<UpdatePatientResponse>>;

  /** Returns up to 100 patients of the clinic, in the order of their ids, all of them or none. Each reading is audited as that of `GetPatient`. NOT_FOUND when that call would not find one of them: `place` in the error's metadata says which, counted from 0, so that the others can be asked for again. Deactivated ones are found. */
  batchGetPatients(parameters: { clinicId: string; ids: Array<string> }, options?: CallOptions): Promise<Answer<BatchGetPatientsResponse>>;

  /** Searches patients by `namePrefix`, `phone`, `email` or `dob`; one of them is needed. Audited. As a POST what is searched for stands in the body and in no address. */
  searchPatients(parameters: { clinicId: string }, body?: ListPatientsRequest, options?: CallOptions): Promise<Answer<ListPatientsResponse>>;

  /** Deactivates a patient: its history stays, nothing new can be booked. */
  deactivatePatient(parameters: { clinicId: string; patientId: string }, body?: DeactivatePatientRequest, options?: CallOptions): Promise<Answer<DeactivatePatientResponse>>;

  /** Expands a window, saved or not, over a range of local days, so that its meaning is seen before it is saved. Nothing is written. */
  previewWindows(parameters: { clinicId: string }, body: PreviewWindowsRequest, options?: CallOptions): Promise<Answer<PreviewWindowsResponse>>;

  /** Lists who did what, newest first. Admins only; audited itself. */
  listAuditEvents(parameters: { clinicId: string; pageSize?: number; pageToken?: string; actor?: string; action?: string; entityId?: string; from?: string; to?: string }, options?: CallOptions): Promise<Answer<ListAuditEventsResponse>>;

  /** Grants the caller, an admin, one hour of access to patients' data in an emergency: reason required, alert event sent, listed for review. Until it ends the caller reads the patient concerned without the scope `read:phi`, and with a grant for all of the clinic searches patients too. */
  breakGlass(parameters: { clinicId: string }, body: BreakGlassRequest, options?: CallOptions): Promise<Answer<BreakGlassResponse>>;

  /** Lists emergency accesses, newest first. */
  listBreakGlass(parameters: { clinicId: string; pageSize?: number; pageToken?: string; activeOnly?: boolean }, options?: CallOptions): Promise<Answer<ListBreakGlassResponse>>;

  /** Who is connected to a clinic's realtime now, over all gateways; correct within a minute after a crash. */
  getPresence(parameters: { clinicId: string }, options?: CallOptions): Promise<Answer<GetPresenceResponse>>;

  /** Gives a ticket that opens one stream within 30 s, as this caller. */
  createRealtimeTicket(parameters: {  }, options?: CallOptions): Promise<Answer<{
  ticket: string;
  /** Seconds. */
  expiresIn: number;
}>>;
}
