"""The daemon: configuration, the twistd plugin's options, the service that runs."""
