"""Who is compared in `scripts/versus --mirror`, and in what: every line that the shell is told stands here.

Words in braces are replaced: {base} (the address of the files), {tsv}, {urls}, {curl}, {curl_again} and {aria2} (the
list, as each program takes it), {cut} (how many directories of an address have no place here), {trust} (how the tool is
told to believe the authority of the certificate, {ca}), and {extra} (options from behind `--`).
Every line runs in the directory that is to be filled.
"""

from typing import NamedTuple

from comparison.cases import Row, Tool

SMALL_BYTES = 8192
SMALL_FILES = 10_000
MANY_FILES = 100_000
# Small files of one directory.
DIRECTORY_FILES = 100
LARGE_MIB = 100
LARGE_FILES = 20

# What every peer is followed by: ringpull waits for the file system of its directory too (syncfs(2)).
SYNC = " && sync -f ."

CURL = "curl {trust} -sSf -Z --parallel-max 16 --create-dirs"
ARIA2 = "aria2c {trust} --no-conf -q -j16 -x1 --file-allocation=falloc"
WGET2 = "wget2 {trust} -q -x -nH --cut-dirs={cut} --max-threads=16 -i {urls}"
RCLONE = "rclone copy {trust} --config= -q --transfers 16 --checkers 16 --http-url {base} :http: ."

TOOLS = [
    Tool("curl -Z", fetch=CURL + " -K {curl}", trust="--cacert {ca}", package="curl"),
    Tool("wget2", fetch=WGET2, trust="--ca-certificate={ca}", package="wget2"),
    Tool("aria2c -j16", fetch=ARIA2 + " -i {aria2}", trust="--ca-certificate={ca}", package="aria2"),
    # It has no list, but walks the indexes.
    Tool("rclone copy", fetch=RCLONE, trust="--ca-cert {ca}", package="rclone", version="version"),
]
# How a program is told not to fetch again what has not changed, in the first run and in those after it.
AGAIN = {
    # All but -Z stands in the list, for each file.
    "curl": "curl -Z --parallel-max 16 -K {curl_again}",
    "wget2": WGET2 + " -N",
    "aria2c": ARIA2 + " -R --conditional-get=true --allow-overwrite=true -i {aria2}",
}

OURS = [
    Row("ringpull mirror", "ringpull", "ringpull mirror {trust} -q {extra} {tsv} -d .", "--cacert {ca}"),
    Row(
        "ringpull mirror, URLs alone",
        "ringpull",
        "ringpull mirror {trust} -q {extra} {urls} --base-url {base} -d .",
        "--cacert {ca}",
    ),
]
OLDER = Row(
    "ringpull mirror --http1.1",
    "ringpull",
    "ringpull mirror --http1.1 {trust} -q {extra} {tsv} -d .",
    "--cacert {ca}",
)


class Mark(NamedTuple):
    """What the first row is to reach; `what` is a name of `MARKS` in `tables.py`."""

    what: str
    limit: float


class Case(NamedTuple):
    """What is compared. Of several `parts`, sets of files, the first is the whole and the others are it in two."""

    name: str
    says: str
    parts: list
    rows: list
    note: str = "the others are followed by `sync -f .`"
    secure: bool = False
    again: bool = False  # timed is not the run that fills a directory, but those after it
    rounds_max: int = 1000
    marks: tuple = ()


def peers(lines=None):
    """The rows of the others; `lines` has those of programs that have another one."""
    return [Row(tool.name, tool.program, (lines or {}).get(tool.program, tool.fetch) + SYNC, tool.trust)
            for tool in TOOLS]


FASTER = (Mark("wall", 0.6), Mark("cpu", 0.6))
FASTER_TLS = (Mark("wall", 0.7), Mark("cpu", 0.7))
CASES = [
    Case("small", "small files, on disk at the end", ["small"], OURS + peers(), marks=FASTER),
    Case(
        "small-tls",
        "small files over HTTPS, HTTP/2 where it is spoken, on disk at the end",
        ["small"],
        [*OURS, OLDER, *peers()],
        secure=True,
        marks=FASTER_TLS,
    ),
    Case(
        "mixed",
        "small and large files in one list, and each kind alone, on disk at the end",
        ["tree", "small", "large"],
        OURS + peers(),
    ),
    Case(
        "again",
        "the same list once more, after nothing has changed",
        ["again"],
        OURS + peers(AGAIN),
        note="curl and aria2c ask with the dates of the files; every round finds what the one before has left",
        again=True,
        marks=(Mark("unchanged", 1.0),),
    ),
    Case(
        "many",
        "a long list of small files, on disk at the end",
        ["many"],
        OURS + peers(),
        # Disks have an end.
        rounds_max=1,
        marks=(Mark("peak", 128.0),),
    ),
]
