"""When and how accounts are synced: leases, runs, outcomes. What moves which way is below."""
