Users write to each other: a MESSAGE outside of a call (RFC 3428) is authenticated and routed like a call and goes to all phones of a user; `limits.messages` bounds how many may be pending.
