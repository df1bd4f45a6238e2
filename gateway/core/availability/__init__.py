"""From instances and working hours to busy time and slots. No iCalendar events."""
