"""Media formats: RTP, RTCP and what travels in them (RFC 3550). Standard library only."""
