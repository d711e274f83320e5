# SPDX-License-Identifier: MPL-2.0
"""Samples in, tables out: medians with their range, ratios of the same rounds, goals. Prints; decides no exit status."""

import statistics

from scenarios import fold


def cell(numbers, digits=1):
    return "-" if numbers is None else f"{numbers[0]:,.{digits}f} [{numbers[1]:,.{digits}f}-{numbers[2]:,.{digits}f}]"


def grid(rows):
    """Columns of text; the first is left, the others are right aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(text.ljust(w) if i == 0 else text.rjust(w)
                               for i, (text, w) in enumerate(zip(row, widths))).rstrip())


def ratio(ours, theirs, key="value"):
    """The median of the ratios of the same rounds, lowest, highest."""
    pairs = [a[key] / b[key] for a, b in zip(ours, theirs) if b.get(key)]
    return (statistics.median(pairs), min(pairs), max(pairs)) if pairs else None


def columns(plan, samples):
    if plan.name in ("idle", "sse-idle"):
        return [("sockets/conn", lambda s: f"{fold(s, 'sockets')[0]:.1f}"),
                ("before MB", lambda s: f"{fold(s, 'before_kb')[0] / 1024:.1f}"),
                ("held MB", lambda s: f"{fold(s, 'held_kb')[0] / 1024:.1f}"),
                ("5 s after, MB more", lambda s: cell(fold(s, "grown_mb"), 2))]
    if plan.name == "memory":
        return [("MB at 1 MB/s", lambda s: cell(fold(s, "slow_mb"), 2))]
    if plan.name == "h2streams":
        return [("bytes/stream", lambda s: f"{fold(s, 'stream_bytes')[0]:,.0f}")]
    if plan.name == "startup":
        return [("ready line ms", lambda s: cell(fold(s, "ready_ms")))]
    wall = "req/s" if plan.lower_is_better else "MB/s"
    more = [(f"wall {wall}", lambda s: f"{statistics.median(plan.wall(x) for x in s):,.0f}"),
            *((f"{key[:3]} us", lambda s, key=key: f"{fold(s, key)[0]:,.0f}" if fold(s, key) else "-") for key in ("p50_us", "p95_us", "p99_us")
              if any(key in x for taken in samples.values() for x in taken)),
            ("errors", lambda s: str(sum(x["errors"] + x["lost"] for x in s)))]
    if plan.churn:
        more.append(("origin conn/req", lambda s: f"{fold(s, 'origin_per_request')[0]:.2f}"))
    return more


def table(plan, samples):
    print(f"\n{plan.name}: {plan.title}")
    extra = columns(plan, samples)
    rows = [["program", plan.unit, *(title for title, _ in extra)]]
    for name, taken in samples.items():
        if taken:
            rows.append([name, cell(fold(taken)), *(show(taken) for _, show in extra)])
    grid(rows)
    if plan.name in ("idle", "sse-idle", "startup", "memory", "h2streams"):
        return
    spent = [statistics.median(s[key] / plan.units(s) for taken in samples.values() for s in taken)
             for key in ("load_cpu", "origin_cpu")]
    others = [s["others"] for taken in samples.values() for s in taken]
    print("  beside them, CPU us a {}: load generator {:.1f}, origin {:.1f}; other processes took {:.0f} % of the machine, "
          "{:.0f} % at worst".format("request" if plan.lower_is_better else "MB", *(s * 1e6 for s in spent),
                                     100 * statistics.median(others), 100 * max(others)))


def ratios(plan, samples):
    """A row for each of ours, a column for each peer."""
    ours = [n for n, s in samples.items() if s and n.startswith("soth")]
    theirs = [n for n, s in samples.items() if s and not n.startswith("soth")]
    if not ours or not theirs or plan.name == "memory":
        return {}
    found = {a: {b: ratio(samples[a], samples[b]) for b in theirs} for a in ours}
    print(f"\n  ratio to the peer, same rounds ({'lower' if plan.lower_is_better else 'higher'} is better)")
    grid([["", *theirs], *([a, *(cell(found[a][b], 2) for b in theirs)] for a in ours)])
    return found


def goals(plan, samples):
    found = []
    for goal in plan.goals:
        mine = samples.get(goal.row)
        against = samples.get(goal.peer) if goal.peer else mine
        if not mine or not against:
            continue
        got = ratio(mine, against, goal.key) if goal.peer else fold(mine, goal.key)
        met = got[0] <= goal.limit if goal.at_most else got[0] >= goal.limit
        what = f"x {goal.peer}" + (f" ({goal.key})" if goal.key != "value" else "") if goal.peer else {"grown_mb": "MB kept 5 s after", "slow_mb": "MB at 1 MB/s"}.get(
            goal.key, plan.unit)
        text = f"{goal.row}: {got[0]:.2f} {what}, wanted {'at most' if goal.at_most else 'at least'} {goal.limit:g}"
        print(f"  {'met   ' if met else 'MISSED'} {text}")
        found.append({"row": goal.row, "peer": goal.peer, "got": got[0], "limit": goal.limit, "met": met,
                      "text": text})
    return found


def fixed_rate(latency, rate):
    if not any(latency.values()):
        return
    print(f"\n  at a fixed rate of {rate:g} requests/s (latency from the scheduled time; who cannot keep it up is left out)")
    rows = [["program", "p50 us", "p99 us", "p99.9 us", "unsent"]]
    for name, taken in latency.items():
        if taken:
            rows.append([name, *(cell(fold(taken, k), 0) for k in ("p50_us", "p99_us", "p999_us")),
                         str(sum(s["unsent"] for s in taken))])
    grid(rows)


def per_thread(plan, samples):
    """CPU of our threads per unit of work; the busiest is the worker."""
    if not plan.lower_is_better or plan.name in ("idle", "sse-idle", "startup", "memory", "h2streams"):
        return
    rows = []
    for name, taken in samples.items():
        if not taken or not name.startswith("soth"):
            continue
        sums = {}
        for s in taken:
            for thread, seconds in s["threads"]:
                sums.setdefault(thread, []).append(seconds / s["requests"] * 1e6)
        parts = sorted(((sum(v) / len(taken), k) for k, v in sums.items()), reverse=True)
        rows.append([name, ", ".join(f"{k} {v:.2f}" for v, k in parts if v >= 0.01)])
    if rows:
        print("\n  us CPU by thread")
        for name, text in rows:
            print(f"  {name:<14} {text}")


def event_cost(plan, samples):
    """What events add, in the worker and in the whole process."""
    on, off = samples.get("soth"), samples.get("soth-noev")
    if plan.name != "small" or not on or not off:
        return []
    busiest = [[max(t[1] for t in s["threads"]) / s["requests"] for s in taken] for taken in (on, off)]
    found = []
    for what, pairs, limit in (("the worker's", zip(*busiest), 1.10),
                               ("the process's", ((a["value"], b["value"]) for a, b in zip(on, off)), 1.25)):
        got = statistics.median(a / b for a, b in pairs)
        text = f"events cost {100 * (got - 1):+.0f} % of {what} CPU, wanted at most {100 * (limit - 1):.0f} %"
        print(f"  {'met   ' if got <= limit else 'MISSED'} {text}")
        found.append({"row": "soth", "peer": "soth-noev", "got": got, "limit": limit, "met": got <= limit,
                      "text": text})
    return found
