"""The contracts that the gateway serves, and which service answers for each."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

# Package of the contract -> the process that serves it. A new RPC in one of them needs nothing here.
UPSTREAM_BY_PACKAGE: Mapping[str, str] = {
    "medforall.availability.v1": "availability",
    "medforall.booking.v1": "booking",
    "medforall.directory.v1": "booking",
    "medforall.realtime.v1": "realtime",
}


@dataclass(frozen=True, slots=True)
class Contract:
    """One gRPC service and the name of the process that serves it."""

    service: ServiceDescriptor
    upstream: str


def load_contracts(upstreams: Mapping[str, str] = UPSTREAM_BY_PACKAGE) -> list[Contract]:
    """Every service in the generated stubs of these packages, by package and then by name.

    A package whose stubs do not exist is left out.
    """
    found: list[Contract] = []
    for package, upstream in upstreams.items():
        services = {
            service.full_name: service
            for file in _files(package)
            for service in file.services_by_name.values()
        }
        found += [Contract(services[name], upstream) for name in sorted(services)]
    return found


def load_files(upstreams: Mapping[str, str] = UPSTREAM_BY_PACKAGE) -> list[FileDescriptor]:
    """Every file of these packages: importing them makes their messages known for error details."""
    return [file for package in upstreams for file in _files(package)]


def _files(package: str) -> Sequence[FileDescriptor]:
    try:
        stubs = importlib.import_module(package)
    except ModuleNotFoundError:
        return ()
    names = sorted(
        {module.name for module in pkgutil.iter_modules(stubs.__path__) if module.name.endswith("_pb2")}
    )
    modules: list[ModuleType] = [importlib.import_module(f"{package}.{name}") for name in names]
    return [module.DESCRIPTOR for module in modules]
