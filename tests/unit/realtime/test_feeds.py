"""A gateway's feeds against a model of realtime_svc: whatever breaks, each client hears all once, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from medforall.realtime.v1 import realtime_pb2 as wire

from gateway.realtime.feeds import Feeds
from gateway.realtime.news import Form
from gateway.realtime.session import Session
from scheduling.channels import Viewer
from scheduling.positions import Position

_CLINIC = "6f9c3c1e-5d60-4f0b-9a64-0b3e0f6b2a10"
_CHANNELS = ("a", "b", "c")


class Heard:
    """An outlet that remembers."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.positions: list[Position] = []

    def tell(self, form: Form, position: Position) -> None:
        self.sequences.append(int(form.type))
        self.positions.append(position)

    def resync(self, position: Position, reason: str) -> None:
        raise AssertionError("nothing was lost")

    def overflow(self) -> None:
        raise AssertionError("nothing was slow")


class Upstream:
    """realtime_svc: a log of (channel) events, joins answered late, streams that break."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.feeds = Feeds(self._said)
        self._joined: set[str] = set()
        self._waiting: list[wire.ConnectResponse] = []
        self._is_up = False

    def go_up(self) -> None:
        self._is_up, self._joined = True, set()
        self.feeds.on_up()

    def go_down(self) -> None:
        """What was on its way is lost."""
        if self._is_up:
            self._is_up = False
            self._waiting.clear()
            self.feeds.on_down()

    def happen(self, channel: str) -> None:
        self.log.append(channel)
        if self._is_up and channel in self._joined:
            self._send(wire.ConnectResponse(delivery=self._delivery(len(self.log), 0)))

    def flow(self, count: int) -> None:
        """Let some of what waits arrive."""
        for _ in range(min(count, len(self._waiting))):
            self.feeds.on_item(self._waiting.pop(0))

    def _said(self, request: wire.ConnectRequest) -> None:
        if request.HasField("leave"):
            self._joined.difference_update(request.leave.channels)
        if not request.HasField("join"):
            return
        join = request.join
        self._joined.update(join.channels)
        if join.resume_from:
            start = int(join.resume_from.partition("-")[0])
            for number in range(start + 1, len(self.log) + 1):
                if self.log[number - 1] in join.channels:
                    self._send(wire.ConnectResponse(delivery=self._delivery(number, join.request_id)))
        position = str(Position(len(self.log), 0))
        self._send(wire.ConnectResponse(joined=wire.Joined(request_id=join.request_id, position=position)))

    def _delivery(self, number: int, request_id: int) -> wire.Delivery:
        return wire.Delivery(
            request_id=request_id,
            clinic_id=_CLINIC,
            channels=[self.log[number - 1]],
            position=str(Position(number, 0)),
            type=str(number),
            json=b'{"sequence":"%d-0"}}' % number,
            source=wire.EVENT_SOURCE_APPOINTMENTS,
        )

    def _send(self, item: wire.ConnectResponse) -> None:
        self._waiting.append(item)


def _session() -> tuple[Session, Heard]:
    outlet = Heard()
    return Session(Viewer(role="admin", clinic_id=_CLINIC), "user", outlet), outlet


steps = st.lists(
    st.one_of(
        st.tuples(st.just("happen"), st.sampled_from(_CHANNELS)),
        st.tuples(st.just("flow"), st.integers(1, 5)),
        st.tuples(st.just("break"), st.just(0)),
        st.tuples(st.just("come"), st.sets(st.sampled_from(_CHANNELS), min_size=1)),
        st.tuples(st.just("more"), st.tuples(st.integers(0, 4), st.sampled_from(_CHANNELS))),
        st.tuples(st.just("go"), st.integers(0, 4)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
async def test_every_client_hears_its_channels_once_in_order_whatever_breaks(
    plan: Sequence[tuple[str, Any]],
) -> None:
    """From where it resumed on, a client hears exactly its channels' events, in order, none twice."""
    upstream = Upstream()
    upstream.go_up()
    clients: list[tuple[Session, Heard, set[str], int, Any]] = []
    for kind, value in plan:
        if kind == "happen":
            upstream.happen(value)
        elif kind == "flow":
            upstream.flow(value)
        elif kind == "break":
            upstream.go_down()
            upstream.go_up()
        elif kind == "come":
            session, heard = _session()
            start = len(upstream.log) // 2
            answer = upstream.feeds.subscribe(session, value, Position(start, 0))
            clients.append((session, heard, set(value), start, answer))
        elif kind == "more" and value[0] < len(clients):
            session, _, channels, _, answer = clients[value[0]]
            if answer.done() and value[1] in channels:
                # Leaving and joining again later may skip what happened between; here nothing does.
                upstream.feeds.subscribe(session, [value[1]], None)
        elif kind == "go" and value < len(clients):
            upstream.feeds.forget(clients.pop(value)[0])
    upstream.go_down()
    upstream.go_up()
    upstream.flow(10_000)
    for _, heard, channels, start, _ in clients:
        expected = [n for n, channel in enumerate(upstream.log, 1) if channel in channels and n > start]
        assert heard.sequences == expected
        assert all(
            later.reaches(earlier)
            for earlier, later in zip(heard.positions, heard.positions[1:], strict=False)
        )
