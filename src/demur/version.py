"""demur's version, and where its source lies: for records and for the hashes of the code."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    VERSION = version("demur")
except PackageNotFoundError:
    VERSION = "0.0.0"
PACKAGE = Path(__file__).parent
