"""What may go to iCloud, what came of sending it, what comes back of it. Nothing asks iCloud."""
