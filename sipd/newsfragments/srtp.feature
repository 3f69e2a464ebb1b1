Either side of a call may use SRTP with keys in descriptions (RFC 4568), whatever the other one does: `srtp` of routes, users and `[media]`.
