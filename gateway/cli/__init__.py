"""The command ``gateway``: builds everything and starts it. Decides nothing."""
