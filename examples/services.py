"""Ask a running server by reflection which services and RPCs it has: no stubs needed.

Run it as `.venv/bin/python examples/services.py`, after `medforall env`.
"""

from __future__ import annotations

import os
from pathlib import Path

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def open_channel(target: str) -> grpc.Channel:
    """A channel; with the client certificate that `medforall env` names when the suite speaks TLS."""
    if "CA_FILE" not in os.environ:
        return grpc.insecure_channel(target)
    files = (os.environ[name] for name in ("CA_FILE", "CLIENT_KEY_FILE", "CLIENT_CERT_FILE"))
    return grpc.secure_channel(
        target, grpc.ssl_channel_credentials(*(Path(file).read_bytes() for file in files))
    )


def main() -> None:
    """Print every RPC of the booking server."""
    with open_channel(os.environ["BOOKING_GRPC"]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        for name in sorted(database.get_services()):
            for method in pool.FindServiceByName(name).methods:
                print(f"{name}/{method.name}({method.input_type.name})")


if __name__ == "__main__":
    main()
