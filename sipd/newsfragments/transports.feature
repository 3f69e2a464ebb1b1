SIP over UDP, TCP and TLS on IPv4 and IPv6: connections are reused, certificates are verified against the host of the URI, and every bound that a peer reaches is counted and said in the log.
