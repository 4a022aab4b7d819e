"""Reads what a question needs: the place, what is taken there, and whose visit it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Final

from availability_svc.calendars import buckets_of
from availability_svc.freshness import Stamp
from availability_svc.layers import Layer
from availability_svc.places import Place
from availability_svc.questions import Caller, ForWhom
from availability_svc.store.calendar_source import Versions, Wanted
from availability_svc.store.one_reading import (
    Calendars,
    CalendarsRead,
    Clockwork,
    Locations,
    LocationsRead,
    OneMoment,
    Outlines,
)
from availability_svc.store.redis_projection import BucketId
from availability_svc.store.truth import Truth
from scheduling import consistency, localtime
from scheduling.busy import BusyFacts, KeptCalendars
from scheduling.clock import exact_minutes_of
from scheduling.derived import DerivedCache
from scheduling.errors import Invalid, NotFound, Reason, Refused, Unauthenticated
from scheduling.facts import PatientFacts, Rule, Service, SlotRequest, TimeOfDay
from scheduling.frame import duration_of, horizon_around, service_of
from scheduling.reading import patient_since_min, reach_min
from scheduling.rules.registry import MAX_DAILY
from scheduling.timeline import Horizon


@dataclass(frozen=True, slots=True)
class Whom:
    """Whose visit is looked for, once it has been looked up."""

    patient: PatientFacts | None = None
    ignored: frozenset[str] = frozenset()
    at_least: Versions = field(default_factory=dict)


_NOBODY: Final = Whom()


class Reader:
    """What every use case reads with. Safe between threads, but for one made by `in_one_reading`."""

    def __init__(
        self,
        locations: Locations,
        outlines: Outlines,
        calendars: Calendars,
        truth: Truth,
        *,
        freshness: Clockwork,
        cache: DerivedCache,
    ) -> None:
        self._locations = locations
        self._outlines = outlines
        self._calendars = calendars
        self._truth = truth
        self._freshness = freshness
        self.cache = cache

    def in_one_reading(self, tokens: Iterable[str]) -> "Reader":
        """Return a reader for one call that asks several questions: it reads everything once, at one time.

        Everything is at least as new as every one of the consistency tokens says.
        """
        at_least: dict[str, int] = {}
        for token in tokens:
            at_least = consistency.merge(at_least, consistency.decode(token))
        return Reader(
            LocationsRead(self._locations, at_least),
            self._outlines,
            CalendarsRead(self._calendars, at_least),
            self._truth,
            freshness=OneMoment(self._freshness),
            cache=self.cache,
        )

    def now_min(self) -> float:
        """Return the minutes since the epoch, by the database's clock."""
        return exact_minutes_of(self._freshness.now())

    def stamp(self) -> Stamp:
        """Return how fresh what was read is."""
        return self._freshness.stamp()

    def place(self, clinic_id: str, location_id: str, caller: Caller, token: str = "") -> tuple[Place, Layer]:
        """Return a location that the caller may search, at least as new as a consistency token says.

        Raises NotFound, Unauthenticated for a clinic that is not open to everybody, RESOURCE_INACTIVE.
        """
        place, layer = self._locations.get(clinic_id, location_id, _directory_version(token, clinic_id))
        facts = place.facts
        if facts.clinic_status == "archived":
            raise NotFound("There is no such clinic.", metadata={"resource": "clinic"})
        if caller is Caller.ANYBODY and not facts.public_search:
            raise Unauthenticated("A bearer token is required.")
        if not facts.active:
            raise Refused("The location is out of use.", reason=Reason.RESOURCE_INACTIVE)
        return place, layer

    def location_ids(self, clinic_id: str, token: str = "") -> tuple[Sequence[str], Layer]:
        """Return the ids of the clinic's locations that are in use, and the layer they came from."""
        outline, layer = self._outlines.get(clinic_id, _directory_version(token, clinic_id))
        return outline.location_ids, layer

    def resource_location(self, clinic_id: str, resource_id: str, token: str = "") -> tuple[str, str | None]:
        """Return the kind and own location of a provider, room or equipment item, or raise NotFound."""
        outline, _ = self._outlines.get(clinic_id, _directory_version(token, clinic_id))
        found = outline.resources.get(resource_id)
        if found is None:
            raise NotFound("There is no such resource.", metadata={"resource": "resource"})
        return found

    def whom(self, place: Place, service_id: str, whom: ForWhom, start_min: int) -> Whom:
        """Look up whose visit, from `start_min` on, is looked for.

        Raises NotFound for a patient or appointment that is not there.
        """
        if whom == _FOR_NOBODY:
            return _NOBODY
        if whom.caller is Caller.ANYBODY and (whom.patient_id or whom.ignore_appointment_id):
            raise Unauthenticated("A bearer token is required to search for a patient.")
        if whom.caller is Caller.PATIENT and whom.patient_id not in ("", whom.caller_patient_id):
            raise NotFound("There is no such patient.", metadata={"resource": "patient"})
        patient = None
        if whom.patient_id:
            since_min = patient_since_min(place.static, service_id, start_min)
            patient = self._patient(place.clinic_id, whom.patient_id, since_min)
        return Whom(
            patient=patient,
            ignored=frozenset(self._ignored(place.clinic_id, whom)),
            at_least=consistency.decode(whom.consistency_token),
        )

    def require_providers(self, place: Place, provider_ids: Sequence[str], token: str = "") -> None:
        """Raise NotFound unless the clinic has every one of these providers."""
        unknown = [one for one in provider_ids if one not in place.provider_labels]
        if not unknown:
            return
        outline, _ = self._outlines.get(place.clinic_id, _directory_version(token, place.clinic_id))
        if any(outline.resources.get(one, ("", None))[0] != "provider" for one in unknown):
            raise NotFound("There is no such provider.", metadata={"resource": "provider"})

    def busy(
        self, place: Place, request: SlotRequest, window: Horizon, whom: Whom
    ) -> tuple[BusyFacts, Layer]:
        """Return what is taken of everything that may serve the request in the window."""
        wanted = self._wanted(place, request, window)
        calendars, layer = self._calendars.read(place, wanted, whom.at_least)
        if whom.patient is None:
            return BusyFacts(calendars, kept=calendars), layer
        own, own_layer = self._patient_calendars(place, whom, window)
        return BusyFacts({**calendars, **own}, whom.patient, kept=calendars), max(layer, own_layer)

    def resource_calendars(
        self, place: Place, resource_id: str, window: Horizon, at_least: Versions
    ) -> tuple[KeptCalendars, Layer]:
        """Return what is taken of one resource in the window."""
        place.learn_gaps(resource_id)
        numbers = buckets_of(window.start_min, window.end_min)
        ids = tuple((resource_id, number) for number in numbers)
        wanted = Wanted(("one", resource_id, numbers.start, numbers.stop), lambda: ids)
        return self._calendars.read(place, wanted, at_least)

    def _patient_calendars(self, place: Place, whom: Whom, window: Horizon) -> tuple[KeptCalendars, Layer]:
        patient = whom.patient
        if patient is None or patient.is_placeholder:
            return KeptCalendars(), Layer.L1
        return self.resource_calendars(place, patient.id, window, whom.at_least)

    def _wanted(self, place: Place, request: SlotRequest, window: Horizon) -> Wanted:
        """Name the buckets of everything at the place: searches of the same fortnight read the same."""
        service, reach, quota_rules = self._margins(place, request.service_id)
        span = horizon_around(window, service, duration_of(service, request.duration_min), reach)
        numbers = buckets_of(span.start_min, span.end_min)
        name: tuple[object, ...] = (numbers.start, numbers.stop)
        days: tuple[date, ...] = ()
        if quota_rules:
            days = localtime.local_days(place.zone, window.start_min, window.end_min)
            name = (*name, request.service_id, days[0], days[-1])
        return Wanted(name, lambda: _bucket_ids(place, numbers, quota_rules, days))

    def _margins(self, place: Place, service_id: str) -> tuple[Service, int, tuple[Rule, ...]]:
        """Return a service, how far its claims reach after its visits, and its daily limits."""
        key = f"margins {service_id}"
        found: tuple[Service, int, tuple[Rule, ...]] | None = place.prepared.get(key)
        if found is None:
            service = service_of(place.static, service_id)
            found = (service, reach_min(place.static, service_id), place.quota_rules(service_id))
            place.prepared[key] = found
        return found

    def _patient(self, clinic_id: str, patient_id: str, since_min: int | None) -> PatientFacts:
        patient = self._truth.patient(clinic_id, patient_id, since_min)
        if patient is None:
            raise NotFound("There is no such patient.", metadata={"resource": "patient"})
        return patient

    def _ignored(self, clinic_id: str, whom: ForWhom) -> list[str]:
        ignored = []
        if whom.ignore_appointment_id:
            owner = whom.caller_patient_id if whom.caller is Caller.PATIENT else ""
            if not self._truth.has_appointment(clinic_id, whom.ignore_appointment_id, owner):
                raise NotFound("There is no such appointment.", metadata={"resource": "appointment"})
            ignored.append(whom.ignore_appointment_id)
        if whom.hold_token:
            held = self._truth.held_appointment(
                clinic_id, sha256(whom.hold_token.encode()).digest(), self._freshness.now()
            )
            if held is not None:
                ignored.append(held)
        return ignored


