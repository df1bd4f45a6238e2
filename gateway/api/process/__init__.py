"""What one API process keeps in memory between requests: timelines, limits, who is active."""
