"""Who may come in: subaccounts, people, logins, keys, and what is counted about callers."""