_FOR_NOBODY: Final = ForWhom()


def _bucket_ids(
    place: Place, numbers: range, quota_rules: Sequence[Rule], days: Sequence[date]
) -> tuple[BucketId, ...]:
    ids = [(calendar_id, number) for calendar_id in place.calendar_ids for number in numbers]
    for day in days:
        day_numbers = buckets_of(*localtime.day_bounds(place.zone, day))
        quotas = {
            MAX_DAILY.resource_id(rule, place.id, provider.id, day)
            for rule in quota_rules
            for provider in place.static.providers
            if rule.provider_id in (None, provider.id)
        }
        ids.extend((quota, number) for quota in sorted(quotas) for number in day_numbers)
    return tuple(ids)


def _directory_version(token: str, clinic_id: str) -> int:
    return consistency.directory_version(consistency.decode(token), clinic_id) if token else 0


def request_of(
    service_id: str,
    provider_ids: Sequence[str],
    for_whom: ForWhom,
    whom: Whom,
    preferred: TimeOfDay | None = None,
) -> SlotRequest:
    """Return the engine's request."""
    return SlotRequest(
        service_id=service_id,
        provider_ids=tuple(provider_ids) or None,
        duration_min=for_whom.duration_min or None,
        patient_id=for_whom.patient_id or None,
        ignore_appointment_ids=whom.ignored,
        preferred_time_of_day=preferred,
    )


def window_between(place: Place, start: str, end: str) -> Horizon:
    """Return the window between two local times. Raises Invalid, or NonexistentLocalTime."""
    start_min = localtime.parse_local(start, place.zone, "start")
    end_min = localtime.parse_local(end, place.zone, "end")
    if end_min <= start_min:
        raise Invalid.field("end", "must be later than start")
    return Horizon(start_min, end_min)
