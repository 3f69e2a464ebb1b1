"""The protocol: messages, transactions and dialogs as data and functions (RFC 3261). Standard library only."""
