"""How `scripts/versus --mirror` goes through its rounds.

Each run fills a directory of its own, and none is removed before the end: ext4 goes around inodes that were freed in
the last minutes, and who comes next would pay for that. Only large files are emptied, as disks have an end.
Invariant: what is timed was right, by its count and size; every byte is compared in the first round.
"""

import shlex

from comparison import machine
from comparison.bench import SLACK_BYTES
from comparison.machine import say
from comparison.mirror import files

# What readers are shown instead of paths and addresses.
SHOWN = {
    "tsv": "LIST.tsv",
    "urls": "LIST.txt",
    "curl": "LIST.curl",
    "curl_again": "LIST.curl",
    "aria2": "LIST.aria2",
    "base": "URL/",
    "ca": "CA",
}


def rows(bench, case, sets, programs):
    """The rows of a case for these programs: one for each part, of which the first is the whole."""
    found = []
    for row in case.rows:
        for part in case.parts:
            served = sets[case.name, part]
            if row.program in ["ringpull", *programs] and (row.trust or not served.ca):
                line, shown = (spell(row, served, bench.extra, shown) for shown in [False, True])
                told = {"name": row.name, "part": "" if part == case.parts[0] else part}
                found.append({**told, "command": line, "shown": shown, "failed": None, "samples": []})
    return found


def spell(row, served, extra, shown):
    """A line for the shell, or the same for readers, who want names and not paths."""
    values = {name: shlex.quote(value) for name, value in served.values.items()}
    if shown:
        values |= SHOWN
    values |= {"trust": row.trust.format_map(values) if served.ca else "", "extra": shlex.join(extra)}
    return " ".join(row.line.format_map(values).split())


def run(bench, case, sets, rows, rounds):
    """Runs all rounds, and adds samples to the rows; gives how busy the machine was between them."""
    busy = []
    for number in range(rounds + 1):
        order = turned(rows, number, len(case.parts))
        told = [turn(bench, case, sets, row, number, rows.index(row)) for row in order if not row["failed"]]
        busy.append(machine.busy(0.2))
        title = f"round {number} of {rounds}" if number else "warm-up"
        say(f"{case.name}, {title}: {', '.join(told)}")
    return busy


def turned(rows, number, parts):
    """The rows, beginning with another program in each round, and backwards in every other one."""
    begin, step = number * parts, -1 if number % 2 else 1
    return [rows[(begin + step * at) % len(rows)] for at in range(len(rows))]


def turn(bench, case, sets, row, number, index):
    """One run of a row, and a word about it; round 0 is for the bytes and not for the clock."""
    served = sets[case.name, row["part"] or case.parts[0]]
    place = bench.out / f"{case.name}-{index}-{0 if case.again else number}"
    place.mkdir(exist_ok=case.again)
    sample, _, failed = bench.measure_there(row["command"], place, served.size + SLACK_BYTES)
    row["failed"] = failed or files.wrong(place, served, thorough=number == 0)
    files.empty_large(place)
    name = " ".join(filter(None, [row["name"], row["part"]]))
    if row["failed"]:
        return f"{name} FAILED: {row['failed']}"
    if number > 0:
        row["samples"].append({"round": number, **sample})
    return f"{name} {sample['wall_seconds']:.3f}"


def compare(bench, cases, sets, programs, asked, add):
    """Runs the cases, and has `add` take the record of each."""
    for case in cases:
        missing = next((sets[case.name, part] for part in case.parts if isinstance(sets[case.name, part], str)), None)
        if missing:
            say(f"{case.name} is left out: {missing}")
            continue
        served = sets[case.name, case.parts[0]]
        lines, rounds = rows(bench, case, sets, programs), min(asked.rounds, case.rounds_max)
        busy = run(bench, case, sets, lines, rounds)
        add({
            "name": case.name,
            "says": case.says,
            "note": case.note,
            "size": served.size,
            "files": served.count,
            "repeat": 1,
            "rounds": rounds,
            "busy_between_rounds": busy,
            "rows": lines,
            "limits": [mark._asdict() for mark in case.marks],
        })
