"""Handlers and shapes of schedules, slots, explanations and working hours."""
