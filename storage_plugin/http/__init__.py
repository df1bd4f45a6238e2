"""Requests and answers of the CalDAV face, whatever they are about: bounds, errors, multistatus."""
