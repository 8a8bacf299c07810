"""Write the tables of `docs/benchmarks.md` anew from the files of results: `python -m benchmarks.tables`."""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks._report import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
SAME = {
    "memorax:gru": ("flax:gru", "memax:gru"),
    "memorax:lstm": ("flax:lstm",),
    "memorax:lru": ("memax:lru",),
    "memorax:ffm": ("memax:ffm",),
    "memorax:linear_attention": ("memax:fart",),
    "memorax:gated_deltanet": ("memax:gdn",),
}
"""Which implementations elsewhere are of the same model; the faster of several counts."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def caption(report: dict[str, Any]) -> str:
    """Say what was measured on."""
    versions = report["versions"]
    return (
        f"Python {versions['python']}, jax {versions['jax']}, flax {versions['flax']}; "
        f"{report['cores']} cores, {report['processor']}."
    )


def agents(head: list[str], rows: list[list[str]], report: dict[str, Any]) -> str:
    """Show the speed of agents; `head` and `rows` say which."""
    head = [*head, "steps/s", "GFLOP/s", "of the product", "trace + compile", "memory"]
    rows = [
        [
            *what,
            f"{row['steps_per_second']:,.0f}",
            f"{row['gflops']:.0f}",
            f"{row['share_of_matmul']:.0%}",
            f"{row['trace_seconds']:.1f} + {row['compile_seconds']:.1f} s",
            f"{row['peak_memory_mib']:.0f} MiB",
        ]
        for what, row in zip(rows, report["results"], strict=True)
    ]
    return f"{table(head, rows)}\n\nMatrix product: {report['matmul_gflops']:.0f} GFLOP/s. {caption(report)}"


def ppo(report: dict[str, Any]) -> str:
    """Show PPO's speed."""
    rows = [[str(row["num_envs"]), row["trunk"], row["cell"]] for row in report["results"]]
    return agents(["environments", "trunk", "cell"], rows, report)


def rnn(report: dict[str, Any]) -> str:
    """Show the kernels' speed."""
    head = ["cell", "batch x time x features", "seeds", "flax", "memorax", "ratio", "memory flax", "memory memorax"]
    rows = [
        [
            row["cell"],
            f"{row['batch']} x {row['time']} x {row['features']}",
            str(row["seeds"] or 1),
            f"{row['flax_ms']:.1f} ms",
            f"{row['memorax_ms']:.1f} ms",
            f"{row['ratio']:.2f}",
            f"{row['flax_temporary_mib']:.0f} MiB",
            f"{row['memorax_temporary_mib']:.0f} MiB",
        ]
        for row in report["results"]
    ]
    return f"{table(head, rows)}\n\n{caption(report)}"


def models(report: dict[str, Any]) -> str:
    """Show the memory models' speed beside other implementations."""
    speed = {(row["model"], row["time"]): row for row in report["throughput"]}
    steps = {(row["model"], row["batch"]): row["microseconds"] for row in report["latency"]}
    names = list(dict.fromkeys(name for name, _ in speed))
    lengths = sorted({length for _, length in speed})
    batches = sorted({batch for _, batch in steps})
    middle = 1024 if 1024 in lengths else lengths[-1]
    head = ["model", *(f"T = {n}" for n in lengths), "to Flax's GRU", "to the same elsewhere"]
    head += [f"memory, T = {lengths[-1]}", "compile", *(f"step, B = {n}" for n in batches)]

    def ratio(name: str, others: tuple[str, ...]) -> str:
        there = [speed[other, middle]["tokens_per_second"] for other in others if (other, middle) in speed]
        here = speed.get((name, middle))
        return f"{here['tokens_per_second'] / max(there):.2f}" if here and there else ""

    rows = []
    for name in names:
        known = {n: speed[name, n] for n in lengths if (name, n) in speed}
        tokens = [f"{known[n]['tokens_per_second'] / 1e3:,.0f} k" if n in known else "-" for n in lengths]
        last = known.get(lengths[-1])
        costs = [
            ratio(name, ("flax:gru",)),
            ratio(name, SAME.get(name, ())),
            f"{last['temporary_mib']:,.0f} MiB" if last else "-",
            f"{known[middle]['compile_seconds']:.1f} s" if middle in known else "-",
        ]
        latencies = (f"{steps[name, n]:,.0f} us" if (name, n) in steps else "-" for n in batches)
        rows.append([f"`{name}`", *tokens, *costs, *latencies])
    return f"{table(head, rows)}\n\n{caption(report)}"


