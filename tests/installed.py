"""The command of a child process that must import the installed package, not the checkout it starts in."""

from __future__ import annotations

import sys

# -P: the checkout has no native module, and "-c" and "-m" would look in the working directory first.
PYTHON = (sys.executable, "-P")
