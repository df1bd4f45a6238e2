"""What is there: homes, calendars, objects, and their properties."""
