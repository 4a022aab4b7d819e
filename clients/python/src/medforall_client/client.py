"""One object with a typed stub for each service."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import grpc
from medforall.availability.v1.availability_pb2_grpc import AvailabilityServiceStub
from medforall.booking.v1.booking_pb2_grpc import BookingServiceStub
from medforall.directory.v1.directory_pb2_grpc import DirectoryServiceStub

from medforall_client.policy import Policy, Retries

Token = str | Callable[[], str]


class Medforall:
    """The services of one installation. Close it, or use it in a `with`.

    `booking` and `availability` are host:port; the directory is served by booking. `token` is a JWT, or a function
    that returns a valid one whenever it is called. Calls raise MedforallError.
    """

    def __init__(
        self,
        *,
        booking: str,
        availability: str,
        token: Token,
        credentials: grpc.ChannelCredentials | None = None,
        deadline_s: float = 10.0,
        retries: Retries | None = None,
    ) -> None:
        policy = Policy(_callable(token), deadline_s=deadline_s, retries=retries or Retries())
        self._channels = [_channel(target, credentials) for target in (booking, availability)]
        booked, found = (grpc.intercept_channel(channel, policy) for channel in self._channels)
        self.booking = BookingServiceStub(booked)
        self.directory = DirectoryServiceStub(booked)
        self.availability = AvailabilityServiceStub(found)

    def close(self) -> None:
        """Close every connection."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _callable(token: Token) -> Callable[[], str]:
    return (lambda: token) if isinstance(token, str) else token


def _channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    return grpc.insecure_channel(target) if credentials is None else grpc.secure_channel(target, credentials)
