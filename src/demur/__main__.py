"""`python -m demur` and the `demur` command: ready to be stopped before anything else is imported."""

import sys

from demur.cli.stop import Stopped, stoppable


def main() -> int:
    """Run the command line; the console script's entry. Returns the exit status."""
    try:
        with stoppable():
            from demur.cli.main import main as run

            return run()
    except Stopped as stop:  # while it was being imported
        print(f"stopped: {stop.kept}", file=sys.stderr)
        return stop.status


if __name__ == "__main__":
    sys.exit(main())
