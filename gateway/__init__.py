"""The REST, WebSocket and SSE face of the suite: every route is read from the contracts."""
