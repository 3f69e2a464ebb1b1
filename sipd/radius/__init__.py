"""Asking RADIUS servers: what authentication and accounting have in common."""
