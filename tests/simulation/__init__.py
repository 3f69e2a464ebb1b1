"""Simulations: whole calls through the whole B2BUA, over a network that loses, delays, doubles and reorders."""
