"""`python -m bgd.cli`, the same as `bgd`."""

import sys

from bgd.cli.main import main

sys.exit(main())
