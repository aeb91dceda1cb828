"""How `scripts/versus` runs a line of shell, and what the line takes.

Invariant: a line leaves no process and no file behind, however it ends.
"""

import contextlib
import ctypes
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from comparison import machine
from comparison.machine import say

SHM = Path("/dev/shm")
# Beside the bytes themselves: what programs keep of their progress, and what a file system keeps for itself.
SLACK_BYTES = 64 << 20
PR_SET_CHILD_SUBREAPER = 36

# The peak of memory that the kernel tells of a process counts what it had before exec(2), and a child of Python has
# all of Python then. So a shell, which is small, begins the line, and ends, and the line becomes our child. It waits
# for a byte first: what it takes to come here is not measured.
SCRIPT = """exec 3<&0
{{ read -r go <&3; exec 3<&-
{line}
}} >{log} 2>{err} &
echo $!
"""


class Bench:
    """The directory in which everything happens, and what all lines have in common."""

    def __init__(self, scratch, extra, limit_seconds):
        self.scratch, self.extra, self.limit_seconds = scratch, extra, limit_seconds
        self.out = scratch / "out"
        for name in ["bin", "home", "www", "out"]:
            (scratch / name).mkdir()
        # Nobody's configuration counts, and no proxy.
        self.env = {"PATH": f"{scratch / 'bin'}:{os.environ['PATH']}", "HOME": str(scratch / "home"), "LC_ALL": "C"}
        # Whose parent ends becomes a child of this process (prctl(2)).
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def knows(self, name, path):
        """Has lines find the program at `path` by its name."""
        (self.scratch / "bin" / name).symlink_to(path)

    def rows(self, case, served, programs):
        """The rows of a case for these programs. Who cannot be told our authority has none over TLS."""
        for row in case.rows:
            twice = "--io epoll" in row.name and "--io" in self.extra
            if row.program in ["ringpull", *programs] and not twice and (row.trust or not served.ca):
                line, shown = self.spell(row, served), self.spell(row, served, shown=True)
                yield {"name": row.name, "command": line, "shown": shown, "failed": None, "samples": []}

    def spell(self, row, served, shown=False):
        """A line for the shell, or the same for readers, who want names and not addresses."""
        values = {"url": served.url, "file": served.name, "ca": served.ca, "digest": served.digest}
        values = {name: name.upper() if shown else shlex.quote(value) for name, value in values.items()}
        values["trust"] = row.trust.format_map(values) if served.ca else ""
        return " ".join(row.line.format_map({**values, "extra": shlex.join(self.extra)}).split())

    def run(self, case, served, rows, rounds):
        """Runs all rounds, and adds samples to the rows; gives how busy the machine was between them."""
        place, busy = self.out, []
        if case.name == "tmpfs":
            place = Path(tempfile.mkdtemp(prefix="versus.", dir=SHM))
        try:
            for number in range(rounds * case.repeat + 1):
                told = [self.turn(case, served, row, number, place) for row in rows if not row["failed"]]
                if number % case.repeat == 0:
                    busy.append(machine.busy(0.2))
                    title = f"round {number // case.repeat} of {rounds}" if number else "warm-up"
                    say(f"{case.name}, {title}: {', '.join(told)}")
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return busy

    def turn(self, case, served, row, number, place):
        """One run of a row, and a word about it; round 0 is for the bytes and not for the clock."""
        sample, printed, failed = self.measure(row["command"], place, fresh_bytes=served.size + SLACK_BYTES)
        row["failed"] = failed or wrong(case, served, place / served.name, printed, thorough=number == 0)
        if row["failed"]:
            return f"{row['name']} FAILED: {row['failed']}"
        if number > 0:
            row["samples"].append({"round": number, **sample})
        return f"{row['name']} {sample['wall_seconds']:.3f}"

    def measure(self, line, place, fresh_bytes=0):
        """What a line takes in an empty directory, what it prints, and how it failed, if it did."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return self.measure_there(line, place, fresh_bytes)

    def measure_there(self, line, place, fresh_bytes):
        """The same in a directory as it is."""
        subprocess.run(["sync", "-f", str(place)], check=True)
        machine.touch_memory(fresh_bytes)
        log, err = self.scratch / "log", self.scratch / "err"
        sample, status = measure(line, place, self.env, log, err, self.limit_seconds)
        printed = beginning(log)
        if status is None:
            return sample, printed, f"no end within {self.limit_seconds} s"
        last = beginning(err).strip().rpartition("\n")[2].replace("|", "/")[:70]
        return sample, printed, f"exit {status}: {last}".rstrip(": ") if status else None


def beginning(path):
    """As much of a file as anybody wants to read."""
    with open(path, errors="replace") as file:
        return file.read(4096)


def wrong(case, served, file, printed, thorough):
    """What is wrong with what a run has brought; only a thorough look reads a file."""
    if case.result == "nowhere":
        return None
    if case.result == "printed":
        return None if printed.split()[:1] == [served.digest] else "wrong bytes"
    if not file.is_file():
        return "exit 0, and no file"
    if file.stat().st_size != served.size:
        return f"exit 0, and {file.stat().st_size} bytes"
    return "exit 0, and wrong bytes" if thorough and machine.digest_of(file) != served.digest else None


def measure(line, place, env, log, err, limit_seconds):
    """Runs a line of shell in a directory; gives what it took and its exit status, which is `None` after the limit."""
    quoted = shlex.quote(str(log)), shlex.quote(str(err))
    script = SCRIPT.format(line=line, log=quoted[0], err=quoted[1])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    shell = subprocess.Popen(["/bin/sh", "-c", script], cwd=place, env=env, start_new_session=True, **pipes)
    try:
        with shell.stdin, shell.stdout:
            child = int(shell.stdout.readline())
            shell.wait()
            wall, in_time = time_until_end(child, limit_seconds, lambda: shell.stdin.write(b"\n"))
        if not in_time:
            return {"wall_seconds": wall}, None
        _, status, usage = os.wait4(child, 0)
        sample = {
            "wall_seconds": round(wall, 6),
            "user_seconds": usage.ru_utime,
            "system_seconds": usage.ru_stime,
            "peak_rss_bytes": usage.ru_maxrss * 1024,
        }
        return sample, os.waitstatus_to_exitcode(status)
    finally:
        end_group(shell.pid)


def time_until_end(child, limit_seconds, begin):
    """The seconds from `begin` until a process ends, and whether it did within the limit."""
    pidfd = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        began = time.perf_counter()
        begin()
        in_time = bool(poll.poll(limit_seconds * 1000))
        return time.perf_counter() - began, in_time
    finally:
        os.close(pidfd)


def end_group(group):
    """Ends what is left of a process group, and waits for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)
