#!/usr/bin/env python3
"""Makes the golden fixtures of tests/golden/dreamer_v3 with sheeprl's own functions. Run by hand, never by the product.

    bridge.py --sheeprl DIR [--dreamerv3 DIR] [--out DIR] [--subset F01,F05,...] [--check]

README.md beside this file is the manual of the fixtures.
"""

import argparse
import json
import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[
        _name
    ] = "1"  # before torch is imported: sums must not depend on the number of threads

# OpenBLAS rounds otherwise than the plain BLAS: take the plain one wherever Debian's libblas3 has it
PLAIN_BLAS = Path("/usr/lib/x86_64-linux-gnu/blas")
if PLAIN_BLAS.is_dir() and os.environ.get("LD_LIBRARY_PATH") != str(PLAIN_BLAS):
    os.environ["LD_LIBRARY_PATH"] = str(PLAIN_BLAS)
    os.execv(sys.executable, [sys.executable, *sys.argv])

try:
    import numpy as np
    import torch
except ImportError as error:
    sys.exit(
        f"bridge: {error}; run it with a python3 that has torch and numpy, as in /usr/bin/python3 bridge.py"
    )

sys.dont_write_bytecode = True  # neither here nor in sheeprl's tree
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from bridge_parts import (
    actor,
    behaviour,
    data,
    layers,
    losses,
    official,
    rssm,
    schedule,
    steps,
)  # noqa: E402, F401  (the imports register the fixtures)
from bridge_parts.container import OFFICIAL, REGISTRY, Fixture, read_safetensors  # noqa: E402
from bridge_parts.reference import COMMIT, REPOSITORY, BridgeError, Reference  # noqa: E402


def make(reference, code, name, about, maker):
    """One fixture, made twice: differing bytes are an error."""
    made = []
    for _ in range(2):
        fx = Fixture(code, name, about)
        torch.manual_seed(int("".join(c for c in code if c.isdigit())))
        maker(reference, fx)
        made.append((fx, fx.to_bytes(reference.commit)))
    if made[0][1] != made[1][1]:
        raise BridgeError(f"{code}: two runs gave different bytes")
    for key, tensor in made[0][0].tensors.items():
        if tensor["array"].dtype == np.float32 and not np.isfinite(tensor["array"]).all():
            raise BridgeError(f"{code}: tensor {key} is not finite")
    return made[0]


