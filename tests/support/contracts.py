"""The services of the contracts, found in `protos/`: a new one is found without being named anywhere."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

_PROTOS: Final = Path(__file__).parents[2] / "protos"


@dataclass(frozen=True, slots=True)
class Contract:
    """A service and what calls it."""

    service: ServiceDescriptor
    stub: Any

    def method(self, name: str) -> MethodDescriptor:
        """One of its RPCs."""
        found: MethodDescriptor = self.service.methods_by_name[name]
        return found

    def request(self, name: str) -> Any:
        """The class of an RPC's request."""
        return GetMessageClass(self.method(name).input_type)


def _found() -> Iterator[Contract]:
    for module, name in _modules():
        for service in module.DESCRIPTOR.services_by_name.values():
            stubs = importlib.import_module(f"{name}_grpc")
            yield Contract(service, getattr(stubs, f"{service.name}Stub"))


def _modules() -> Iterator[tuple[ModuleType, str]]:
    for file in sorted(_PROTOS.rglob("*.proto")):
        name = ".".join(file.relative_to(_PROTOS).with_suffix("").parts) + "_pb2"
        yield importlib.import_module(name), name


SERVICES: Final = {contract.service.name: contract for contract in _found()}
"""Every service by its name."""
