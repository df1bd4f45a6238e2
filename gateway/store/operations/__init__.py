"""What keeps an installation well: heartbeats, check-ups, erasing in pieces."""
