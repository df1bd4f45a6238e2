"""Bodies of appointments and mirrored events: made, stripped, compared. Pure text and values."""
