"""Connectivity through NATs (RFC 8445) and its servers (RFC 8489, RFC 8656): machines without clock and randomness.

They take what happened, and give effects that their owner performs in order.
"""
