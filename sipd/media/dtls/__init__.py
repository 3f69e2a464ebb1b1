"""Keys for SRTP by DTLS: the handshake goes where the media goes (RFC 5763, RFC 5764)."""