def manifest_text(entries):
    """One line per tensor, so that a change is readable in a diff."""
    head = {
        "format": 1,
        "reference": REPOSITORY,
        "reference_commit": COMMIT,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    lines = (
        ["{"]
        + [f" {json.dumps(k)}: {json.dumps(v)}," for k, v in head.items()]
        + [' "fixtures": [']
    )
    for i, entry in enumerate(entries):
        lines.append("  {")
        lines += [
            f"   {json.dumps(k)}: {json.dumps(v)}," for k, v in entry.items() if k != "tensors"
        ]
        lines.append('   "tensors": [')
        rows = [json.dumps(tensor) for tensor in entry["tensors"]]
        lines += ["    " + row + ("," if j + 1 < len(rows) else "") for j, row in enumerate(rows)]
        lines += ["   ]", "  }" + ("," if i + 1 < len(entries) else "")]
    return "\n".join(lines + [" ]", "}"]) + "\n"


def read_manifest(out):
    path = out / "manifest.json"
    return {e["code"]: e for e in json.loads(path.read_text())["fixtures"]} if path.exists() else {}


def report_difference(code, old, new):
    """What --check says about a file whose bytes differ: the worst tensors."""
    was, now = read_safetensors(old), read_safetensors(new)
    if {k: (v.dtype, v.shape) for k, v in was.items()} != {
        k: (v.dtype, v.shape) for k, v in now.items()
    }:
        print(f"{code}: tensors, types or shapes differ")
        return
    for key in was:
        difference = np.abs(was[key].astype(np.float64) - now[key].astype(np.float64)).max(
            initial=0
        )
        if difference > 0:
            print(
                f"{code}: {key} differs by up to {difference:.3g} (largest value {np.abs(was[key]).max():.3g})"
            )


README_MARKS = ("<!-- tables: written by bridge.py -->", "<!-- end of tables -->")


GROUPS = {  # one row in the README for all tensors with such a name
    "step1.grad.": "same names and shapes as param.*",
    "change.": "same names and shapes as param.*",
    "grad.": "same names and shapes as param.*",
    "after.": "same names and shapes as param.*",
    "fresh.": "one per parameter, and a .range for each that is random",
}


def tolerance_text(tensor):
    if tensor["role"] != "output":
        return tensor["role"]
    if "l2" in tensor:
        return f"output, l2 {tensor['l2']:g}"
    if tensor["abs"] == 0 and tensor["rel"] == 0:
        return "output, exact"
    return f"output, {tensor['abs']:g} + {tensor['rel']:g} rel"


def readme_tables(entries):
    """The tensor tables of README.md, out of the manifest."""
    lines = []
    for entry in entries:
        lines += [
            f"### {entry['code']} `{entry['file']}` ({entry['bytes']} bytes)",
            "",
            entry["about"],
            "",
        ]
        lines += ["| tensor | type, shape | role | meaning |", "|---|---|---|---|"]
        groups = {}
        for t in entry["tensors"]:
            prefix = next((p for p in GROUPS if t["name"].startswith(p)), None)
            groups.setdefault(prefix, []).append(t)
            if prefix:
                if len(groups[prefix]) == 1:
                    n = sum(other["name"].startswith(prefix) for other in entry["tensors"])
                    lines.append(
                        f"| {prefix}* ({n} tensors) | F32 | {tolerance_text(t)} | {GROUPS[prefix]}: {t['doc']} |"
                    )
                continue
            shape = "×".join(str(n) for n in t["shape"]) or "scalar"
            doc = t["doc"].replace("|", "\\|")
            lines.append(f"| {t['name']} | {t['dtype']} {shape} | {tolerance_text(t)} | {doc} |")
        lines.append("")
    return "\n".join(lines)


def write_readme(entries):
    path = HERE / "README.md"
    before, rest = path.read_text().split(README_MARKS[0])
    after = rest.split(README_MARKS[1])[1]
    path.write_text(
        before + README_MARKS[0] + "\n\n" + readme_tables(entries) + README_MARKS[1] + after
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sheeprl", type=Path, required=True, help=f"sheeprl's source tree at commit {COMMIT[:7]}"
    )
    parser.add_argument(
        "--dreamerv3",
        type=Path,
        help=f"the official source tree at commit {official.COMMIT[:7]}; without it its fixtures are left as they are",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE / "dreamer_v3",
        help="where the fixtures are (default: %(default)s)",
    )
    parser.add_argument("--subset", help="only these, as in F01,F05")
    parser.add_argument(
        "--check",
        action="store_true",
        help="make them again and compare with the files, write nothing",
    )
    args = parser.parse_args()
    registry = REGISTRY + (OFFICIAL if args.dreamerv3 else [])
    left = {code for code, *_ in OFFICIAL} if not args.dreamerv3 else set()
    known = {code for code, *_ in registry}
    wanted = set(args.subset.split(",")) if args.subset else known
    if wanted - known:
        parser.error(
            f"--subset: unknown {', '.join(sorted(wanted - known))}; known: {', '.join(sorted(known))}"
        )
    reference = Reference(args.sheeprl.resolve())
    by_code = {code: reference for code, *_ in REGISTRY}
    if args.dreamerv3:
        other = official.Official(args.dreamerv3.resolve())
        by_code.update({code: other for code, *_ in OFFICIAL})
    manifest = read_manifest(args.out)
    if not (args.subset or args.check):
        manifest = {code: entry for code, entry in manifest.items() if code in left}
    different = 0
    for code, name, about, maker in sorted(registry, key=lambda row: row[0]):
        if code not in wanted:
            continue
        source = by_code[code]
        fx, data = make(source, code, name, about, maker)
        path = args.out / fx.file
        entry = fx.manifest_entry(data)
        if source is not reference:
            tensors = entry.pop("tensors")
            entry.update(reference=source.repository, reference_commit=source.commit)
            entry.update(**source.versions, tensors=tensors)
        if args.check:
            old = path.read_bytes() if path.exists() else b""
            same = old == data and manifest.get(code) == entry
            different += not same
            print(f"{code} {fx.file}: {'identical' if same else 'DIFFERENT'}")
            if old and old != data:
                report_difference(code, old, data)
            continue
        args.out.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        manifest[code] = entry
        print(f"{code} {fx.file}: {len(data)} bytes, {len(fx.tensors)} tensors")
    if args.check:
        return 1 if different else 0
    entries = [manifest[code] for code in sorted(manifest)]
    (args.out / "manifest.json").write_text(manifest_text(entries))
    if args.out.resolve() == HERE / "dreamer_v3":
        write_readme(entries)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BridgeError as error:
        print(f"bridge: {error}", file=sys.stderr)
        sys.exit(1)
