"""From answers to replies."""

import time
from collections.abc import Iterable
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from medforall.availability.v1 import availability_pb2

from availability_svc.freshness import Stamp
from availability_svc.layers import Layer
from availability_svc.places import Place
from availability_svc.rpc.pages import page_token
from availability_svc.rpc.slots import SlotWriter, length_delimited
from availability_svc.usecases.find_next_available import FirstSlots
from availability_svc.usecases.search_slots import SlotPage
from scheduling import localtime

_CALLS_NS: Final = 1_000_000


def search_reply(
    request: availability_pb2.SearchSlotsRequest, page: SlotPage, writer: SlotWriter, began_ns: int
) -> bytes:
    """Return SearchSlots' reply, serialized."""
    slots = writer.write(page.place, page.slots)
    rest = availability_pb2.SearchSlotsResponse(
        metadata=metadata(
            page.place.zone,
            page.stamp,
            page.layer,
            began_ns,
            patient_judged=page.patient_judged,
            total=page.total,
        )
    )
    if page.more_after is not None:
        rest.next_page_token = page_token(request, page.more_after)
    return slots + rest.SerializeToString()


def metadata(
    zone: str, stamp: Stamp, layer: Layer, began_ns: int, *, patient_judged: bool = False, total: int = 0
) -> availability_pb2.SearchMetadata:
    """Return how an answer came about."""
    return availability_pb2.SearchMetadata(
        timezone=zone,
        fetched_at=_timestamp(stamp.fetched_at.timestamp()),
        query_duration_ms=(time.perf_counter_ns() - began_ns) / _CALLS_NS,
        fresh_at=_timestamp(stamp.fresh_at.timestamp()),
        stale=stamp.is_stale,
        age_ms=stamp.age_ms,
        cache_layer=availability_pb2.CacheLayer.ValueType(int(layer)),
        patient_rules_judged=patient_judged,
        total_slots=total,
    )


def local_interval(
    place: Place, start_min: int | None, end_min: int | None
) -> availability_pb2.LocalInterval:
    """Return an interval in local time and UTC, without an end that is not known."""
    found = availability_pb2.LocalInterval()
    if start_min is not None:
        found.start = localtime.format_local(place.zone, start_min)
        found.start_utc.seconds = start_min * 60
    if end_min is not None:
        found.end = localtime.format_local(place.zone, end_min)
        found.end_utc.seconds = end_min * 60
    return found


def _timestamp(seconds: float) -> Timestamp:
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1_000) * 1_000_000)


def next_reply(found: FirstSlots, writer: SlotWriter, began_ns: int) -> bytes:
    """Return FindNextAvailable's reply, serialized."""
    slots = b"".join(writer.write(place, (slot,)) for place, slot in found.slots)
    rest = availability_pb2.FindNextAvailableResponse(
        metadata=metadata(
            found.place.zone,
            found.stamp,
            found.layer,
            began_ns,
            patient_judged=found.patient_judged,
            total=len(found.slots),
        )
    )
    return slots + rest.SerializeToString()


def batch_reply(results: Iterable[bytes]) -> bytes:
    """Return BatchSearchSlots' reply, serialized, from serialized replies of SearchSlots."""
    return b"".join(length_delimited(result) for result in results)
