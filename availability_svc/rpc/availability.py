"""AvailabilityService: each method turns its request into a question, asks, and writes the answer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc
from google.protobuf.message import Message
from medforall.availability.v1 import availability_pb2, availability_pb2_grpc

from availability_svc.rpc import explanations, questions, replies
from availability_svc.rpc.slots import SlotWriter
from availability_svc.usecases.explain import explain_local_day, explain_start
from availability_svc.usecases.find_next_available import find_next_available
from availability_svc.usecases.get_free_busy import get_free_busy
from availability_svc.usecases.reading import Reader
from availability_svc.usecases.search_slots import search_slots
from scheduling.errors import DomainError, FieldViolation, Invalid


class AvailabilityServicer(availability_pb2_grpc.AvailabilityServiceServicer):
    """Answers from `reader`. Replies made of slots are returned as bytes, see `add_servicer`."""

    def __init__(self, reader: Reader, writer: SlotWriter) -> None:
        self._reader = reader
        self._writer = writer

    def SearchSlots(self, request: availability_pb2.SearchSlotsRequest, _context: Any) -> Any:
        """Every bookable slot of a window, page by page."""
        return self._search(request, self._reader)

    def FindNextAvailable(self, request: availability_pb2.FindNextAvailableRequest, _context: Any) -> Any:
        """The first slots from a time on."""
        began_ns = time.perf_counter_ns()
        found = find_next_available(questions.next_question(request), self._reader)
        return replies.next_reply(found, self._writer, began_ns)

    def BatchSearchSlots(self, request: availability_pb2.BatchSearchSlotsRequest, _context: Any) -> Any:
        """Several searches of one clinic, in the order asked, from one reading."""
        if any(one.clinic_id.lower() != request.clinic_id for one in request.searches):
            raise Invalid.field("searches", "must each name the clinic of the batch")
        reader = self._reader.in_one_reading(one.consistency_token for one in request.searches)
        results = []
        for place, one in enumerate(request.searches):
            with _of_search(place):
                results.append(self._search(one, reader))
        return replies.batch_reply(results)

    def GetFreeBusy(self, request: availability_pb2.GetFreeBusyRequest, _context: Any) -> Any:
        """When a resource is open, and when it is taken."""
        began_ns = time.perf_counter_ns()
        found = get_free_busy(questions.free_busy_question(request), self._reader)
        return explanations.free_busy_reply(found, began_ns)

    def ExplainSlot(self, request: availability_pb2.ExplainSlotRequest, _context: Any) -> Any:
        """Why a start is free or not."""
        began_ns = time.perf_counter_ns()
        found = explain_start(questions.explanation_question(request), self._reader)
        return explanations.slot_explanation_reply(found, self._writer, began_ns)

    def ExplainDay(self, request: availability_pb2.ExplainDayRequest, _context: Any) -> Any:
        """Why the starts of a local day are free or not."""
        began_ns = time.perf_counter_ns()
        found = explain_local_day(questions.day_question(request), self._reader)
        return explanations.day_explanation_reply(found, began_ns)

    def _search(self, request: availability_pb2.SearchSlotsRequest, reader: Reader) -> bytes:
        began_ns = time.perf_counter_ns()
        page = search_slots(questions.slot_question(request), reader)
        return replies.search_reply(request, page, self._writer, began_ns)


@contextmanager
def _of_search(place: int) -> Iterator[None]:
    """Say of a refusal which search of a batch it is about."""
    try:
        yield
    except DomainError as error:
        name = f"searches[{place}]"
        error.message = f"{name}: {error.message}"
        error.metadata["search"] = str(place)
        error.violations = tuple(
            FieldViolation(f"{name}.{one.field}", one.description) for one in error.violations
        )
        raise


def add_servicer(servicer: AvailabilityServicer, server: grpc.Server) -> None:
    """Register the service; its methods may return messages or what they serialize to."""
    registrar = cast("grpc.Server", _Registrar(server))
    availability_pb2_grpc.add_AvailabilityServiceServicer_to_server(servicer, registrar)


class _Registrar:
    """Stands before a server and lets replies through that are bytes already."""

    def __init__(self, server: grpc.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Do nothing: the generic handler is made with the registered ones."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Register each method with a serializer that takes both."""
        methods = {
            name: grpc.unary_unary_rpc_method_handler(
                handler.unary_unary, handler.request_deserializer, _serialized
            )
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        self._server.add_registered_method_handlers(service, methods)


def _serialized(reply: Message | bytes) -> bytes:
    return reply if isinstance(reply, bytes) else reply.SerializeToString()
