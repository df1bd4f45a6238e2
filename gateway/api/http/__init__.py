"""How a request becomes a call: connections, frame, keys, routing, idempotency."""
