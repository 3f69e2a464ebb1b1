Programs have proxies: `sipd.proxy` forwards with state and without, forks, and redirects; `tapfiles/` has one of each.
