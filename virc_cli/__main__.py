"""`python -m virc_cli` is `virc`."""

import sys

from virc_cli.entry import main

sys.exit(main())
