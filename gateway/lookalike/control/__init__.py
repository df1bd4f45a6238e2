"""Its control API: what tests and people do to it from outside."""
