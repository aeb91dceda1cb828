"""Who is compared in `scripts/versus`, and in what: every line that the shell is told stands here.

Words in braces are replaced: {url}, {file} (a name in an empty directory), {trust} (how the tool is told to believe
the authority of the certificate, {ca}), {digest}, and {extra} (options from behind `--`).
"""

from typing import NamedTuple

SMALL_BYTES = 1024
STARTS = "this is what a start costs"
DEFAULT_CASES = ["durable", "nosync", "tls", "pipe", "small"]


class Tool(NamedTuple):
    """A program to compare with, and its line in each mode; a mode that it does not have is empty."""

    name: str
    fetch: str
    discard: str = ""
    pipe: str = ""
    trust: str = ""
    package: str = ""  # of Debian
    crate: str = ""  # of crates.io
    version: str = "--version"

    @property
    def program(self):
        return self.fetch.split()[0]


TOOLS = [
    Tool(
        "curl",
        fetch="curl {trust} -sSf -o {file} {url}",
        discard="curl {trust} -sSf -o /dev/null {url}",
        pipe="curl {trust} -sSf {url}",
        trust="--cacert {ca}",
        package="curl",
    ),
    Tool(
        "wget",
        fetch="wget {trust} -q -O {file} {url}",
        discard="wget {trust} -q -O /dev/null {url}",
        pipe="wget {trust} -q -O - {url}",
        trust="--ca-certificate={ca}",
        package="wget",
    ),
    Tool(
        "wget2 --chunk-size",
        fetch="wget2 {trust} -q --chunk-size=16M --max-threads=8 -O {file} {url}",
        trust="--ca-certificate={ca}",
        package="wget2",
    ),
    Tool(
        "aria2c -x8",
        # Without falloc it writes the whole file twice.
        fetch="aria2c {trust} --no-conf -q -x8 -s8 -k1M --file-allocation=falloc -o {file} {url}",
        trust="--ca-certificate={ca}",
        package="aria2",
    ),
    # It cannot be told an authority.
    Tool("axel -n8", fetch="axel {trust} -q -n8 -o {file} {url}", package="axel"),
    Tool(
        "rclone copyurl",
        fetch="rclone copyurl {trust} --config= {url} {file}",
        discard="rclone copyurl {trust} --config= --stdout {url} >/dev/null",
        pipe="rclone copyurl {trust} --config= --stdout {url}",
        trust="--ca-cert {ca}",
        package="rclone",
        version="version",
    ),
    Tool("ripget", fetch="ripget {trust} --silent {url} {file}", crate="ripget"),
    # It names the file after the URL, as is done here for all.
    Tool("tur", fetch="tur {trust} --headless --url {url}", crate="tur-rs"),
    Tool("fast-down -t 8", fetch="fd download {trust} -y --no-resume -t 8 -o {file} {url}", crate="fast-down-cli"),
]


class Row(NamedTuple):
    """A line of a table: who it is, and what the shell is told."""

    name: str
    program: str
    line: str
    trust: str


class Case(NamedTuple):
    """What is compared. The others are set against the first row."""

    name: str
    says: str
    rows: list
    result: str = "file"  # where the bytes end: in a file, as their digest on standard output ("printed"), or "nowhere"
    note: str = ""
    repeat: int = 1  # runs that a round stands for


def ours(ways, target="-o {file}", after=""):
    """Our rows, from what a row is called to its options: each on io_uring and, beside it, on epoll."""
    rows = []
    for name, options in ways.items():
        for io in ["", "--io epoll"]:
            line = f"ringpull {{trust}} -q {options} {io} {{extra}} {target} {{url}}{after}"
            rows.append(Row(f"ringpull {name} {io}", "ringpull", line, "--cacert {ca}"))
    return [row._replace(name=" ".join(row.name.split())) for row in rows]


def peers(mode, after=""):
    """The rows of the others in a mode, a field of `Tool`."""
    lines = [(tool, getattr(tool, mode)) for tool in TOOLS]
    return [Row(tool.name, tool.program, line + after, tool.trust) for tool, line in lines if line]


CASES = [
    Case(
        "durable",
        "with default options, on disk at the end",
        ours({"": ""}) + peers("fetch", " && sync {file}"),
        note="the others are followed by `sync FILE`",
    ),
    Case(
        "nosync",
        "through the page cache, and nobody waits for the disk",
        ours({"": "--no-sync --write buffered"}) + peers("fetch"),
    ),
    Case(
        "tmpfs",
        "into /dev/shm: memory, and no disk",
        ours({"": "--no-sync --write buffered"}) + peers("fetch"),
    ),
    Case(
        "discard",
        "the bytes are thrown away",
        ours({"": "--write discard"}) + peers("discard"),
        result="nowhere",
    ),
    Case(
        "mmap",
        "two ways through the page cache, on disk at the end",
        ours({way: way for way in ["--write mmap", "--write buffered"]}),
    ),
    Case(
        "tls",
        "over HTTPS, on disk at the end",
        ours({"": ""}) + peers("fetch", " && sync {file}"),
        note="the others are followed by `sync FILE`",
    ),
    Case(
        "pipe",
        "in order, piped into `sha256sum`",
        ours({"-c 8": "-c 8"}, "-o -", " | sha256sum") + peers("pipe", " | sha256sum"),
        result="printed",
        note="its CPU time counts",
    ),
    Case(
        "checksum",
        "with a digest to check and without, on disk at the end",
        ours({"--checksum": "--checksum sha256={digest}", "": ""}),
    ),
    Case(
        "connections",
        "by the number of connections, on disk at the end",
        ours({way: way for way in ["-c 1", "-c 4", "-c 16", "-c 64"]}),
    ),
    Case(
        "small",
        f"a file of {SMALL_BYTES} bytes, and nobody waits for the disk",
        ours({"": "--no-sync"}) + peers("fetch"),
        note=STARTS,
        repeat=20,
    ),
    Case(
        "small-tls",
        f"a file of {SMALL_BYTES} bytes over HTTPS, and nobody waits for the disk",
        ours({"": "--no-sync"}) + peers("fetch"),
        note=STARTS,
        repeat=20,
    ),
]
