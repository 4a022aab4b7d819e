"""Ask a running server by reflection which services and RPCs it has: no stubs needed.

Run it as `.venv/bin/python examples/services.py`, after `medforall env`.
"""

from __future__ import annotations

import os

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main() -> None:
    """Print every RPC of the booking server."""
    with grpc.insecure_channel(os.environ["BOOKING_GRPC"]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        for name in sorted(database.get_services()):
            for method in pool.FindServiceByName(name).methods:
                print(f"{name}/{method.name}({method.input_type.name})")


if __name__ == "__main__":
    main()
