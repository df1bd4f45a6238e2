"""What may be, has been and has yet to be written to iCloud."""
