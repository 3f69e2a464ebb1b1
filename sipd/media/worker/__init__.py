"""Media in processes of their own: neither waits for signalling nor delays it, and uses other processors."""
