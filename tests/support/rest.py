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
