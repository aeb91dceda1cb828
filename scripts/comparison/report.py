"""What `scripts/versus` shows: the tables in Markdown, and a chart in SVG.

Everything is made from the object that `--json` writes, and from nothing else.
"""

from datetime import datetime
from html import escape
from statistics import median

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


def page(record):
    """Everything: a table for each case, and what they are about."""
    return "\n\n".join([*map(table, record["cases"]), about(record)])


def about(record):
    """Where and how it was measured, what casts doubt on it, and the commands."""
    warnings = [f"Warning: {warning}." for warning in record["warnings"]]
    return "\n\n".join([conditions(record), *warnings, commands(record)]) + "\n"


def conditions(record):
    at, server = record["machine"], record["server"]
    versions = ", ".join(f"{tool} {version}" for tool, version in record["versions"].items())
    return (
        f"`{record['command']}` on {day(record)}: {record['size'] / GB:.2f} GB from {server['name']} "
        f"({server['congestion_control']}), {record['rounds']} rounds, medians and the least to the most. "
        f"Linux {at['kernel']}, {at['cpus']} CPUs ({at['cpu']}), {at['memory_bytes'] / GB:.0f} GB of memory, "
        f"{at['filesystem']}. {versions}."
    )


def day(record):
    began = datetime.fromisoformat(record["began"])
    return f"{began.day} {began:%b %Y}"


def table(case):
    """A case as a table, its columns aligned for those who read it as text."""
    small = case["repeat"] > 1
    first = case["rows"][0]
    cpu = "CPU ms" if small else "CPU s per GB"
    lines = [[f"**{case['name']}**", "wall ms" if small else "wall s", f"{first['name']} / this", cpu, "peak MiB"]]
    lines += [["---"] * 5]
    for row in case["rows"]:
        lines.append([row["name"], *(cells(case, first, row) if is_timed(row) else [row["failed"] or "", "", "", ""])])
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    text = "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
    text = text.replace("---" + " " * (widths[0] - 3), "-" * widths[0], 1)
    return f"{case['name']}: {case['says']}.\n\n{text}"


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
    """What the shell was told, folded away; what is long and says nothing has a name instead."""
    lines = []
    for case in record["cases"]:
        lines += [f"# {case['name']}"] + [row["shown"] for row in case["rows"]]
    return "\n".join(["<details><summary>Commands</summary>", "", "```sh", *lines, "```", "", "</details>"])


def put(text, path):
    """Writes tables to a file, or between the marks that it has."""
    old = path.read_text() if path.exists() else ""
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    path.write_text(f"{before}{begin}\n{text}{end}{after}" if end else text)


# The chart.

ROW, BAR, TOP, NAMES, PANEL, GAP, VALUE = 30, 16, 96, 150, 230, 76, 8
OURS, OTHERS, INK, FAINT, LINE, PAPER = "#0a7d55", "#9aa4af", "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Helvetica, Arial, sans-serif"


def chart(record):
    """The first case as bars: wall time on the left, CPU time on the right, the fastest on top."""
    case = record["cases"][0]
    rows = sorted(filter(is_timed, case["rows"]), key=lambda row: median(walls(row)))
    small = case["repeat"] > 1
    per = 1000 if small else 1
    per_cpu = 1000 if small else GB / case["size"]
    unit = "ms" if small else "s"
    panels = [
        (f"Wall time, {unit}", [[wall * per for wall in walls(row)] for row in rows]),
        (f"CPU time, {unit}" if small else "CPU time, s per GB", [[cpu * per_cpu for cpu in cpus(row)] for row in rows]),
    ]
    width, height = NAMES + 2 * (PANEL + GAP) + 24, TOP + ROW * len(rows) + 56
    draw = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="{escape(FONT)}" font-size="13">',
        f"<title>ringpull and others: {escape(case['name'])}</title>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="{PAPER}" stroke="{LINE}"/>',
        words(24, 34, f"{case['size'] / GB:.2f} GB {case['says']}" if not small else case["says"], size=16, weight=600),
        words(24, 56, f"Shorter is better. Bars are medians of {len(walls(rows[0]))} runs, lines go from the least "
              "to the most." if rows else "Nothing was timed.", fill=FAINT),
    ]
    for at, row in enumerate(rows):
        weight = 600 if row["name"].startswith("ringpull") else 400
        draw.append(words(NAMES, TOP + ROW * at + BAR, row["name"], anchor="end", weight=weight))
    for number, (title, columns) in enumerate(panels):
        left = NAMES + 14 + number * (PANEL + GAP)
        draw.append(words(left, TOP - 12, title, fill=FAINT))
        draw += panel(left, rows, columns, 1 if small else 2)
    draw.append(words(24, height - 20, footer(record), fill=FAINT, size=11))
    return "\n".join([*draw, "</svg>"]) + "\n"


def panel(left, rows, columns, digits):
    """The bars of one measure, with their spread and the figure."""
    longest = max((max(values) for values in columns), default=1) or 1
    for at, (row, values) in enumerate(zip(rows, columns)):
        top, middle = TOP + ROW * at + 3, TOP + ROW * at + 3 + BAR / 2
        least, most, bar = (PANEL * value / longest for value in (min(values), max(values), median(values)))
        fill = OURS if row["name"].startswith("ringpull") else OTHERS
        yield f'<rect x="{left}" y="{top}" width="{bar:.1f}" height="{BAR}" rx="2" fill="{fill}"/>'
        yield (
            f'<path d="M{left + least:.1f} {middle}H{left + most:.1f}M{left + least:.1f} {middle - 4}v8'
            f'M{left + most:.1f} {middle - 4}v8" stroke="{INK}" fill="none"/>'
        )
        yield words(left + max(bar, most) + VALUE, top + BAR - 3, f"{median(values):.{digits}f}")


def footer(record):
    at, server = record["machine"], record["server"]
    return (
        f"{day(record)}, Linux {at['kernel']}, {at['cpus']} CPUs ({at['cpu']}), {at['filesystem']}, "
        f"{server['name']}, {server['congestion_control']}"
    )


def words(x, y, text, *, fill=INK, size=13, weight=400, anchor="start"):
    return (
        f'<text x="{x:.1f}" y="{y}" fill="{fill}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
