"""What is done about an iCloud account: chosen, looked at, connected, mirrored. Has the key."""
