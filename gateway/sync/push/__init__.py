"""Between outbox and iCloud: our own objects, sent, seen again. Only here iCloud is written to."""
