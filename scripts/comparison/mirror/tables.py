"""What `scripts/versus --mirror` shows: a table for each case, and what was reached of what was to be reached.

Everything is made from the object that `--json` writes, and from nothing else.
"""

from statistics import median

from comparison import report
from comparison.report import cpus, is_timed, spread, walls

# Between these two lines of a file, tables are replaced.
BEGIN, END = "<!-- versus mirror -->", "<!-- /versus mirror -->"
# What the time of a run without changes is told for.
UNCHANGED_FILES = 100_000
# How a mark is told, and with how many digits.
MARKS = {
    "wall": ("wall time, {first} / {best}, the best of the others", 2),
    "cpu": ("CPU time, {first} / {best}, the best of the others", 2),
    "unchanged": (f"wall seconds for each {UNCHANGED_FILES} of {{files}} unchanged files, with digests", 2),
    "peak": ("peak of memory for {files} files, MiB", 0),
}


def table(case):
    """A case in Markdown."""
    parts = [row for row in case["rows"] if row["part"]]
    whole = [row for row in case["rows"] if not row["part"]]
    first = whole[0]
    head = ["", "wall s", f"{first['name']} / this", "CPU s", "its CPU / this", "peak MiB"]
    lines = [[row["name"], *figures(first, row)] for row in whole]
    if parts:
        names = list(dict.fromkeys(row["part"] for row in parts))
        head += [*(f"{name} alone, s" for name in names), f"all / ({' + '.join(names)})"]
        lines = [line + alone(row, parts, names) for line, row in zip(lines, whole)]
    much = f"{case['files']} files, {case['size'] / report.GB:.2f} GB, {report.rounds(case)}"
    title = f"**{case['name']}**: {case['says']} ({much}; {case['note']})."
    blocks = [title, report.aligned([head, *lines])]
    met = marks(case)
    if met:
        blocks.append(report.aligned([["mark", "limit", "measured", "met"], *(
            [mark["says"], f"<= {mark['limit']:g}", mark["measured"], mark["met"]] for mark in met
        )]))
    return "\n\n".join(blocks)


def figures(first, row):
    """The cells of a row."""
    if not is_timed(row):
        return [row["failed"], "", "", "", ""]
    against = row is not first and is_timed(first)
    return [
        spread(walls(row), 2),
        spread(report.ratios(first, row), 2) if against else "",
        spread(cpus(row), 2),
        spread(by_round(cpus(first), cpus(row)), 2) if against else "",
        f"{peak(row):.0f}",
    ]


def alone(row, parts, names):
    """The parts of a row's whole, and the whole over their sum, round by round."""
    found = [next(part for part in parts if (part["name"], part["part"]) == (row["name"], name)) for name in names]
    cells = [spread(walls(part), 2) if is_timed(part) else part["failed"] for part in found]
    if not all(map(is_timed, [row, *found])):
        return [*cells, ""]
    sums = [sum(seconds) for seconds in zip(*map(walls, found))]
    return [*cells, spread(by_round(walls(row), sums), 2)]


def by_round(ours, theirs):
    return [one / other for one, other in zip(ours, theirs)]


def peak(row):
    return max(sample["peak_rss_bytes"] for sample in row["samples"]) / (1 << 20)


def marks(case):
    """What was to be reached, and whether it was: the median counts, of memory the largest."""
    whole = [row for row in case["rows"] if not row["part"]]
    first, others = whole[0], [row for row in whole if not row["name"].startswith("ringpull") and is_timed(row)]
    found = []
    for limit in case["limits"]:
        says, digits = MARKS[limit["what"]]
        values, best = reached(limit["what"], case, first, others)
        found.append({
            "what": limit["what"],
            "says": says.format(first=first["name"], best=best, files=case["files"]),
            "limit": limit["limit"],
            "values": values,
            "measured": told(values, digits),
            "met": ("yes" if median(values) <= limit["limit"] else "no") if values else "not known",
        })
    return found


def told(values, digits):
    if len(values) > 1:
        return spread(values, digits)
    return f"{values[0]:.{digits}f}" if values else "nothing"


def reached(what, case, first, others):
    """The values to hold against a limit, and who is the best of the others in it."""
    if what in ["wall", "cpu"]:
        taken = walls if what == "wall" else cpus
        best = min(others, key=lambda row: median(taken(row)), default=None)
        values = by_round(taken(first), taken(best)) if best and is_timed(first) else []
        return values, best["name"] if best else "nobody"
    if not is_timed(first):
        return [], ""
    if what == "peak":
        return [peak(first)], ""
    return [wall * UNCHANGED_FILES / case["files"] for wall in walls(first)], ""
