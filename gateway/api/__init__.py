"""The HTTP API: parse, call a service, render. No rule and no SELECT lives here."""
