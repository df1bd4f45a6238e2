"""iCloud accounts: credentials, their calendars, leases and what a run leaves behind."""
