"""Schedules and what they offer (R23): working hours, slots, why one is missing. Books nothing."""
