"""The tree that `scripts/tree` serves: laid out as Debian's archive is, made from a seed, and changed by chance.

Invariant: what `files` has is what is served, but for the time of a change; and no date comes twice, so that a file
with other bytes has another date too, as far as HTTP tells it (whole seconds).
"""

import hashlib
import os
import random
import shutil
from typing import NamedTuple

# What is in names of Debian, and what else has to be escaped in addresses, indexes and lists of digests.
ODD = ["+b1", "~rc2", "_1%3a2", "%2f", " of it", ":x", "\u00e9", "e\u0301", "#1", "&amp;", "=", ";v", "'s", "?", '"q"',
       "<b>", "back\\slash", "$!", "(1)", "[2]", "@", ",", "{}", "long" * 30]
ARCHITECTURES = ["all", "amd64", "arm64"]
MIB = 1 << 20
LARGE_BYTES = 8 * MIB
# Dates go up from here, a second or more for each file that is made.
FIRST_DATE = 1_500_000_000


class File(NamedTuple):
    """What a client can see of a file."""

    size: int
    digest: str
    date: int


class Tree:
    """The files below `place`/www/debian, and their list, `place`/www/SHA256SUMS."""

    def __init__(self, place, seed):
        self.root, self.list = place / "www/debian", place / "www/SHA256SUMS"
        self.draft, self.chance = place / "draft", random.Random(seed)
        self.files, self.sources, self.date = {}, [], FIRST_DATE
        # All that files of a path ever had.
        self.history = {}

    def fill(self, count):
        """Makes so many files."""
        for suite in ["bookworm", "bookworm-updates", "sid", "trixie"][: 1 + count // 150]:
            self.suite(suite)
        larges = max(2, count // 2000)
        for number in range(larges):
            large = self.chance.randrange(LARGE_BYTES + 1, (20 if count < 5000 else 80) * MIB)
            self.put(f"pool/main/l/linux/linux_6.{number}.orig.tar.xz", self.bytes(large))
        while len(self.files) < count:
            self.package(count - len(self.files))
        self.write_list()

    def suite(self, suite):
        """The lists of a suite, by name and, once more, by digest."""
        for name in [f"main/binary-{one}/Packages.gz" for one in ARCHITECTURES] + ["main/source/Sources.gz"]:
            self.index(f"dists/{suite}/{name}")
        for name in ["Release", "InRelease"]:
            self.put(f"dists/{suite}/{name}", self.bytes())

    def index(self, path):
        data = self.bytes()
        folder = path.rpartition("/")[0]
        self.put(path, data)
        self.put(f"{folder}/by-hash/SHA256/{hashlib.sha256(data).hexdigest()}", data)

    def package(self, most):
        """A source package and what is built from it, as far as there may be more files."""
        number = len(self.sources)
        odd = self.chance.choice(ODD) if self.chance.random() < 0.1 else ""
        name = f"{self.chance.choice('abcdefghijklmnopqrstuvwxyz')}{number}"
        name = f"lib{name}" if self.chance.random() < 0.3 else name
        begin = name[:4] if name.startswith("lib") else name[0]
        # The directory of one in a hundred is odd, too.
        folder = f"pool/main/{begin}/{name}{odd if self.chance.random() < 0.1 else ''}"
        self.sources.append(folder)
        version = f"_{self.chance.randrange(9)}.{self.chance.randrange(30)}{odd}-{1 + self.chance.randrange(9)}"
        built = [f"{name}{kind}{version}_{self.chance.choice(ARCHITECTURES)}.deb"
                 for kind in ["", "-dev", "-doc", "-data", "-dbg"][: self.chance.randrange(1, 6)]]
        for file in [f"{name}{version}.dsc", f"{name}{version}.orig.tar.xz", *built][:most]:
            # What has not changed is there twice in an archive, too.
            data = self.read(*self.some(0)) if self.chance.random() < 0.02 else self.bytes()
            self.put(f"{folder}/{file}", data)

    def bytes(self, size=None):
        """Bytes of a likely size: a few KiB to 100 KiB mostly, a few of MiB, and one in a hundred empty."""
        if size is None:
            size = 0 if self.chance.random() < 0.01 else int(self.chance.lognormvariate(9.6, 1.4))
        return self.chance.randbytes(min(size, 80 * MIB))

    def put(self, path, data):
        """Has a file there in one step, as archives do, with a date of its own."""
        self.date += self.chance.randrange(1, 9)
        self.draft.write_bytes(data)
        os.utime(self.draft, ns=(0, self.date * 10**9 + self.chance.randrange(10**9)))
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        self.draft.rename(target)
        self.know(path, File(len(data), hashlib.sha256(data).hexdigest(), self.date))

    def know(self, path, file):
        self.files[path] = file
        self.history.setdefault(path, set()).add(file.digest)

    def read(self, path):
        return (self.root / path).read_bytes()

    def remove(self, path):
        (self.root / path).unlink()
        del self.files[path]

    def move(self, path, there):
        target = self.root / there
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).rename(target)
        self.know(there, self.files.pop(path))

    def some(self, share, large=False):
        """Paths of so large a part of the small files, or of the large ones, and of one at least."""
        small = [path for path, file in self.files.items() if (file.size > LARGE_BYTES) == large]
        return self.chance.sample(small, max(1, int(len(small) * share)))

    def below(self, folder):
        return [path for path in self.files if path.startswith(f"{folder}/")]

    def folder(self):
        """A directory of a package."""
        folders = {path.rpartition("/")[0] for path in self.files if path.startswith("pool/") and path.count("/") == 4}
        return self.chance.choice(sorted(folder for folder in folders if not folder.endswith("/linux")))

    def change(self, share, touch=False):
        """Changes a part of the tree: other files as long as before and not, new, gone, moved, and what makes room.

        With `touch` there are new dates for old bytes, which lists of digests cannot tell.
        """
        for path in self.some(share):
            self.put(path, self.bytes())
        # As long as it was; an empty one gets a byte.
        for path in [*self.some(share / 2), *self.some(0, large=True)]:
            self.put(path, self.bytes(self.files[path].size or 1))
        for path in self.some(share / 2):
            self.remove(path)
        for path in self.some(share / 2):
            self.move(path, f"{path}.moved")
        for path in self.some(share / 2) if touch else []:
            self.put(path, self.read(path))
        if self.chance.random() < 0.5:
            self.index("dists/bookworm/main/source/Sources.gz")
        more = len(self.files) + max(2, int(len(self.files) * share))
        while len(self.files) < more:
            self.package(more - len(self.files))
        self.move_folder()
        self.empty_folder()
        self.file_to_folder()
        self.folder_to_file()
        self.write_list()

    def move_folder(self):
        folder = self.folder()
        for path in self.below(folder):
            self.move(path, f"{folder}-moved{path.removeprefix(folder)}")
        shutil.rmtree(self.root / folder)

    def empty_folder(self):
        """The directory stays, with nothing in it."""
        for path in self.below(self.folder()):
            self.remove(path)

    def file_to_folder(self):
        path = self.chance.choice([path for path in self.some(0.1) if path.startswith("pool/")])
        data = self.read(path)
        self.remove(path)
        # The same bytes below the name that they had, and others deeper.
        self.put(f"{path}/inside", data)
        self.put(f"{path}/deep/er", self.bytes())

    def folder_to_file(self):
        folder = self.folder()
        for path in self.below(folder):
            self.remove(path)
        shutil.rmtree(self.root / folder)
        self.put(folder, self.bytes())

    def write_list(self):
        """The list of digests, as sha256sum writes it."""
        lines = []
        for path, file in sorted(self.files.items()):
            escaped = path.replace("\\", "\\\\")
            mark = "\\" if escaped != path else ""
            lines.append(f"{mark}{file.digest}  {escaped}\n")
        self.draft.write_text("".join(lines))
        self.draft.rename(self.list)

    def digest(self):
        return digest_of(self.files)


def digest_of(files):
    """The digest of all names, sizes and bytes."""
    lines = [f"{file.digest} {file.size} {path}\0" for path, file in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
