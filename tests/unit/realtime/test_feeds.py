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
from scheduling.positions import Position, parse_position

_CLINIC = "6f9c3c1e-5d60-4f0b-9a64-0b3e0f6b2a10"
_CHANNELS = ("a", "b", "c")


class Heard:
    """An outlet that remembers."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.positions: list[Position] = []
        self.start: Position | None = None

    def tell(self, form: Form, position: Position) -> None:
        self.sequences.append(int(form.type))
        self.positions.append(position)

    def resync(self, position: Position, reason: str) -> None:
        """Begin anew: what was heard before is of streams that are no more."""
        assert reason == "streams_reset"
        self.sequences.clear()
        self.positions.clear()
        self.start = position

    def overflow(self) -> None:
        raise AssertionError("nothing was slow")


class Upstream:
    """realtime_svc: a log of (channel) events, joins answered late, streams that break."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.epoch = 1
        self.joins: list[wire.Join] = []
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

    def lose(self, count: int, *, is_made_anew: bool) -> None:
        """Lose the log's end, or all of it and the epoch; answers under way are overtaken by the news of it."""
        del self.log[0 if is_made_anew else max(0, len(self.log) - count) :]
        self.epoch += is_made_anew
        live = [item.delivery.position != "" and not item.delivery.request_id for item in self._waiting]
        at = len(live) - live[::-1].index(True) if any(live) else 0
        reset = wire.Resync(position=str(self.position), reason=wire.RESYNC_REASON_RESET)
        self._waiting.insert(at, wire.ConnectResponse(reset=reset))
        if not is_made_anew:
            # Who has not heard of it when the log has grown again cannot tell.
            self.flow(at + 1)

    @property
    def position(self) -> Position:
        return self.at(len(self.log))

    def at(self, number: int) -> Position:
        return Position(number, 0, 0, f"e{self.epoch}")

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
        assert 0 < len(join.channels) <= 1_000
        self.joins.append(join)
        self._joined.update(join.channels)
        joined = wire.Joined(request_id=join.request_id, position=str(self.position))
        if join.resume_from and not self._send_again(join, parse_position(join.resume_from)):
            joined.resync.position, joined.resync.reason = joined.position, wire.RESYNC_REASON_RESET
        self._send(wire.ConnectResponse(joined=joined))

    def _send_again(self, join: wire.Join, start: Position) -> bool:
        if start.epoch != self.position.epoch or start.appointments > len(self.log):
            return False
        for number in range(start.appointments + 1, len(self.log) + 1):
            if self.log[number - 1] in join.channels:
                self._send(wire.ConnectResponse(delivery=self._delivery(number, join.request_id)))
        return True

    def _delivery(self, number: int, request_id: int) -> wire.Delivery:
        return wire.Delivery(
            request_id=request_id,
            clinic_id=_CLINIC,
            channels=[self.log[number - 1]],
            position=str(self.at(number)),
            type=str(number),
            json=b'{"sequence":"%s"}}' % str(self.at(number)).encode(),
            source=wire.EVENT_SOURCE_APPOINTMENTS,
        )

    def _send(self, item: wire.ConnectResponse) -> None:
        self._waiting.append(item)


def _session() -> tuple[Session, Heard]:
    outlet = Heard()
    return Session(Viewer(role="admin", clinic_id=_CLINIC), "user", outlet), outlet


