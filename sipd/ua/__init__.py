"""The core (RFC 3261 sections 8 and 12 to 15): requests, dialogs and sessions for applications."""
