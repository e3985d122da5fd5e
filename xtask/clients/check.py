"""What the Python scripts share: the settings of the connection and a list of named checks."""

import os
import sys
import traceback

PARAMETERS = {
    "host": os.environ["PGHOST"],
    "port": int(os.environ["PGPORT"]),
    "user": os.environ["PGUSER"],
    "password": os.environ["PGPASSWORD"],
    "dbname": os.environ["PGDATABASE"],
}
CA = os.environ["PGSSLROOTCERT"]
# PostgreSQL 10 alone knows no channel binding.
CHANNEL_BINDING = os.environ.get("CHANNEL_BINDING", "require")

CHECKS = []


def check(function):
    """Registers a check; they run in the order of the file."""
    CHECKS.append(function)
    return function


def failed(function):
    """Prints a failed check."""
    print(f"FAILED {function.__name__}")
    traceback.print_exc(file=sys.stdout)


def finish(bad):
    """Ends the program."""
    print(f"{len(CHECKS) - bad} of {len(CHECKS)} checks held")
    sys.exit(1 if bad or not CHECKS else 0)
