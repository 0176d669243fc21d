#!/usr/bin/env python3
"""Ours beside the lean PyTorch peer, alternating in one run, ratio pair by pair. Run by hand.

    python3 tests/bench/peers.py --preset tiny --threads 2 --pairs 5 [--python /usr/bin/python3] [--build build]

The peer (lean_dreamer_torch.py, its --help) runs in a tuned environment: OpenBLAS told the core type, glibc told to keep its
memory. Both report the median and the best of their updates; milliseconds wander with the clock, so judge the ratios. On a busy
machine the medians measure the load, and the peer's barriers suffer most: there the best updates are the fairer pair. Beside them
the most memory that each has had resident, from the kernel's count of its process.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
TUNABLES = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=17179869184:glibc.malloc.trim_threshold=17179869184"


def run(command, env=None):
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as child:
        out = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise subprocess.CalledProcessError(child.returncode, command)
    return {**json.loads(out[out.index("{"):]), "resident_mb": usage.ru_maxrss / 1024}


def peer_environment():
    env = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    env["GLIBC_TUNABLES"] = TUNABLES
    if "avx512f" in pathlib.Path("/proc/cpuinfo").read_text():
        env["OPENBLAS_CORETYPE"] = "SkylakeX"
        env["ATEN_CPU_CAPABILITY"] = "avx2"  # its AVX-512 LayerNorm backward on short rows is slower
    return env


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--preset", default="tiny")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--pairs", type=int, default=5)
    ap.add_argument("--updates", type=int, default=40)
    ap.add_argument("--python", default="/usr/bin/python3", help="a Python that has torch")
    ap.add_argument("--build", default="build")
    a = ap.parse_args()
    size = ["--preset", a.preset, "--threads", str(a.threads)]
    ours_command = [f"{a.build}/workbench", "bench", "train", *size, "--updates", str(a.updates), "--json"]
    peer_command = [a.python, str(HERE / "lean_dreamer_torch.py"), *size, "--updates", str(a.updates), "--actions", "8"]
    parts, kinds = ["full", "world_model", "behaviour"], ["median_ms", "min_ms"]
    ratios = {(part, kind): [] for part in parts for kind in kinds}
    for i in range(a.pairs):
        ours = run(ours_command)
        peer = run(peer_command, peer_environment())
        for part in parts:
            line = f"pair {i + 1}: {part:12}"
            for kind in kinds:
                ratios[part, kind].append(peer[kind][part] / ours[kind][part])
                line += f" {kind[:-3]:6} ours {ours[kind][part]:8.2f} ms  peer {peer[kind][part]:8.2f} ms  ratio {ratios[part, kind][-1]:.2f} "
            print(line, flush=True)
        print(f"pair {i + 1}: resident     ours {ours['resident_mb']:.0f} MB  peer {peer['resident_mb']:.0f} MB  "
              f"ours / peer {ours['resident_mb'] / peer['resident_mb']:.2f}", flush=True)
    print(f"{peer['peer']}, preset {a.preset}, {a.threads} threads, {a.pairs} pairs; median ratio over the pairs:")
    for part in parts:
        print(f"{part:12} of medians {statistics.median(ratios[part, 'median_ms']):.2f}, of bests {statistics.median(ratios[part, 'min_ms']):.2f}")


if __name__ == "__main__":
    main()
