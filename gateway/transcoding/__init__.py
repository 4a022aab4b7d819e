"""HTTP and JSON to gRPC and back, driven by descriptors alone.

`bindings` reads `google.api.http` from the contracts, `router` finds the binding of a request, `decoding` and
`query` fill the request message strictly, `encoding` writes the reply. Nothing here knows a particular RPC.
"""
