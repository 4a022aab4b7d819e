"""REST calls to a running gateway, with nothing but the standard library."""

from __future__ import annotations

import json
import uuid
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit


class Rest:
    """Calls below `/v1/clinics/{id}`, as the holder of a token; each with a fresh idempotency key."""

    def __init__(self, gateway_url: str, clinic_id: str, token: str) -> None:
        self._address = urlsplit(gateway_url)
        self._token = token
        self._root = f"/v1/clinics/{clinic_id}"

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of the reply."""
        connection = HTTPConnection(self._address.hostname or "", self._address.port, timeout=20)
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "Idempotency-Key": str(uuid.uuid4()),
        }
        connection.request(method, self._root + path, json.dumps(body) if body else None, headers)
        reply = connection.getresponse()
        said = json.loads(reply.read() or b"{}")
        connection.close()
        return reply.status, said

    def slots(
        self, service_id: str, location_id: str, day: str, provider_id: str = ""
    ) -> list[dict[str, Any]]:
        """What is offered on a local day, of one provider where one is named."""
        query = f"serviceId={service_id}&locationId={location_id}&start={day}T00:00&end={day}T23:00&limit=100"
        status, said = self.call(
            "GET", f"/availability?{query}" + (f"&providerIds={provider_id}" if provider_id else "")
        )
        assert status == 200, said
        found: list[dict[str, Any]] = said["slots"]
        return found
