#!/usr/bin/env python3
"""Ours beside the lean PyTorch peer on one GPU, alternating in one run, and training on the CPU beside the GPU. Run by hand.

    python3 tests/bench/gpu_peers.py --presets tiny,s --precisions float32,tf32,bf16 [--no-compile] [--seconds 280]
    python3 tests/bench/gpu_peers.py --train --presets s --minutes 0.5     # updates/s of whole runs: CPU, then GPU

Ours is `workbench bench train --device cuda`, the peer lean_dreamer_torch.py --device cuda (its --help), eager and through torch.compile; both
time full updates, 20 of them from the first launch to the end of the last, on random pictures. In each pair: ours, eager, ours, compiled; the
ratio is peer over ours, of medians. What --seconds does not suffice for is named, not run. Prints a table and, last, one JSON line.
Exit code 3 and one line where torch, CUDA or the device library is missing; 1 where something failed.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
KEYS = {"float32": [], "tf32": ["precision.allow_tf32=true"], "bf16": ["precision.autocast=true"]}


class Skipped(Exception):
    pass


class Clock:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()


def run(command, clock):
    """The JSON that the command prints; None where the time is up."""
    if clock.left() < 1:
        return None
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=clock.left())
    except subprocess.TimeoutExpired:
        return None
    said = (done.stdout + done.stderr).strip()
    if done.returncode == 3 or "no CUDA device" in said or "no libworkbench_cuda.so" in said:
        raise Skipped(said.splitlines()[-1])
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {said.splitlines()[-1] if said else ''}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def commands(a, preset, precision):
    ours = [f"{a.build}/workbench", "bench", "train", "--device", "cuda", "--preset", preset, "--updates", str(a.updates), "--json"]
    peer = [a.python, str(HERE / "lean_dreamer_torch.py"), "--device", "cuda", "--preset", preset, "--precision", precision,
            "--updates", str(a.updates), "--actions", "8"]
    yield "ours", ours + KEYS[precision]
    yield "eager", peer
    if not a.no_compile:
        yield "ours", ours + KEYS[precision]
        yield "compiled", peer + ["--compile"]


def compare(a, clock):
    """Median ms by preset, precision and who; a failing peer does not stop the others."""
    results, failed = [], 0
    for preset in a.presets.split(","):
        for precision in a.precisions.split(","):
            row = {"preset": preset, "precision": precision, "ours": []}
            for who, command in commands(a, preset, precision):
                try:
                    got = run(command, clock)
                except RuntimeError as error:
                    print(error, file=sys.stderr)
                    failed += 1
                    got = None
                if who == "ours":
                    row["ours"] += [got["median_ms"]["full"]] if got else []
                else:
                    row[who] = got["median_ms"]["full"] if got else None
            results.append(row)
            print(line_of(row), flush=True)
    return results, failed


def line_of(row):
    text = f"{row['preset']:5} {row['precision']:8} ours " + (" ".join(f"{ms:.3f}" for ms in row["ours"]) or "not run") + " ms"
    for who in ("eager", "compiled"):
        if who not in row:
            continue
        ms, ours = row[who], row["ours"]
        text += f"; {who} " + (f"{ms:.3f} ms, {ms / min(ours):.2f} times ours" if ms and ours else "not run")
    return text


def train(a, clock):
    """Updates a second of whole runs of exit_lab, gradients, replay, environments and acting included."""
    results = []
    for preset in a.presets.split(","):
        row = {"preset": preset}
        for device in ("cpu", "cuda"):
            keys = ["algo.learning_starts=128", "metric.log_every=100"] if device == "cuda" else ["algo.learning_starts=128"]
            command = [f"{a.build}/workbench", "train", "--headless", "--task", "exit_lab", "--preset", preset, "--device", device,
                       "--minutes", str(a.minutes), "--no-session", "--json", "--seed", "1", *keys, *a.keys]
            got = run(command, clock)
            row[device] = updates_per_second(got) if got else None
        if row["cpu"] and row["cuda"]:
            row["ratio"] = row["cuda"] / row["cpu"]
        results.append(row)
        print(f"train {preset}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items() if isinstance(v, float)) + " (updates/s)", flush=True)
    return results


def updates_per_second(summary):
    return summary["opt_steps"] / summary["wall_s"]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--presets", default="tiny,s")
    ap.add_argument("--precisions", default="float32,tf32,bf16")
    ap.add_argument("--updates", type=int, default=100)
    ap.add_argument("--no-compile", action="store_true")
    ap.add_argument("--train", action="store_true")
    ap.add_argument("--minutes", type=float, default=0.5, help="of each run of --train")
    ap.add_argument("--seconds", type=float, default=280, help="in all")
    ap.add_argument("--python", default="python3", help="a Python that has torch")
    ap.add_argument("--build", default="build")
    ap.add_argument("keys", nargs="*", help="config keys of --train")
    a = ap.parse_args()
    clock, failed = Clock(a.seconds), 0
    try:
        if a.train:
            results = train(a, clock)
        else:
            results, failed = compare(a, clock)
    except Skipped as why:
        print(f"skipped: {str(why).removeprefix('skipped: ').removeprefix('workbench: ')}")
        return 3
    except (RuntimeError, OSError) as why:
        print(f"gpu_peers: {why}", file=sys.stderr)
        return 1
    print(json.dumps({"train" if a.train else "updates": results}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
