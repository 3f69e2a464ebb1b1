"""Observers of calls and messages: explain log, resource ledger, capture."""
