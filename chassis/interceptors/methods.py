"""What the contract says about each method, read from the descriptors once, at start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from medforall.options.v1 import options_pb2

from chassis.auth.principal import Role
from chassis.lifecycle import Fatal

CLINIC_FIELD = "clinic_id"

# These come with gRPC itself and carry no option of ours.
_BUILT_IN = ("grpc.health.v1.", "grpc.reflection.", "grpc.channelz.")

_ROLES: Mapping[int, Role] = {
    options_pb2.ROLE_ADMIN: Role.ADMIN,
    options_pb2.ROLE_FRONT_DESK: Role.FRONT_DESK,
    options_pb2.ROLE_PROVIDER: Role.PROVIDER,
    options_pb2.ROLE_PATIENT: Role.PATIENT,
    options_pb2.ROLE_SERVICE: Role.SERVICE,
    options_pb2.ROLE_PLATFORM: Role.PLATFORM,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One RPC as the interceptors see it; `path` is `/package.Service/Method`."""

    path: str
    service: str
    name: str
    scopes: frozenset[str] = frozenset()
    roles: frozenset[Role] = frozenset()
    public: bool = False
    anonymous: bool = False
    mutating: bool = False
    is_stream: bool = False
    has_clinic: bool = False
    is_validated: bool = True


def describe_methods(services: Iterable[ServiceDescriptor]) -> dict[str, Method]:
    """Every method of `services` by path.

    Raises Fatal for one whose contract does not say who may call it.
    """
    methods = (_describe(service, method) for service in services for method in service.methods)
    return {method.path: method for method in methods}


def built_in(path: str) -> Method | None:
    """The description of a method that gRPC itself brings, or None when `path` is not one."""
    service, _, name = path.lstrip("/").partition("/")
    if not service.startswith(_BUILT_IN):
        return None
    # A watch or a reflection stream stays open for as long as the client likes.
    is_stream = name in ("Watch", "ServerReflectionInfo")
    return Method(path=path, service=service, name=name, public=True, is_stream=is_stream, is_validated=False)


def _describe(service: ServiceDescriptor, method: MethodDescriptor) -> Method:
    path = f"/{service.full_name}/{method.name}"
    options = method.GetOptions()
    if not options.HasExtension(options_pb2.access):
        raise Fatal(f"{path} has no (medforall.options.v1.access) option, so nobody may call it.")
    access = options.Extensions[options_pb2.access]
    if not (access.public or access.anonymous or access.roles or access.scopes):
        raise Fatal(f"{path} names neither roles nor scopes, and is not public.")
    return Method(
        path=path,
        service=service.full_name,
        name=method.name,
        scopes=frozenset(access.scopes),
        roles=frozenset(_ROLES[role] for role in access.roles),
        public=access.public,
        anonymous=access.anonymous,
        mutating=access.mutating,
        is_stream=method.client_streaming or method.server_streaming,
        has_clinic=_has_clinic(method.input_type),
    )


def _has_clinic(message: Descriptor) -> bool:
    field = message.fields_by_name.get(CLINIC_FIELD)
    return field is not None and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
