"""The transaction layer (RFC 3261 section 17): owns, matches, performs effects, runs timers."""
