"""`python -m virc_cli` is `virc`."""

import sys

from virc_cli.main import main

sys.exit(main())
