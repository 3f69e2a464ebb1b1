SIGHUP, or `sipd reload`, reads the configuration again: what changed holds for new calls at once, calls go on as they began, a mistake changes nothing, and what needs a restart is named.
