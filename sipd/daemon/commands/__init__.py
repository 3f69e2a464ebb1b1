"""The commands beside the daemon, one module each: options that can be ``run``, and give an exit status."""
