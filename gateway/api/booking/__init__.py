"""Handlers and shapes of holds, appointments, Blocked Slots and their conflicts."""
