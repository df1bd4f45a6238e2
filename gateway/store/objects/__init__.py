"""Collections, their objects, and the instances these expand to. No accounts, no bookings."""
