"""From a calendar object to its instances in a window, bounded (RFC 5545 3.8.5). No merging."""
