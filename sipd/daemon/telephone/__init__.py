"""The telephone of the command line: what ``sipd phone`` does once its options are read."""
