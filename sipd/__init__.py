"""sipd: a SIP stack and back-to-back user agent for Twisted."""
