"""From iCloud to the store: what changed, fetching it, writing it. Nothing here writes upstream."""