class World:
    """A realtime_svc and this gateway's clients; each method is a step of a plan."""

    def __init__(self) -> None:
        self.upstream = Upstream()
        self.upstream.go_up()
        self.clients: list[tuple[Session, Heard, set[str], Any]] = []

    def happen(self, channel: str) -> None:
        self.upstream.happen(channel)

    def flow(self, count: int) -> None:
        self.upstream.flow(count)

    def cut(self, _: int) -> None:
        self.upstream.go_down()
        self.upstream.go_up()

    def lose(self, loss: tuple[int, bool]) -> None:
        self.upstream.lose(loss[0], is_made_anew=loss[1])

    def come(self, channels: set[str]) -> None:
        session, heard = _session()
        heard.start = self.upstream.at(len(self.upstream.log) // 2)
        answer = self.upstream.feeds.subscribe(session, channels, heard.start)
        self.clients.append((session, heard, set(channels), answer))

    def more(self, who: tuple[int, str]) -> None:
        if who[0] < len(self.clients):
            session, _, channels, answer = self.clients[who[0]]
            if answer.done() and who[1] in channels:
                # Leaving and joining again later may skip what happened between; here nothing does.
                self.upstream.feeds.subscribe(session, [who[1]], None)

    def go(self, number: int) -> None:
        if number < len(self.clients):
            self.upstream.feeds.forget(self.clients.pop(number)[0])

    def give_up(self, number: int) -> None:
        """As a client whose answer did not come: it subscribes again, from where it stands."""
        if number < len(self.clients):
            session, heard, channels, _ = self.clients[number]
            self.upstream.feeds.forget(session)
            at = heard.positions[-1] if heard.positions else heard.start
            answer = self.upstream.feeds.subscribe(session, channels, at)
            self.clients[number] = (session, heard, channels, answer)


def _step(name: str, value: Any) -> Any:
    return st.tuples(st.just(name), value)


steps = st.lists(
    st.one_of(
        _step("happen", st.sampled_from(_CHANNELS)),
        _step("flow", st.integers(1, 5)),
        _step("cut", st.just(0)),
        _step("come", st.sets(st.sampled_from(_CHANNELS), min_size=1)),
        _step("more", st.tuples(st.integers(0, 4), st.sampled_from(_CHANNELS))),
        _step("go", st.integers(0, 4)),
        _step("give_up", st.integers(0, 4)),
        _step("lose", st.tuples(st.integers(0, 3), st.booleans())),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
async def test_every_client_hears_its_channels_once_in_order_whatever_breaks(
    plan: Sequence[tuple[str, Any]],
) -> None:
    """From where it resumed, or was told to begin anew, a client hears exactly its channels' events, in order, once."""
    world = World()
    for name, value in plan:
        getattr(world, name)(value)
    world.cut(0)
    world.flow(10_000)
    for session, heard, channels, _ in world.clients:
        assert heard.start is not None
        assert not session.is_held
        events = enumerate(world.upstream.log, 1)
        expected = [n for n, channel in events if channel in channels and n > heard.start.appointments]
        assert heard.sequences == expected
        assert all(
            later.reaches(earlier)
            for earlier, later in zip(heard.positions, heard.positions[1:], strict=False)
        )


async def test_a_clinic_of_many_channels_is_joined_again_in_parts() -> None:
    """No `Join` names more than a thousand channels, and each session's channels are in one of them together."""
    upstream = Upstream()
    upstream.go_up()
    sessions = [_session()[0] for _ in range(64)]
    for number, session in enumerate(sessions):
        upstream.feeds.subscribe(session, [f"{number}/{channel}" for channel in range(100)], None)
    upstream.flow(10_000)
    upstream.go_down()
    upstream.joins.clear()
    upstream.go_up()
    upstream.flow(10_000)
    assert sum(len(join.channels) for join in upstream.joins) == 6_400
    assert all(any(session.channels <= set(join.channels) for join in upstream.joins) for session in sessions)
    assert not any(session.is_held for session in sessions)


async def test_a_session_that_leaves_all_channels_while_it_waits_spoils_no_stream() -> None:
    """Nothing is asked for it when the stream stands anew, and it can subscribe again."""
    upstream = Upstream()
    upstream.go_up()
    session, heard = _session()
    upstream.feeds.subscribe(session, ["a"], None)
    upstream.flow(10)
    upstream.go_down()
    upstream.go_up()
    upstream.feeds.unsubscribe(session, ["a"])
    upstream.go_down()
    upstream.joins.clear()
    upstream.go_up()
    assert upstream.joins == []
    upstream.feeds.subscribe(session, ["a"], None)
    upstream.flow(10)
    upstream.happen("a")
    upstream.flow(10)
    assert heard.sequences == [1]
