"""Calls to the services: one channel each, one callable per RPC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc.aio import Metadata

from gateway.transcoding.bindings import Binding

Invoke = Callable[[Message, float, Metadata], Awaitable[bytes]]


def invoker(channel: grpc.aio.Channel, binding: Binding) -> Invoke:
    """A function that makes this RPC, given a deadline (seconds) and metadata; it raises AioRpcError.

    The reply comes as it was on the wire: only what REST shows of it is read, and how is the encoder's business.
    """
    call: Any = channel.unary_unary(
        binding.grpc_path, request_serializer=_serialize, response_deserializer=None
    )

    async def invoke(request: Message, timeout_s: float, metadata: Metadata) -> bytes:
        answer: bytes = await call(request, timeout=timeout_s, metadata=metadata)
        return answer

    return invoke


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


class Channels:
    """The channels of this process, as a part of its start and stop."""

    name = "upstream channels"

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self._channels = dict(channels)

    def __getitem__(self, upstream: str) -> grpc.aio.Channel:
        return self._channels[upstream]

    def states(self) -> Mapping[str, grpc.ChannelConnectivity]:
        """The connectivity of each channel; asking wakes an idle one."""
        return {name: channel.get_state(try_to_connect=True) for name, channel in self._channels.items()}

    async def start(self) -> None:
        """Begin to connect; a service that is away is connected to when it comes."""
        self.states()

    async def stop(self) -> None:
        """Close every channel."""
        for channel in self._channels.values():
            await channel.close()
