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
        self._loading: dict[KeyT, Future[ValueT]] = {}

    def fetch(
        self, wanted: Iterable[KeyT], load: Callable[[list[KeyT]], Mapping[KeyT, ValueT]]
    ) -> dict[KeyT, ValueT]:
        """Return a value for each wanted key: `load` is called with those that nobody else is loading.

        Raises what the load raised, or Unavailable when another caller's load takes too long.
        """
        own: dict[KeyT, Future[ValueT]] = {}
        others: dict[KeyT, Future[ValueT]] = {}
        with self._lock:
            for key in wanted:
                flight = self._loading.get(key)
                if flight is not None:
                    others[key] = flight
                elif key not in own:
                    own[key] = self._loading[key] = Future()
        found = self._load(own, load) if own else {}
        for key, flight in others.items():
            try:
                found[key] = flight.result(self._wait_s)
            except TimeoutError:
                raise Unavailable("The facts took too long to read.") from None
        return found

    def _load(
        self, own: dict[KeyT, Future[ValueT]], load: Callable[[list[KeyT]], Mapping[KeyT, ValueT]]
    ) -> dict[KeyT, ValueT]:
        try:
            found = dict(load(list(own)))
            for key, flight in own.items():
                flight.set_result(found[key])
        except BaseException as error:
            for flight in own.values():
                if not flight.done():
                    flight.set_exception(error)
            raise
        finally:
            with self._lock:
                for key in own:
                    del self._loading[key]
        return found
