"""The directories that `scripts/tree` has brought in line: their runs, what those asked for, and what came of it."""

import json
import os
import random
import re
import stat
import threading
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from comparison import machine
from comparison.bench import measure
from comparison.machine import say
from comparison.tree.files import File, digest_of

# What the program keeps of its own, and where in that nothing may stay when a run is whole.
STATE = ".ringpull"
PASSING = ["drafts", "large"]
SHOWN_MAX = 20


class Unequal(Exception):
    """A run, or what came of it, is not what it must be."""


class Run(NamedTuple):
    """What a run took and told; `code` is `None` of one that was killed."""

    code: int | None
    sample: dict
    summary: dict


class Requests:
    """What the server was asked for, as its log tells, if it has one."""

    LINE = re.compile(r'"\w+ (\S+) HTTP/\S+" (\d+) ')
    KINDS = ["pages", "list", "files", "same", "refused"]

    def __init__(self, log):
        self.log, self.at = log, 0

    def size(self):
        return self.log.stat().st_size if self.log.exists() else None

    def taken(self):
        """Counts since the last look; `None` if nobody knows. A request is in the log soon after its end."""
        if self.size() is None:
            return None
        size, idle = self.size(), threading.Event()
        while not idle.wait(0.1) and size != self.size():
            size = self.size()
        with open(self.log, "rb") as file:
            file.seek(self.at)
            text = file.read(size - self.at).decode()
        self.at = size
        return Counter(self.kind(*found) for found in self.LINE.findall(text))

    @staticmethod
    def kind(address, status):
        if address.endswith("/"):
            return "pages"
        if address == "/SHA256SUMS":
            return "list"
        return {"2": "files", "3": "same"}.get(status[0], "refused")


