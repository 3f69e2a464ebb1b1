"""``python -m sipd``: the command ``sipd``."""

import sys

from sipd.daemon.cli import main

sys.exit(main())
