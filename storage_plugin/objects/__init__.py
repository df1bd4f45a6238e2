"""PUT, DELETE, MOVE and COPY of calendar objects."""
