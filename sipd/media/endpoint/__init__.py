"""The local end of one call's audio, for user agents: it plays, records, listens, sends and collects digits."""
