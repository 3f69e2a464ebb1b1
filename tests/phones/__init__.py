"""Phones that negotiate by the book, apart from sipd's own code: what races and simulations are played with."""
