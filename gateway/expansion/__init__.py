"""Parsing and expanding away from the event loop: a worker process and what runs in it.

No database, no network.
"""
