"""`python -m pipeline` is `saliency-atlas`."""

import sys

from pipeline.cli import main

sys.exit(main())
