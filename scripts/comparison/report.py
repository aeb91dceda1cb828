"""What `scripts/versus` shows: the tables in Markdown, and a chart in SVG.

Everything is made from the object that `--json` writes, and from nothing else.
"""

from datetime import datetime
from html import escape
from statistics import mean, median

from comparison.machine import BUSY

# Between these two lines of a file, tables are replaced.
BEGIN, END = "<!-- versus -->", "<!-- /versus -->"
GB = 1e9


# Figures.


def walls(row):
    return [sample["wall_seconds"] for sample in row["samples"]]


def cpus(row):
    return [sample["user_seconds"] + sample["system_seconds"] for sample in row["samples"]]


def ratios(first, row):
    """Wall time of the first row over that of another, round by round."""
    return [ours / theirs for ours, theirs in zip(walls(first), walls(row))]


def spread(values, digits):
    """The median, and how far the rounds lie apart."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def is_timed(row):
    return not row["failed"] and row["samples"]


# Tables.


def page(record, table):
    """Everything: a table for each case, and what they are about."""
    return "\n\n".join([*map(table, record["cases"]), about(record)])


def about(record):
    """Where and how it was measured, what casts doubt on it, and the commands."""
    warnings = [f"Warning: {warning}." for warning in record["warnings"] + busy_warnings(record["cases"])]
    return "\n\n".join([conditions(record), *warnings, commands(record)]) + "\n"


def busy_warnings(cases):
    """Whether others disturbed the rounds of a case."""
    shares = [(case["name"], mean(case["busy_between_rounds"])) for case in cases]
    told = ", ".join(f"{share:.0%} ({name})" for name, share in shares if share > BUSY)
    return [f"others used the CPUs between the rounds: {told}"] if told else []


def conditions(record):
    at, server = record["machine"], record["server"]
    much = "lists" if record.get("mirror") else f"{record['size'] / GB:.2f} GB"
    versions = ", ".join(f"{tool} {version}" for tool, version in record["versions"].items())
    return (
        f"`{record['command']}` on {day(record)}: {much} from {server['name']} "
        f"({server['congestion_control']}), {rounds(record)}, medians and the least to the most. "
        f"Linux {at['kernel']}, {at['cpus']} CPUs ({at['cpu']}), {at['memory_bytes'] / GB:.0f} GB of memory, "
        f"{at['filesystem']}. {versions}."
    )


def day(record):
    began = datetime.fromisoformat(record["began"])
    return f"{began.day} {began:%b %Y}"


def rounds(record):
    return f"{record['rounds']} round{'s' if record['rounds'] > 1 else ''}"


def table(case):
    """A case as a table, aligned for those who read it as text."""
    small, first = case["repeat"] > 1, case["rows"][0]
    wall, cpu = ("wall ms", "CPU ms") if small else ("wall s", "CPU s per GB")
    lines = [["", wall, f"{first['name']} / this", cpu, "peak MiB"]]
    for row in case["rows"]:
        lines.append([row["name"], *(cells(case, first, row) if is_timed(row) else [row["failed"], "", "", ""])])
    note = f" ({case['note']})" if case["note"] else ""
    return f"**{case['name']}**: {case['says']}{note}.\n\n{aligned(lines)}"


def aligned(lines):
    """A table of these cells, of which the first line is the head."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def cells(case, first, row):
    """The figures of a row."""
    small = case["repeat"] > 1
    scale = 1000 if small else 1
    cpu = median(cpus(row)) * 1000 if small else median(cpus(row)) / (case["size"] / GB)
    return [
        spread([wall * scale for wall in walls(row)], 1 if small else 2),
        "" if row is first or not is_timed(first) else spread(ratios(first, row), 2),
        f"{cpu:.1f}" if small else f"{cpu:.2f}",
        f"{max(sample['peak_rss_bytes'] for sample in row['samples']) / (1 << 20):.0f}",
    ]


def commands(record):
    """What the shell was told, folded away."""
    lines = []
    for case in record["cases"]:
        lines += [f"# {case['name']}", *dict.fromkeys(row["shown"] for row in case["rows"])]
    return "\n".join(["<details><summary>Commands</summary>", "", "```sh", *lines, "```", "", "</details>"])


