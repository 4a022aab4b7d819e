// Made from docs/openapi.json by `make clients`; not edited by hand.
import { MedforallError, Transport } from "./http.js";

export { MedforallError };

export class Medforall {
  #transport;

  constructor(settings) {
    this.#transport = new Transport(settings);
  }

  searchSlots(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/availability", "pathNames": ["clinicId"], "queryNames": ["serviceId", "locationId", "start", "end", "providerIds", "preferredTimeOfDay", "limit", "pageToken", "orderBy", "patientId", "durationMin", "holdToken", "ignoreAppointmentId", "consistencyToken"], "hasKey": false}, parameters, undefined, options);
  }

  findNextAvailable(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/availability:next", "pathNames": ["clinicId"], "queryNames": ["serviceId", "locationIds", "providerIds", "after", "count", "withinDays", "preferredTimeOfDay", "patientId", "durationMin", "holdToken", "ignoreAppointmentId", "consistencyToken"], "hasKey": false}, parameters, undefined, options);
  }

  batchSearchSlots(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/availability:batchSearch", "pathNames": ["clinicId"], "queryNames": [], "hasKey": false}, parameters, body, options);
  }

  getFreeBusy(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/freeBusy", "pathNames": ["clinicId"], "queryNames": ["resourceId", "locationId", "start", "end", "consistencyToken"], "hasKey": false}, parameters, undefined, options);
  }

  explainSlot(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/availability:explain", "pathNames": ["clinicId"], "queryNames": ["serviceId", "locationId", "start", "providerIds", "patientId", "durationMin", "holdToken", "ignoreAppointmentId", "consistencyToken"], "hasKey": false}, parameters, undefined, options);
  }

  explainDay(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/availability:explainDay", "pathNames": ["clinicId"], "queryNames": ["serviceId", "locationId", "date", "providerIds", "patientId", "durationMin", "holdToken", "ignoreAppointmentId", "consistencyToken"], "hasKey": false}, parameters, undefined, options);
  }

  createAppointment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/appointments", "pathNames": ["clinicId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  listAppointments(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/appointments", "pathNames": ["clinicId"], "queryNames": ["providerId", "patientId", "locationId", "date", "dateRange", "status", "page", "limit", "pageToken"], "hasKey": false}, parameters, undefined, options);
  }