def kernels(report: dict[str, Any]) -> str:
    """Show the chunked kernels' speed."""
    head = ["kernel", "time", "size", "chunks", "to materialized", "to a scan", "memory", "materialized", "compile"]
    rows = []
    for row in report["results"]:
        ratios = [f"{row[way]['ratio']:.1f}" if "ratio" in row[way] else "-" for way in ("materialized", "scan")]
        memory = [f"{row[way]['temporary_mib']:,.0f} MiB" for way in ("chunks", "materialized")]
        measured = [f"{row['chunks']['ms']:.0f} ms", *ratios, *memory, f"{row['compile_seconds']:.1f} s"]
        rows.append([row["kernel"], str(row["time"]), str(row["size"]), *measured])
    return f"{table(head, rows)}\n\nBatch {report['batch']}, {report['heads']} heads. {caption(report)}"


def images(report: dict[str, Any]) -> str:
    """Show the speed of convolutional networks beside Flax's layers."""
    head = ["network", "seeds", "flax", "memorax", "ratio", "memory flax", "memory memorax"]
    rows = []
    for row in report["results"]:
        times = [f"{row[f'{way}_ms']:,.1f} ms" for way in ("flax", "memorax")]
        memory = [f"{row[f'{way}_mib']:.0f} MiB" for way in ("flax", "memorax")]
        rows.append([row["network"], str(row["seeds"]), *times, f"{row['ratio']:.1f}", *memory])
    return f"{table(head, rows)}\n\n{report['batch']} images. {caption(report)}"


def environments(report: dict[str, Any]) -> str:
    """Show the environments' speed, beside POPGym's own where that was measured."""
    measured, originals = report["steps_per_second"], report.get("popgym_steps_per_second", {})
    numbers = list(next(iter(measured.values())))
    rows = [[f"`{name}`", *(f"{rates[n] / 1e6:.2f} M" for n in numbers)] for name, rates in measured.items()]
    head = ["environment", *numbers]
    if originals:
        head += ["popgym", f"{numbers[-1]} / popgym"]
        for row, (name, rates) in zip(rows, measured.items(), strict=True):
            original = originals.get(name)
            beside = (
                ("", "") if original is None else (f"{original / 1e3:.0f} k", f"{rates[numbers[-1]] / original:.0f} x")
            )
            row.extend(beside)
    return f"{table(head, rows)}\n\n{caption(report)}"


def buffers(report: dict[str, Any]) -> str:
    """Show the prioritized replay's speed beside flashbax's."""
    head = ["positions", "", "add", "sample", "set", "all three", "one sample alone", "bytes per step"]
    rows = []
    for row in report["results"]:
        for name in ("flashbax", "memorax"):
            times = [f"{row[f'{name}_{operation}_us']:.1f} us" for operation in ("add", "sample", "set")]
            rows.append(
                [
                    f"{row['positions']:,}" if name == "flashbax" else "",
                    name,
                    *times,
                    "" if name == "flashbax" else f"{row['ratio']:.2f} x as fast",
                    f"{row[f'{name}_call_us']:.0f} us",
                    f"{row[f'{name}_bytes_per_step']:.0f}",
                ]
            )
    return f"{table(head, rows)}\n\nA step alone takes {report['sizes']['item_bytes']} bytes. {caption(report)}"


def replay_agents(report: dict[str, Any]) -> str:
    """Show the speed of agents with a replay."""
    rows = [[row["algorithm"], f"{row['positions']:,}"] for row in report["results"]]
    return agents(["algorithm", "positions"], rows, report)


