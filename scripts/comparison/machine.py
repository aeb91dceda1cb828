"""The machine under `scripts/versus`: what a reader has to know of it, and what of it would spoil figures."""

import hashlib
import mmap
import os
import platform
import shutil
import sys
import time
from pathlib import Path

# The part of the CPUs that others may use without a warning.
BUSY = 0.05
# The least order of free pages that a virtual machine tells its host, who takes them away (free page reporting).
REPORTING = Path("/sys/module/page_reporting/parameters/page_reporting_order")
# The largest order that pages come in; one above it is never reached.
ORDER_MAX = 10
MIB = 1 << 20


class Failure(Exception):
    """Something without which nothing can be measured."""


def say(text):
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr, flush=True)


def which(program):
    """Where a program is; the places of administrators count too, for nginx."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def touch_memory(size):
    """Writes to so many bytes of free memory, so that a virtual machine has them for whoever asks next."""
    with mmap.mmap(-1, max(size, mmap.PAGESIZE)) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def digest_of(path):
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        for block in iter(lambda: file.read(MIB), b""):
            digest.update(block)
    return digest.hexdigest()


def facts(place):
    """What is to be known, for downloads to a directory."""
    models = [line.partition(":")[2].strip() for line in lines("/proc/cpuinfo") if line.startswith("model name")]
    filesystem, device, options = mounted(place)
    return {
        "kernel": platform.release(),
        "cpu": models[0] if models else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": memory("MemTotal"),
        "memory_available_bytes": memory("MemAvailable"),
        "filesystem": filesystem,
        "device": device,
        "mount_options": options,
        "direct_io": takes_direct(place),
        "congestion_control": congestion_control(),
        "gives_memory_away": gives_memory_away(),
        "load_average": os.getloadavg()[0],
        "busy": busy(1.0),
    }


def lines(path):
    return Path(path).read_text().splitlines()


def memory(name):
    """An entry of /proc/meminfo, in bytes."""
    return next((int(line.split()[1]) * 1024 for line in lines("/proc/meminfo") if line.startswith(f"{name}:")), 0)


def congestion_control():
    """That of TCP, where nobody chooses another."""
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def gives_memory_away():
    """Whether the host takes what is freed here, so that who asks next waits until it is given back, page by page."""
    order = lines(REPORTING)[0].strip() if REPORTING.exists() else ""
    return order.isdigit() and int(order) <= ORDER_MAX


def mounted(place):
    """The file system that a directory is on: type, device and options (proc_pid_mountinfo(5))."""
    longest, found = 0, ("unknown", "unknown", "")
    for line in lines("/proc/self/mountinfo"):
        before, after = (half.split() for half in line.split(" - ", 1))
        point = before[4].replace("\\040", " ")
        # Of two on the same point the later one is on top.
        if os.path.commonpath([point, place.resolve()]) == point and len(point) >= longest:
            longest, found = len(point), (after[0], after[1], f"{before[5]},{after[2]}")
    return found


def takes_direct(place):
    """Whether files in a directory can be opened to write around the page cache."""
    path = place / "direct"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_DIRECT, 0o600))
        return True
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)


def busy(seconds):
    """The part of all CPUs that is used in the next seconds, by whomever, from 0 to 1."""
    idle, total = ticks()
    time.sleep(seconds)
    idle_then, total_then = ticks()
    return round(1 - (idle_then - idle) / max(total_then - total, 1), 3)


def ticks():
    """Idle time and all time of the CPUs so far (proc_stat(5)); time of guests is in that of users already."""
    all_ticks = [int(word) for word in lines("/proc/stat")[0].split()[1:9]]
    return all_ticks[3] + all_ticks[4], sum(all_ticks)


def warnings(at, server, size):
    """What would make figures from here mean something else than they seem to."""
    found, control = [], server["congestion_control"]
    if control == "bbr":
        found.append("bbr paces TCP even on loopback, for all alike: sysctl net.ipv4.tcp_congestion_control=cubic")
    elif control not in ["cubic", "reno", "unknown"]:
        found.append(f"the server's TCP congestion control is {control}, and not cubic")
    if at["gives_memory_away"]:
        found.append(
            "the host takes freed memory away, and who fills the page cache next pays for getting it back: "
            f"echo {ORDER_MAX + 1} > {REPORTING}"
        )
    if at["filesystem"] in ["tmpfs", "ramfs"]:
        found.append("downloads go to memory, so that nothing is on disk at the end: see --dir")
    elif not at["direct_io"]:
        found.append(f"{at['filesystem']} does not take O_DIRECT here: ringpull writes through the page cache")
    if at["memory_available_bytes"] < 3 * size:
        found.append("memory is short for a file of this size: the page cache is written back early, and read again")
    if at["cpus"] < 2:
        found.append("there is one CPU, on which server and client take turns")
    if at["load_average"] > at["cpus"] / 2:
        found.append(f"the load average was {at['load_average']:.1f} before the start")
    if at["busy"] > BUSY:
        found.append(f"others used {at['busy']:.0%} of the CPUs before the start")
    return found
