"""What is served in `scripts/versus --mirror`: sets of pseudo-random files, and lists of them in every form.

Invariant: the bytes, and so the digest of a set, are the same every time; only addresses differ.
"""

import contextlib
import hashlib
import os
import random
import shutil
from typing import NamedTuple

from comparison.bench import SLACK_BYTES
from comparison.machine import MIB, Failure, digest_of, say
from comparison.mirror.cases import DIRECTORY_FILES, LARGE_FILES, MANY_FILES, SMALL_BYTES, SMALL_FILES
from comparison.server import NO_TLS, prepared, serving

# What our program keeps of its own beside the files.
STATE = ".ringpull"
# What a file takes on a disk beside its bytes: an inode and a name.
FILE_BYTES = 512


class Entry(NamedTuple):
    """A file of a set, by its path in the set."""

    path: str
    size: int
    digest: str


class Served(NamedTuple):
    """A set that is there to be fetched, and how the shell may name it."""

    count: int
    size: int
    digest: str
    values: dict
    ca: str = ""


def counts(case, entries):
    """How many small files a case has, and how many large ones."""
    return entries or (MANY_FILES if case.name == "many" else SMALL_FILES), LARGE_FILES if case.name == "mixed" else 0


def folder(part, small):
    """Where a set is, below what is served: sets that are as long as the usual one are that one."""
    usual = {"tree": "tree", "small": "tree/small", "large": "tree/large"}
    return usual.get(part) or ("tree/small" if small == SMALL_FILES else f"small-{small}")


@contextlib.contextmanager
def own_sets(bench, asked, cases, rows, program):
    """Serves what the cases need; gives what is told of the server, and a set for each part, or why there is none.

    `rows` is how many programs write each set down, in each round.
    """
    place = bench.scratch
    make_room(place, asked, cases, rows)
    secure = prepared(place, asked.server, any(case.secure for case in cases))
    made = {}
    for case in cases:
        small, large = counts(case, asked.entries)
        for part in case.parts:
            where = folder(part, small)
            # The whole is made of the others.
            if where != "tree" and where not in made:
                sizes = large_sizes(large, asked.size * MIB) if part == "large" else small_sizes(small)
                made[where] = write_set(place / "www" / where, sizes)
    if "tree/large" in made:
        made["tree"] = [entry._replace(path=f"{kind}/{entry.path}") for kind in ["large", "small"]
                        for entry in made[f"tree/{kind}"]]
    known = f"{next(iter(made))}/{next(iter(made.values()))[0].path}"
    (place / "lists").mkdir()
    with serving(place, asked.server, secure, program, known, http2=True) as (told, bases):
        files = {}
        for case in cases:
            small, _ = counts(case, asked.entries)
            for part in case.parts:
                if case.secure and not secure:
                    files[case.name, part] = NO_TLS
                    continue
                where, base = folder(part, small), bases[1 if case.secure else 0]
                ca = str(place / "ca.pem") if case.secure else ""
                name = f"{case.name}-{part}"
                files[case.name, part] = serve(place / "lists" / name, f"{base}{where}/", made[where], ca)
        yield told, files


def make_room(place, asked, cases, rows):
    """Refuses to begin where the disk is too small: nothing that small files take is given back between runs."""
    files = size = 0
    for case in cases:
        small, large = counts(case, asked.entries)
        runs = rows * (1 if case.again else min(asked.rounds, case.rounds_max) + 1)
        # Of the mixed case there are the whole and its parts.
        files += small * (1 + runs * (2 if large else 1))
        # Large files are emptied after each run.
        size += large * asked.size * MIB * 3
    size += files * (SMALL_BYTES + FILE_BYTES) + SLACK_BYTES
    disk = os.statvfs(place)
    free, inodes = shutil.disk_usage(place).free, disk.f_favail
    if free < size or disk.f_files and inodes < files:
        raise Failure(
            f"{size / 1e9:.1f} GB and {files} files are needed, and {free / 1e9:.1f} GB and {inodes} free: "
            "see --case, --rounds, --entries and --dir"
        )


