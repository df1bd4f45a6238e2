"""Holds, appointments, schedules and working hours. What goes to iCloud is in ``outbox``."""
