"""Session descriptions and offer/answer (RFC 8866, RFC 3264). Standard library only."""