  getAppointment(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/appointments/{appointmentId}", "pathNames": ["clinicId", "appointmentId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateAppointment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/appointments/{appointmentId}", "pathNames": ["clinicId", "appointmentId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  rescheduleAppointment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/appointments/{appointmentId}:reschedule", "pathNames": ["clinicId", "appointmentId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  cancelAppointment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/appointments/{appointmentId}:cancel", "pathNames": ["clinicId", "appointmentId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  confirmAppointment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/appointments/{appointmentId}:confirm", "pathNames": ["clinicId", "appointmentId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  checkInAppointment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/appointments/{appointmentId}:checkIn", "pathNames": ["clinicId", "appointmentId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  startAppointment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/appointments/{appointmentId}:start", "pathNames": ["clinicId", "appointmentId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  completeAppointment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/appointments/{appointmentId}:complete", "pathNames": ["clinicId", "appointmentId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  markNoShow(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/appointments/{appointmentId}:noShow", "pathNames": ["clinicId", "appointmentId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createHold(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/holds", "pathNames": ["clinicId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  renewHold(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/holds/{holdId}:renew", "pathNames": ["clinicId", "holdId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  confirmHold(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/holds/{holdId}:confirm", "pathNames": ["clinicId", "holdId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  releaseHold(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/holds/{holdId}:release", "pathNames": ["clinicId", "holdId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createClinic(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics", "pathNames": [], "queryNames": ["idempotencyKey"], "hasKey": true}, parameters, body, options);
  }

  listClinics(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics", "pathNames": [], "queryNames": ["pageSize", "pageToken", "status"], "hasKey": false}, parameters, undefined, options);
  }

  getClinic(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}", "pathNames": ["clinicId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateClinic(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}", "pathNames": ["clinicId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  getClinicLimits(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/limits", "pathNames": ["clinicId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  getPublicClinic(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/public", "pathNames": ["clinicId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  setClinicStatus(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}:setStatus", "pathNames": ["clinicId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createLocation(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/locations", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listLocations(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/locations", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive"], "hasKey": false}, parameters, undefined, options);
  }

  getLocation(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/locations/{locationId}", "pathNames": ["clinicId", "locationId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateLocation(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/locations/{locationId}", "pathNames": ["clinicId", "locationId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  deactivateLocation(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/locations/{locationId}:deactivate", "pathNames": ["clinicId", "locationId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createClosure(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/closures", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listClosures(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/closures", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive", "locationId"], "hasKey": false}, parameters, undefined, options);
  }

  getClosure(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/closures/{closureId}", "pathNames": ["clinicId", "closureId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateClosure(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/closures/{closureId}", "pathNames": ["clinicId", "closureId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  deactivateClosure(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/closures/{closureId}:deactivate", "pathNames": ["clinicId", "closureId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createProvider(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/providers", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listProviders(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/providers", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive", "locationId", "specialty"], "hasKey": false}, parameters, undefined, options);
  }

  getProvider(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/providers/{providerId}", "pathNames": ["clinicId", "providerId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateProvider(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/providers/{providerId}", "pathNames": ["clinicId", "providerId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  deactivateProvider(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/providers/{providerId}:deactivate", "pathNames": ["clinicId", "providerId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createRoom(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/rooms", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listRooms(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/rooms", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive", "locationId", "roomType"], "hasKey": false}, parameters, undefined, options);
  }

  getRoom(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/rooms/{roomId}", "pathNames": ["clinicId", "roomId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateRoom(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/rooms/{roomId}", "pathNames": ["clinicId", "roomId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  deactivateRoom(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/rooms/{roomId}:deactivate", "pathNames": ["clinicId", "roomId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createEquipment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/equipment", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listEquipment(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/equipment", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive", "locationId", "type"], "hasKey": false}, parameters, undefined, options);
  }

  getEquipment(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/equipment/{equipmentId}", "pathNames": ["clinicId", "equipmentId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateEquipment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/equipment/{equipmentId}", "pathNames": ["clinicId", "equipmentId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  deactivateEquipment(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/equipment/{equipmentId}:deactivate", "pathNames": ["clinicId", "equipmentId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createService(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/services", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listServices(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/services", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive"], "hasKey": false}, parameters, undefined, options);
  }

  getService(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/services/{serviceId}", "pathNames": ["clinicId", "serviceId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateService(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/services/{serviceId}", "pathNames": ["clinicId", "serviceId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  deactivateService(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/services/{serviceId}:deactivate", "pathNames": ["clinicId", "serviceId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createServiceRule(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/serviceRules", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listServiceRules(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/serviceRules", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive", "serviceId", "providerId"], "hasKey": false}, parameters, undefined, options);
  }

  getServiceRule(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/serviceRules/{serviceRuleId}", "pathNames": ["clinicId", "serviceRuleId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateServiceRule(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/serviceRules/{serviceRuleId}", "pathNames": ["clinicId", "serviceRuleId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  deactivateServiceRule(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/serviceRules/{serviceRuleId}:deactivate", "pathNames": ["clinicId", "serviceRuleId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createWindow(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/windows", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listWindows(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/windows", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive", "resourceId", "locationId"], "hasKey": false}, parameters, undefined, options);
  }

  getWindow(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/windows/{windowId}", "pathNames": ["clinicId", "windowId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updateWindow(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/windows/{windowId}", "pathNames": ["clinicId", "windowId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  deactivateWindow(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/windows/{windowId}:deactivate", "pathNames": ["clinicId", "windowId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createPreference(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/preferences", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listPreferences(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/preferences", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive", "providerId"], "hasKey": false}, parameters, undefined, options);
  }

  getPreference(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/preferences/{preferenceId}", "pathNames": ["clinicId", "preferenceId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updatePreference(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/preferences/{preferenceId}", "pathNames": ["clinicId", "preferenceId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  deactivatePreference(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/preferences/{preferenceId}:deactivate", "pathNames": ["clinicId", "preferenceId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  createPatient(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/patients", "pathNames": ["clinicId"], "queryNames": ["idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  listPatients(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/patients", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "includeInactive", "namePrefix", "phone", "email", "dob"], "hasKey": false}, parameters, undefined, options);
  }

  getPatient(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/patients/{patientId}", "pathNames": ["clinicId", "patientId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  updatePatient(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "PATCH", "path": "/v1/clinics/{clinicId}/patients/{patientId}", "pathNames": ["clinicId", "patientId"], "queryNames": ["updateMask", "etag", "idempotencyKey", "strict"], "hasKey": true}, parameters, body, options);
  }

  batchGetPatients(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/patients:batchGet", "pathNames": ["clinicId"], "queryNames": ["ids"], "hasKey": false}, parameters, undefined, options);
  }

  searchPatients(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/patients:search", "pathNames": ["clinicId"], "queryNames": [], "hasKey": false}, parameters, body, options);
  }

  deactivatePatient(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/patients/{patientId}:deactivate", "pathNames": ["clinicId", "patientId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  previewWindows(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/windows:preview", "pathNames": ["clinicId"], "queryNames": [], "hasKey": false}, parameters, body, options);
  }

  listAuditEvents(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/auditEvents", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "actor", "action", "entityId", "from", "to"], "hasKey": false}, parameters, undefined, options);
  }

  breakGlass(parameters, body = {}, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/clinics/{clinicId}/breakGlass", "pathNames": ["clinicId"], "queryNames": [], "hasKey": true}, parameters, body, options);
  }

  listBreakGlass(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/breakGlass", "pathNames": ["clinicId"], "queryNames": ["pageSize", "pageToken", "activeOnly"], "hasKey": false}, parameters, undefined, options);
  }

  getPresence(parameters, options = {}) {
    return this.#transport.call({"method": "GET", "path": "/v1/clinics/{clinicId}/presence", "pathNames": ["clinicId"], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }

  createRealtimeTicket(parameters, options = {}) {
    return this.#transport.call({"method": "POST", "path": "/v1/realtime/sse/tickets", "pathNames": [], "queryNames": [], "hasKey": false}, parameters, undefined, options);
  }
}
