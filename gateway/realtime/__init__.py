"""Realtime for browsers: one stream from realtime_svc, fanned out to every WebSocket and SSE connection."""
