"""Alembic's steps from one schema to the next. Frozen once released; a change is a new step."""
