"""iCalendar as text: lines, values, rules, zones (RFC 5545). Nothing here knows what busy is."""
