"""HTTP and XML towards iCloud: one account, one request, one proven answer. No rows, no rules."""
