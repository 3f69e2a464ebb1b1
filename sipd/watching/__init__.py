"""What users watch and publish: subscriptions, lamps, mailboxes, presence (RFC 6665, RFC 3903)."""
