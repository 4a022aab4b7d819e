"""The floor of a search: the service's own server, interceptors and settings, answering one ready-made message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medforall.availability.v1 import availability_pb2

from availability_svc.rpc.availability import AvailabilityServicer, add_servicer
from availability_svc.settings import AvailabilitySettings
from availability_svc.wiring import NAME
from bench.gateway import fifty_slots
from chassis.auth.verifier import build_verifier
from chassis.config import load
from chassis.grpc.server import GrpcService, ServerParts, threads_server
from chassis.lifecycle import Process, main
from chassis.logging import configure_logging
from chassis.metrics import build_metrics
from chassis.tracing import build_tracing


class ReadyMade(AvailabilityServicer):
    """Answers every search with the same 50 slots."""

    def __init__(self) -> None:
        self._reply = fifty_slots().SerializeToString()

    def SearchSlots(self, request: availability_pb2.SearchSlotsRequest, _context: Any) -> Any:  # noqa: ARG002, N802
        """The ready-made message."""
        return self._reply


async def build(environ: Mapping[str, str]) -> Process:
    """The process."""
    settings = load(AvailabilitySettings, environ)
    common = settings.common
    configure_logging(service=NAME, environment=common.environment, level=common.log_level)
    parts = ServerParts(
        settings=settings.grpc,
        tls=settings.tls,
        verifier=build_verifier(settings.auth),
        metrics=build_metrics(),
        tracing=build_tracing(
            service=NAME,
            environment=common.environment,
            endpoint=settings.tracing.otlp_endpoint,
            sample_ratio=settings.tracing.sample_ratio,
        ),
    )
    descriptor = availability_pb2.DESCRIPTOR.services_by_name["AvailabilityService"]
    return Process("floor", [threads_server([GrpcService(descriptor, add_servicer, ReadyMade())], parts)])


if __name__ == "__main__":
    main(build)
