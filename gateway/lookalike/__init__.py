"""A look-alike of iCloud for demos and tests. Imports nothing of the rest.

Here: the server, its command line, its client.
"""
