"""The look-alike as a CalDAV server: requests, answers, and how iCloud differs."""
