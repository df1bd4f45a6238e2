"""``gateway doctor``: what it looks at beyond the database, and how it says it."""
