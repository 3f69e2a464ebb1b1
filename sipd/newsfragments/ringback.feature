Callers can hear a tone or a file while it rings (`ringback`), and routes say how each side wants digits (`dtmf`, `caller_dtmf`).
