"""A small real process that says by grpc.health.v1 that it serves: `python -m tests.support.fake_service PORT [WAY]`.

WAY is `polite` (default: ends on SIGTERM), `stubborn` (ignores SIGTERM) or `failing` (ends at once with code 3).
"""

import signal
import sys
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def serve(port: int, way: str) -> None:
    """Serve until SIGTERM."""
    if way == "failing":
        sys.stderr.write("no such setting: MEDFORALL_NONSENSE\n")
        sys.exit(3)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: None if way == "stubborn" else stop.set())
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    stop.wait()
    server.stop(None).wait()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "polite")
