"""Handlers and shapes of subaccounts, people and their iCloud accounts."""