class Mirror:
    """A directory, and the command that brings it in line by the index or by a list."""

    def __init__(self, name, line, bench, requests):
        self.name, self.bench, self.requests = name, bench, requests
        self.directory = bench.out / name
        self.line = f"ringpull mirror {line} -d {self.directory} --delete --json {' '.join(bench.extra)}"
        self.chance, self.runs, self.last = random.Random(name), [], {}

    def run(self, codes=(0,), limit=None):
        """Runs it to its end, which must be one of these; or, with a limit, kills it then (SIGKILL) if it is not over."""
        log, err = self.bench.scratch / "log", self.bench.scratch / "err"
        seconds = limit or self.bench.limit_seconds
        sample, code = measure(self.line, self.bench.out, self.bench.env, log, err, seconds)
        events = log.read_text(errors="replace").splitlines()
        summary = json.loads(events[-1]) if events and '"event":"summary"' in events[-1] else {}
        self.runs.append(Run(code, sample, summary))
        said = "".join([err.read_text(errors="replace")[-2000:], *self.failed()])
        if code is None and limit is None:
            raise Unequal(f"{self.name}: no end within {seconds} s:\n{said}")
        if code is not None and code not in codes:
            raise Unequal(f"{self.name}: exit {code}:\n{said}")
        return code

    def failed(self):
        """What the last run that ended says of entries that failed."""
        results = self.directory / STATE / "results.jsonl"
        lines = results.read_text().splitlines() if results.exists() else []
        told = [one for one in map(json.loads, lines) if one.get("state") not in ["fetched", "unchanged"]]
        return [f"\n  {one.get('path')!r} {one.get('state')}: {one.get('message')}" for one in told[:SHOWN_MAX]]

    def run_while(self, act):
        """Runs it, and acts when some of what it asks for has come."""
        ended, begun = threading.Event(), self.requests.size()
        # A line for a file has a hundred bytes or more.
        some = 100 * self.chance.randrange(1, 200)

        def wait_and_act():
            while begun is not None and self.requests.size() < begun + some and not ended.wait(0.002):
                pass
            act()

        other = threading.Thread(target=wait_and_act)
        other.start()
        try:
            # What is gone or other than the list says fails, as it must.
            return self.run((0, 9))
        finally:
            ended.set()
            other.join()

    def compare(self, tree):
        """Fails unless the directory has what the server has: names, sizes, bytes, dates, and nothing else."""
        found, faults = self.look()
        # Who has a list of digests does not hear that the date of old bytes is another.
        for path, file in tree.files.items():
            last = self.last.get(path)
            kept = self.name == "list" and last and last.digest == file.digest
            self.last[path] = last if kept else file
        wanted = {path: self.last[path] for path in tree.files}
        self.last = wanted
        for path in sorted({*found, *wanted}):
            if found.get(path) != wanted.get(path):
                faults.append(f"{path!r} is {found.get(path)}, and not {wanted.get(path)}")
        for passing in PASSING:
            faults += [f"{left} was left" for left in (self.directory / STATE / passing).iterdir()]
        self.fail_of(faults)
        if digest_of(found) != tree.digest():
            raise Unequal(f"{self.name}: the digests of the trees differ")

    def check_whole(self, tree):
        """Fails unless every file in the directory is one that the server had there, whole."""
        found, faults = self.look()
        known = [path for path, file in found.items() if file.digest in tree.history.get(path, [])]
        self.fail_of(faults + [f"{path!r} was never {found[path]}" for path in {*found} - {*known}], empty=True)

    def fail_of(self, faults, empty=False):
        faults = [fault for fault in faults if not (empty and fault.endswith(" is empty"))]
        if faults:
            shown = "\n".join(f"  {fault}" for fault in faults[:SHOWN_MAX])
            raise Unequal(f"{self.name}: {len(faults)} differences:\n{shown}")

    def look(self):
        """All files of the directory, and what should not be there, whatever the server has."""
        found, faults, left = {}, [], [self.directory]
        while left:
            folder = left.pop()
            entries = [entry for entry in os.scandir(folder) if Path(entry.path) != self.directory / STATE]
            if not entries and folder != self.directory:
                faults.append(f"{folder.relative_to(self.directory)} is empty")
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                path = os.path.relpath(entry.path, self.directory)
                if stat.S_ISDIR(status.st_mode):
                    left.append(Path(entry.path))
                elif stat.S_ISREG(status.st_mode):
                    digest = machine.digest_of(entry.path)
                    found[path] = File(status.st_size, digest, status.st_mtime_ns // 10**9)
                else:
                    faults.append(f"{path!r} is no regular file")
        return found, faults


class Step(NamedTuple):
    """What was done to one mirror, and by which runs."""

    name: str
    by: str
    runs: list
    requests: Counter | None
    equal: bool

    def sum(self, name, where="summary"):
        return sum(getattr(run, where).get(name, 0) for run in self.runs)

    def cells(self):
        peak = max((run.sample.get("peak_rss_bytes", 0) for run in self.runs), default=0)
        cpu = self.sum("user_seconds", "sample") + self.sum("system_seconds", "sample")
        asked = [str(self.requests[kind]) if self.requests is not None else "" for kind in Requests.KINDS]
        codes = Counter("killed" if run.code is None else str(run.code) for run in self.runs)
        told = ", ".join(f"{count} x {code}" if count > 1 else code for code, count in codes.items())
        return [
            self.name, self.by, told, *(str(self.sum(name)) for name in ["fetched", "unchanged", "failed", "deleted"]),
            f"{self.sum('bytes') / 1e6:.1f}", f"{self.sum('wall_seconds', 'sample'):.1f}", f"{cpu:.2f}",
            f"{peak / (1 << 20):.0f}", *asked, "equal" if self.equal else "NO",
        ]


HEADS = ["step", "by", "exit codes", "fetched", "unchanged", "failed", "deleted", "MB", "s", "CPU s", "peak MiB",
         "pages", "list", "files", "304", "refused", "tree"]


def table(steps):
    """The steps as a table of Markdown."""
    rows = [HEADS, *(step.cells() for step in steps)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADS))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def tell(step):
    took, count = step.sum("wall_seconds", "sample"), len(step.runs)
    say(f"{step.name}, {step.by}: {step.sum('fetched')} fetched in {took:.1f} s ({count} runs)"
        f"{', equal' if step.equal else ''}")
