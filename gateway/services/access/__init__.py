"""Who may come in: subaccounts, people, logins and API keys. No iCloud account, no calendar."""
