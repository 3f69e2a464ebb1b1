Phones register over UDP, TCP and TLS with digest authentication (SHA-512-256, SHA-256, MD5), and a restart keeps their bindings.
