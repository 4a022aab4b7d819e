"""What happens around every call.

Each concern is a step with a pure core: `enter` when the call arrives, `check` for each request message,
`leave` at its end. `chain` runs the steps; `aio` and `threads` fit them to grpc's two servers; `errors`
turns exceptions into statuses.
"""
