"""Handlers and shapes of free/busy in all its forms. No title ever passes here."""
