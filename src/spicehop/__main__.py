"""`python -m spicehop`."""

from __future__ import annotations

import sys

from spicehop.cli.app import main

sys.exit(main())
