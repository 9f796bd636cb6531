#!/usr/bin/env python3
"""What a stack costs in a month, by memory size and number of calls.

    benches/costs.py [target/bench.json] [--upstream-ms 300] [--cold-starts 0.02]

The time that the program adds to a call at each memory size is read from the result of `cargo bench` (rows at 5 ms to the
table); without it, the billed time is that of the upstream alone. Prices are those of docs/operate/costs.md: us-east-1,
November 2026, US dollars, without any free tier.
"""

import argparse
import json
import re

DAYS = 30
MEMORY_MB = [128, 256, 512, 1024, 1769]
CALLS_A_DAY = {"idle": 0, "1 k": 1_000, "100 k": 100_000, "10 M": 10_000_000}

GB_SECOND = 0.0000133334  # Lambda, arm64
REQUEST = 0.20 / 1e6
TABLE_READ = 0.125 / 1e6  # one for each call
TABLE_WRITE = 0.625 / 1e6  # one for each tools/call that is recorded
SECRET_MONTH = 0.40
SECRET_READ = 0.05 / 1e4
SECRET_READ_SECONDS = 300  # at most one in this time for each instance
LOG_GB = 0.50
LOG_BYTES_OF_A_CALL = 1_000


def measured(path):
    """Seconds for each memory size: of a call, and of a cold start."""
    if path is None:
        return {}
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)
    times = {}
    for row in rows:
        found = re.fullmatch(r"(a call|cold start and initialize), (\d+) MB, 5 ms to the table(, p50)?", row["name"])
        if found:
            times.setdefault(int(found[2]), {})[found[1]] = row["proxied"] / 1000
    return times


def month(calls_a_day, memory_mb, times, upstream, cold_share):
    calls = calls_a_day * DAYS
    added, cold = times.get("a call", 0), times.get("cold start and initialize", 0)
    seconds = calls * (upstream + added + cold_share * cold)
    # Instances that are busy at the same time, on average; each reads the secret.
    instances = min(calls, max(1, seconds / (DAYS * 86_400)))
    reads = instances * DAYS * 86_400 / SECRET_READ_SECONDS
    return (
        calls * (REQUEST + TABLE_READ + TABLE_WRITE)
        + seconds * memory_mb / 1024 * GB_SECOND
        + SECRET_MONTH
        + min(calls, reads) * SECRET_READ
        + calls * LOG_BYTES_OF_A_CALL / 1e9 * LOG_GB
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench", nargs="?", help="target/bench.json")
    parser.add_argument("--upstream-ms", type=float, default=300, help="how long the upstream takes for a call")
    parser.add_argument("--cold-starts", type=float, default=0.02, help="the share of calls that start an instance")
    arguments = parser.parse_args()
    times, upstream = measured(arguments.bench), arguments.upstream_ms / 1000

    print("| Calls a day | " + " | ".join(f"{memory} MB" for memory in MEMORY_MB) + " |")
    print("|---|" + "---|" * len(MEMORY_MB))
    for name, calls in CALLS_A_DAY.items():
        row = [month(calls, memory, times.get(memory, {}), upstream, arguments.cold_starts) for memory in MEMORY_MB]
        print(f"| {name} | " + " | ".join(f"{dollars:,.2f}" for dollars in row) + " |")
    stream = [DAYS * 86_400 * memory / 1024 * GB_SECOND for memory in MEMORY_MB]
    print("| one open stream, in addition | " + " | ".join(f"{dollars:,.2f}" for dollars in stream) + " |")
    if times:
        best = min(MEMORY_MB, key=lambda memory: month(1_000, memory, times.get(memory, {}), upstream, arguments.cold_starts))
        print(f"\nThe cheapest size for 1,000 calls a day is {best} MB.")


main()
