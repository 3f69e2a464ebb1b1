"""Subscriptions, publications, and what is told of calls, through a whole server."""