def small_sizes(count):
    """The paths and sizes of so many small files."""
    return [(f"d{number // DIRECTORY_FILES:04}/f{number % DIRECTORY_FILES:02}", SMALL_BYTES)
            for number in range(count)]


def large_sizes(count, size):
    return [(f"f{number:02}", size) for number in range(count)]


def write_set(root, sizes):
    """Writes files of pseudo-random bytes, and gives their entries."""
    say(f"making {len(sizes)} files of {sizes[0][1]} bytes")
    source, entries = random.Random(f"versus {sizes[0][1]}"), []
    for path, size in sizes:
        file, digest = root / path, hashlib.sha256()
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "wb") as out:
            for at in range(0, size, MIB):
                block = source.randbytes(min(MIB, size - at))
                digest.update(block)
                out.write(block)
        entries.append(Entry(path, size, digest.hexdigest()))
    return entries


def serve(stem, base, entries, ca):
    """Writes the lists of a set under an address; gives what there is to fetch."""
    forms = {
        "tsv": ["url\tpath\tsize\tsha256\n", *(f"{base}{one.path}\t{one.path}\t{one.size}\t{one.digest}\n"
                                               for one in entries)],
        "urls": [f"{base}{one.path}\n" for one in entries],
        "curl": [f'url = "{base}{one.path}"\noutput = "{one.path}"\n' for one in entries],
        "curl_again": again(base, entries),
        "aria2": [f"{base}{one.path}\n dir={os.path.dirname(one.path) or '.'}\n out={os.path.basename(one.path)}\n"
                  for one in entries],
    }
    values = {}
    for form, lines in forms.items():
        file = stem.with_name(f"{stem.name}.{form}")
        file.write_text("".join(lines))
        values[form] = str(file)
    values |= {"base": base, "cut": str(base.count("/") - 3), "ca": ca}
    return Served(len(entries), sum(one.size for one in entries), digest_of_set(entries), values, ca)


def again(base, entries):
    """A list for curl in which each file has a date to compare with: that of the file which is there."""
    options = "remote-time\ncreate-dirs\nfail\nsilent\nshow-error\n"
    for number, one in enumerate(entries):
        begin = "next\n" if number else ""
        yield f'{begin}url = "{base}{one.path}"\noutput = "{one.path}"\ntime-cond = "{one.path}"\n{options}'


def digest_of_set(entries):
    """The digest of all names and all bytes."""
    lines = sorted(f"{one.digest}  {one.path}\n" for one in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def found(root, thorough):
    """The files below a directory, without what our program keeps of its own; only a thorough look reads them."""
    for here, folders, files in os.walk(root):
        if here == str(root) and STATE in folders:
            folders.remove(STATE)
        for name in files:
            file = os.path.join(here, name)
            yield Entry(os.path.relpath(file, root), os.stat(file).st_size, digest_of(file) if thorough else "")


def wrong(root, served, thorough):
    """What is wrong with what a run has brought."""
    entries = list(found(root, thorough))
    size = sum(one.size for one in entries)
    if len(entries) != served.count:
        return f"exit 0, and {len(entries)} files of {served.count}"
    if size != served.size:
        return f"exit 0, and {size} bytes of {served.size}"
    return "exit 0, and wrong bytes" if thorough and digest_of_set(entries) != served.digest else None


def empty_large(root):
    """Gives back what large files take. They keep their inodes: ext4 goes a long way around those just freed.

    What a program knows of the run before is no file of the list.
    """
    for here, folders, files in os.walk(root):
        folders[:] = [folder for folder in folders if folder != ".ringpull"]
        for name in files:
            file = os.path.join(here, name)
            if os.stat(file).st_size > MIB:
                os.truncate(file, 0)
