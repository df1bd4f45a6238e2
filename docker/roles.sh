#!/bin/sh
# Makes the database role of the CalDAV process: everything but the secrets table.
# Default privileges cover tables that migrations add later; `gateway init` and `gateway migrate`
# take the rights on `secrets` back from every role but the table's owner.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$CALDAV_DATABASE_PASSWORD" \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE caldav LOGIN PASSWORD :'password';
GRANT USAGE ON SCHEMA public TO caldav;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO caldav;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO caldav;
SQL
