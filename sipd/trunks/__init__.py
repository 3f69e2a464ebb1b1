"""The peers beside the users: carriers, other exchanges, gateways."""
