"""The streams that carry events between the services, and the subjects in them."""

from __future__ import annotations

from dataclasses import dataclass

from nats.js import api

_DAY_S = 86_400
_DUPLICATE_WINDOW_S = 600
_MESSAGE_BYTES_MAX = 1_048_576


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A stream: its name, the subjects it stores, and for how long."""

    name: str
    subjects: tuple[str, ...]
    description: str
    max_age_s: int = 14 * _DAY_S

    def config(self, replicas: int) -> api.StreamConfig:
        """The stream as JetStream wants it told.

        On disk, nothing deleted by hand, duplicates caught for 10 min.
        """
        return api.StreamConfig(
            name=self.name,
            description=self.description,
            subjects=list(self.subjects),
            retention=api.RetentionPolicy.LIMITS,
            discard=api.DiscardPolicy.OLD,
            storage=api.StorageType.FILE,
            max_age=self.max_age_s,
            max_msg_size=_MESSAGE_BYTES_MAX,
            duplicate_window=_DUPLICATE_WINDOW_S,
            deny_delete=True,
            allow_direct=True,
            allow_atomic=True,
            num_replicas=replicas,
        )


APPOINTMENTS = StreamSpec("APPOINTMENTS", ("medforall.appointment.>",), "Every change of every appointment.")
DIRECTORY = StreamSpec("DIRECTORY", ("medforall.directory.>",), "Changes of windows, rules and resources.")
REPUBLISH = StreamSpec(
    "REPUBLISH",
    ("medforall.republish.>",),
    "Events sent again from the outbox; only projectors read it.",
    max_age_s=_DAY_S,
)

STREAMS = (APPOINTMENTS, DIRECTORY, REPUBLISH)


def stream_of(subject: str) -> str | None:
    """The stream that stores a subject; None when none of ours does."""
    for stream in STREAMS:
        if any(subject.startswith(stored.removesuffix(">")) for stored in stream.subjects):
            return stream.name
    return None