def put(text, path, marks=(BEGIN, END)):
    """Writes tables to a file, or between the marks that it has."""
    old = path.read_text() if path.exists() else ""
    before, begin, rest = old.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    path.write_text(f"{before}{begin}\n{text}{end}{after}" if end else text)


# The chart.

ROW, BAR, TOP, EDGE, PANEL, GAP, LETTER = 30, 16, 96, 24, 230, 70, 8
OURS, OTHERS, INK, FAINT, LINE, PAPER = "#0a7d55", "#9aa4af", "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Helvetica, Arial, sans-serif"


def chart(record):
    """The first case as bars: wall time on the left, CPU time on the right, the fastest on top.

    It has a ground of its own, so that it reads on light and dark pages.
    """
    case = record["cases"][0]
    small, listed = case["repeat"] > 1, "files" in case
    whole = [row for row in case["rows"] if is_timed(row) and not row.get("part")]
    rows = sorted(whole, key=lambda row: median(walls(row)))
    left = EDGE + LETTER * max([len(row["name"]) for row in rows], default=0)
    width, height = left + 2 * (PANEL + GAP) + EDGE, TOP + ROW * len(rows) + 56
    note = f"{case['note'][0].upper()}{case['note'][1:]}. " if case["note"] else ""
    much = "" if small else f"{case['files']} files: " if listed else f"{case['size'] / GB:.2f} GB "
    title = much + case["says"]
    legend = f"{note}Shorter is better; bars are medians, lines go from the least to the most."
    draw = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="{escape(FONT)}">',
        f"<title>{escape(plain(title))}</title>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="{PAPER}" stroke="{LINE}"/>',
        words(EDGE, 34, title, size=16, weight=600),
        words(EDGE, 56, legend, fill=FAINT),
        words(EDGE, height - 20, footer(record), fill=FAINT, size=11),
    ]
    for at, row in enumerate(rows):
        draw.append(words(left, TOP + ROW * at + BAR, row["name"], weight=weight(row), anchor="end"))
    per_wall = 1000 if small else 1
    per_cpu = 1000 if small else 1 if listed else GB / case["size"]
    draw += panel(left + 14, "Wall time, ms" if small else "Wall time, s", 1 if small else 2,
                  [(row, [wall * per_wall for wall in walls(row)]) for row in rows])
    cpu_unit = "ms" if small else "s" if listed else "s per GB"
    draw += panel(left + 14 + PANEL + GAP, f"CPU time, {cpu_unit}", 1 if small else 2,
                  [(row, [cpu * per_cpu for cpu in cpus(row)]) for row in rows])
    return "\n".join([*draw, "</svg>"]) + "\n"


def panel(left, title, digits, rows):
    """The bars of one measure from the values of each row, with their spread and the figure."""
    yield words(left, TOP - 12, title, fill=FAINT)
    longest = max([max(values) for _, values in rows], default=0) or 1
    for at, (row, values) in enumerate(rows):
        top = TOP + ROW * at + 3
        middle = top + BAR // 2
        least, bar, most = (PANEL * value / longest for value in (min(values), median(values), max(values)))
        fill = OURS if weight(row) == 600 else OTHERS
        yield f'<rect x="{left}" y="{top}" width="{bar:.1f}" height="{BAR}" rx="2" fill="{fill}"/>'
        yield (
            f'<path d="M{left + least:.1f} {middle}H{left + most:.1f}M{left + least:.1f} {middle - 4}v8'
            f'M{left + most:.1f} {middle - 4}v8" stroke="{INK}" fill="none"/>'
        )
        yield words(left + most + 8, top + BAR - 3, f"{median(values):.{digits}f}", weight=weight(row))


def weight(row):
    """Ours stand out."""
    return 600 if row["name"].startswith("ringpull") else 400


def footer(record):
    at, server = record["machine"], record["server"]
    return (
        f"{day(record)}, Linux {at['kernel']}, {at['cpus']} CPUs ({at['cpu']}), {at['filesystem']}, "
        f"{server['name']}, {server['congestion_control']}, {rounds(record)}"
    )


def plain(text):
    return text.replace("`", "")


def words(x, y, text, *, fill=INK, size=13, weight=400, anchor="start"):
    return (
        f'<text x="{x:.1f}" y="{y}" fill="{fill}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(plain(text))}</text>'
    )
