"""What scripts that measure ringpull have in common: their program, their directory, and how they end."""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from comparison.machine import Failure, say

PROJECT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or PROJECT / "target").resolve()

PROGRAM = Path(sys.argv[0]).name


def natural(text):
    """A whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"not a whole number above 0: {text!r}")
    return int(text)


def our_program(named):
    """The ringpull to measure: the one that is named, or this one, built for release."""
    if named:
        if not (named.is_file() and os.access(named, os.X_OK)):
            raise Failure(f"{named} is no program")
        return named.resolve()
    say("building ringpull")
    words = ["cargo", "build", "--release", "--locked", "--quiet"]
    if not shutil.which("cargo") or subprocess.run(words, cwd=PROJECT, check=False).returncode:
        raise Failure("ringpull cannot be built here; --ringpull names one that is there")
    return TARGET / "release/ringpull"


def stop(number, _frame):
    """Ends as an error does, so that everything is cleared away."""
    on_signals(signal.SIG_IGN)
    raise SystemExit(128 + number)


def on_signals(action):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, action)


@contextlib.contextmanager
def scratch_directory(place, keep):
    """A directory for everything, which is removed at the end unless it is wanted."""
    if keep:
        scratch = tempfile.mkdtemp(prefix=f"{PROGRAM}.", dir=place)
        say(f"what is fetched stays in {scratch}")
        yield scratch
    else:
        with tempfile.TemporaryDirectory(prefix=f"{PROGRAM}.", dir=place) as scratch:
            yield scratch
            # Also takes long where the file system discards at once what is freed.
            say("removing what was fetched")
