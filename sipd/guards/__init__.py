"""Limits and guards: whether calls are taken, who is listened to, and what is told of those who are not."""
