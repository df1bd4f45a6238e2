"""What the look-alike holds: accounts, calendars, phones, faults and what was asked."""
