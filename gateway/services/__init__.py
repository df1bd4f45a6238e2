"""Use cases: one wish of somebody, as one function over rules and rows. No status codes, no XML."""
