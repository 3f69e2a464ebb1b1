"""Accounts: users that a database or a service has, beside those of the configuration, and who checks their proofs."""
