"""Where an answer's facts came from."""

from enum import IntEnum

from chassis.metrics import Metrics


class Layer(IntEnum):
    """The farthest store that was asked; the numbers are the contract's."""

    L1 = 1
    L2 = 2
    DATABASE = 3


class LayerCounters:
    """Counts lookups by layer and result, the children looked up once."""

    def __init__(self, metrics: Metrics) -> None:
        family = metrics.cache_requests
        self._children = {
            (layer, hit): family.labels(layer.name.lower(), "hit" if hit else "miss")
            for layer in (Layer.L1, Layer.L2)
            for hit in (True, False)
        }
        self.fallbacks = metrics.counter(
            "availability_fallback_to_db_total", "Answers for which the database had to be read."
        )

    def count(self, layer: Layer, *, hit: bool) -> None:
        """Count one lookup."""
        self._children[layer, hit].inc()
