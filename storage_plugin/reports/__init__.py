"""REPORT and free-busy questions over the resources (RFC 4791 7, RFC 6578, RFC 6638)."""
