"""The table of routes, by part. Handlers are named here and nowhere else."""
