"""Parts of clinics' directories: from memory, else Redis, else PostgreSQL, each time kept for the next caller."""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Generic, TypeVar

import structlog

from availability_svc.layers import Layer, LayerCounters
from availability_svc.store.documents import Document, PartId
from availability_svc.store.flights import Flights
from availability_svc.store.memory import Remembered
from availability_svc.store.pulses import Pulses
from availability_svc.store.redis_projection import RedisProjection
from scheduling.errors import Exhausted, Unavailable

_log = structlog.get_logger(__name__)

ValueT = TypeVar("ValueT")

# Redis hears of a change a moment after this process does: so long the database is asked instead.
_DISTRUST_S: Final = 2.0
# What is made of a document takes a few times its bytes.
_BYTES_A_BYTE: Final = 4


@dataclass(frozen=True, slots=True)
class Known(Generic[ValueT]):
    """What a document said, and the version of the directory that it is of."""

    value: ValueT
    version: int
    digest: bytes


class DirectoryDocuments(Generic[ValueT]):
    """Documents of one kind, each made into a value once. Safe between threads.

    `read` asks the primary, `build` makes the value of a clinic's document.
    """

    def __init__(
        self,
        read: Callable[[PartId], Document | None],
        build: Callable[[str, bytes], ValueT],
        projection: RedisProjection,
        pulses: Pulses,
        counters: LayerCounters,
        *,
        bytes_max: int,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._build = build
        self._projection = projection
        self._pulses = pulses
        self._counters = counters
        self._now_s = now_s
        self._kept: Remembered[Known[ValueT]] = Remembered(
            bytes_max=bytes_max, marked_s=projection.value_ttl_s, now_s=now_s
        )
        self._flights: Flights[PartId, tuple[Known[ValueT] | None, Layer]] = Flights()
        self._lock = threading.Lock()
        self._changed_at_s: dict[str, float] = {}

    def get(self, part: PartId, at_least: int = 0) -> tuple[ValueT | None, Layer]:
        """Return a document's value, of `at_least` that version of the directory, and the layer it came from.

        None where the clinic has no such part. Raises Unavailable when nobody can say.
        """
        pulse, asked = self._pulses.of(part[0])
        mark = b"" if pulse is None else pulse.directory
        known = self._kept.get(part, mark)
        if known is not None and known.version >= at_least:
            self._counters.count(Layer.L1, hit=asked is Layer.L1)
            return known.value, asked
        self._counters.count(Layer.L1, hit=False)
        known, layer = self._flights.fetch([part], lambda _: {part: self._load(part, mark)})[part]
        if at_least and (known is None or known.version < at_least):
            known, layer = self._from_database(part, mark), Layer.DATABASE
        if known is None:
            return None, layer
        if pulse is not None and not pulse.is_whole:
            self._pulses.of(part[0], exists=True)  # what is read next shall bear it
        return known.value, layer

    def publish(self, part: PartId) -> Document | None:
        """Read a document from the database into Redis, and return it; None when there is none."""
        return self._published(part)[0]

    def _published(self, part: PartId) -> tuple[Document | None, bytes]:
        """Publish a document; return with it the generation of the directory that was seen before it was read."""
        try:
            generation = self._projection.generation(part[0])
        except Unavailable:
            return self._read(part), b""
        document = self._read(part)
        if document is not None and not generation:
            # Nothing is made for a clinic that is not there, and what was read before its generation is not kept.
            generation = self._begun(part[0])
            document = self._read(part)
        if document is not None and generation:
            self._keep_in_redis(part, generation, document)
        return document, generation

    def _begun(self, clinic_id: str) -> bytes:
        try:
            return self._projection.begin_document(clinic_id)
        except Unavailable:
            return b""

    def _keep_in_redis(self, part: PartId, generation: bytes, document: Document) -> None:
        try:
            self._projection.keep_document(part, generation, document)
        except Unavailable:
            _log.debug("directory.not_kept")

    def changed(self, clinic_id: str, names: Collection[str] = ()) -> None:
        """Forget these parts of a clinic, or all when none is named."""
        with self._lock:
            self._changed_at_s[clinic_id] = self._now_s()
            for late in [key for key, at_s in self._changed_at_s.items() if at_s < self._now_s() - 60]:
                del self._changed_at_s[late]
        for name in names:
            self._kept.drop((clinic_id, name))
        if not names:
            self._kept.drop_where(lambda key: isinstance(key, tuple) and key[0] == clinic_id)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def _load(self, part: PartId, mark: bytes) -> tuple[Known[ValueT] | None, Layer]:
        kept = self._kept.get(part, mark)
        if kept is not None:
            return kept, Layer.L1
        began_s = self._now_s()
        document = self._from_redis(part)
        self._counters.count(Layer.L2, hit=document is not None)
        if document is not None:
            return self._keep(part, document, began_s, mark), Layer.L2
        try:
            return self._from_database(part, mark), Layer.DATABASE
        except (Unavailable, Exhausted):
            outdated = self._kept.get_outdated(part)
            if outdated is None:
                raise
            return outdated, Layer.L1

    def _from_redis(self, part: PartId) -> Document | None:
        if self._now_s() - self._changed_at_s.get(part[0], -_DISTRUST_S) < _DISTRUST_S:
            return None
        try:
            return self._projection.document(part)
        except Unavailable:
            return None

    def _from_database(self, part: PartId, mark: bytes) -> Known[ValueT] | None:
        began_s = self._now_s()
        document, generation = self._published(part)
        return None if document is None else self._keep(part, document, began_s, mark or generation)

    def _keep(self, part: PartId, document: Document, began_s: float, mark: bytes) -> Known[ValueT]:
        """Remember what was read, unless the clinic has changed since the reading began."""
        known = self._known(part, document)
        self._kept.put(part, known, _BYTES_A_BYTE * len(document.text), mark=mark)
        if self._changed_at_s.get(part[0], 0.0) >= began_s:
            self._kept.drop(part)
        return known

    def _known(self, part: PartId, document: Document) -> Known[ValueT]:
        """Return what a document says: the value that is known, with all it has learnt, if nothing changed."""
        digest = blake2b(document.text, digest_size=16).digest()
        before = self._kept.get_outdated(part)
        if before is not None and before.digest == digest:
            return Known(before.value, document.version, digest)
        return Known(self._build(part[0], document.text), document.version, digest)