def library_loops(report: dict[str, Any]) -> str:
    """Show the speed through memorax beside each library's own loop."""
    head = ["environment", "ratio, by the clock", "by CPU time", "range of the rounds"]
    rows = []
    for name, row in sorted(report["ratio"].items()):
        low, high = min(row["rounds_cpu"]), max(row["rounds_cpu"])
        what, _, how = name.partition(",") if "," in name else name.partition(" ")
        label = f"`{what}`" + (f", {how.strip()}" if how else "")
        rows.append([label, f"{row['median_clock']:.2f}", f"{row['median_cpu']:.2f}", f"{low:.2f} to {high:.2f}"])
    return f"{table(head, rows)}\n\n{report['num_envs']} environments. {caption(report)}"


def host_environments(report: dict[str, Any]) -> str:
    """Show the speed in environments in Python, beside other libraries where they were measured."""
    measured = report["steps_per_second"]
    names = list(dict.fromkeys(name for rates in measured.values() for name in rates))
    rows = [[f"`{env}`", *(f"{rates[n]:,}" if n in rates else "" for n in names)] for env, rates in measured.items()]
    sizes = f"{report['num_envs']} environments, rollouts of {report['num_steps']} steps."
    return f"{table(['environment', *names], rows)}\n\n{sizes} {caption(report)}"


def whole_agents(report: dict[str, Any]) -> str:
    """Show whole agents beside those of other libraries."""
    head = ["work", "library", "steps/s", "memorax to it", "of the rounds", "trace + compile", "memory"]
    rows = []
    for work in report["results"]:
        for index, one in enumerate(work["contenders"]):
            share = f", {work['share_of_matmul']:.0%} of the product" if "share_of_matmul" in work else ""
            rows.append(
                [
                    "" if index else work["work"] + share,
                    one["library"],
                    f"{one['steps_per_second']:,.0f}",
                    f"{one['ratio']:.2f}" if index else "",
                    f"{min(one['ratios']):.2f} to {max(one['ratios']):.2f}" if index else "",
                    f"{one['trace_seconds']:.1f} + {one['compile_seconds']:.1f} s",
                    f"{one['memory_mib']:.0f} MiB",
                ]
            )
    return f"{table(head, rows)}\n\n{caption(report)}"


def startup(report: dict[str, Any]) -> str:
    """Show the seconds from the command to the first step and to the end."""
    head = ["job", "first step, cold", "warm", "end, cold", "warm", "tracing and compiling, cold", "warm"]
    rows = []
    for row in report["results"]:
        pairs = [(row["cold"][part], row["warm"][part]) for part in ("first_step", "total", "compile")]
        rows.append([f"`{row['job']}`", *(f"{seconds:.1f} s" for pair in pairs for seconds in pair)])
    return f"{table(head, rows)}\n\n{caption(report)}"


TABLES = {
    "startup": startup,
    "library_loops": library_loops,
    "host_environments": host_environments,
    "agents": whole_agents,
    "ppo": ppo,
    "rnn": rnn,
    "models": models,
    "kernels": kernels,
    "images": images,
    "environments": environments,
    "buffers": buffers,
    "replay_agents": replay_agents,
}
"""By file of results: what shows it."""


def main() -> None:
    """Replace what stands between the markers of every table whose results are there."""
    text = PAGE.read_text()
    for name, show in TABLES.items():
        path = RESULTS / f"{name}-cpu.json"
        if not path.exists():
            continue
        begin, end = f"<!-- {name}-table -->", f"<!-- end of {name}-table -->"
        made = f"{begin}\n\n{show(json.loads(path.read_text()))}\n\n{end}"
        old = re.compile(re.escape(begin) + r"(.*?" + re.escape(end) + ")?", re.DOTALL)
        text = old.sub(lambda _, made=made: made, text, count=1)
    PAGE.write_text(text)
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
