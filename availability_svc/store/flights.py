"""One load per key, however many callers wait for it."""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar

from scheduling.errors import Unavailable

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class Flights(Generic[KeyT, ValueT]):
    """Callers that want the same keys at the same time share one load; a failed load fails all of them."""

    def __init__(self, *, wait_s: float = 5.0) -> None:
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._loading: dict[KeyT, Future[Mapping[KeyT, ValueT]]] = {}

    def fetch(
        self, wanted: Iterable[KeyT], load: Callable[[list[KeyT]], Mapping[KeyT, ValueT]]
    ) -> dict[KeyT, ValueT]:
        """Return a value for each wanted key: `load` is called with those that nobody else is loading.

        Raises what the load raised, or Unavailable when another caller's load takes too long.
        """
        own: list[KeyT] = []
        others: dict[KeyT, Future[Mapping[KeyT, ValueT]]] = {}
        flight: Future[Mapping[KeyT, ValueT]] = Future()
        with self._lock:
            for key in wanted:
                found_flight = self._loading.setdefault(key, flight)
                if found_flight is not flight:
                    others[key] = found_flight
                else:
                    own.append(key)
        found = dict(self._load(list(dict.fromkeys(own)), flight, load)) if own else {}
        for key, other in others.items():
            try:
                found[key] = other.result(self._wait_s)[key]
            except TimeoutError:
                raise Unavailable("The facts took too long to read.") from None
        return found

    def _load(
        self,
        keys: list[KeyT],
        flight: Future[Mapping[KeyT, ValueT]],
        load: Callable[[list[KeyT]], Mapping[KeyT, ValueT]],
    ) -> Mapping[KeyT, ValueT]:
        try:
            found = load(keys)
            flight.set_result(found)
        except BaseException as error:
            flight.set_exception(error)
            raise
        finally:
            with self._lock:
                for key in keys:
                    del self._loading[key]
        return found
