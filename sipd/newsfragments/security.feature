Lines on security have a logger of their own, `sipd.security`, and docs/operator.md has a filter for fail2ban whose lines nobody can forge.
