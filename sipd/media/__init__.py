"""Media relays: one interface, several engines."""
