Phones behind NAT are kept reachable: `[nat]` pings their contacts, and finds out who is gone.
