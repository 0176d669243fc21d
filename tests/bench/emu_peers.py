"""Speed and pictures of the emulator beside PyBoy (PyPI), by hand: python3 tests/bench/emu_peers.py [--screens] ROM...

Speed: 24 frames a step, a random button down for the first 8, only the last frame drawn; both emulators in turn, `--pairs` times,
best of each. Ours is `build/workbench bench emu --draw last`, run as a process of its own; PyBoy runs here, sound off, window "null".
The protocol is that of docs/conformance.md, which records results.

--screens instead compares pictures: the same random buttons for `--frames` frames in both, every 60th picture; ours comes from
`build/tests/emu/screens ROM FRAMES SEED` (make screens). Prints, per ROM, how many of the pictures are equal and where the first differs.

Needs PyBoy 2 in the Python that runs this (a virtual environment outside the tree is fine).
"""
import argparse, hashlib, json, math, os, subprocess, time

KEYS = ["a", "b", "start", "up", "down", "left", "right"]
BITS = [0x10, 0x20, 0x80, 0x04, 0x08, 0x02, 0x01]
STEP, RELEASE, WARM, STEPS, WINDOW = 24, 8, 20, 50, 4

def lcg(seed):
    while True:
        seed = (seed * 1664525 + 1013904223) & 0xffffffff
        yield (seed >> 16) % 7

def open_pyboy(path):
    import pyboy
    return pyboy.PyBoy(path, window="null", sound_emulated=False, log_level="ERROR", no_input=True, cgb=False)

def pyboy_step(pb, key, draw):
    pb.button_press(KEYS[key])
    for frame in range(STEP):
        if frame == RELEASE: pb.button_release(KEYS[key])
        pb.tick(1, draw and frame == STEP - 1, False)

def pyboy_speed(path):
    pb, keys, best = open_pyboy(path), lcg(1), 0
    pb.set_emulation_speed(0)
    for _ in range(WARM): pyboy_step(pb, next(keys), True)
    for _ in range(3):
        start = time.process_time()
        for _ in range(STEPS): pyboy_step(pb, next(keys), True)
        best = max(best, STEPS * STEP / (time.process_time() - start))
    pb.stop(save=False)
    return best

def our_speed(path, workbench):
    out = subprocess.run([workbench, "bench", "emu", "--rom", path, "--draw", "last", "--json"], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)["frames_per_second"]

def geomean(values): return math.exp(sum(map(math.log, values)) / len(values))

def speeds(args):
    ours, theirs = {}, {}
    for pair in range(args.pairs):
        for rom in args.roms:
            ours[rom] = max(ours.get(rom, 0), our_speed(rom, args.workbench))
            theirs[rom] = max(theirs.get(rom, 0), pyboy_speed(rom))
            print(f"pair {pair + 1} {os.path.basename(rom):24} workbench {ours[rom]:10.0f}  PyBoy {theirs[rom]:10.0f}  frames/s", flush=True)
    print(json.dumps({"pairs": args.pairs, "workbench": {os.path.basename(r): round(v) for r, v in ours.items()},
                      "pyboy": {os.path.basename(r): round(v) for r, v in theirs.items()},
                      "geomean_workbench": round(geomean(ours.values())), "geomean_pyboy": round(geomean(theirs.values())),
                      "load": os.getloadavg()}))

def pyboy_screens(path, frames, seed):
    pb, keys, shots, key = open_pyboy(path), lcg(seed), [], 0
    pb.set_emulation_speed(0)
    for _ in range(600):  # its boot ROM first: ours begins where that ends
        if pb.register_file.PC >= 0x100: break
        pb.tick(1, False, False)
    for frame in range(frames):
        if frame % STEP == 0:
            key = next(keys)
            pb.button_press(KEYS[key])
        if frame % STEP == RELEASE: pb.button_release(KEYS[key])
        shot = frame % 60 == 59
        pb.tick(1, shot, False)
        if shot:
            grey = pb.screen.ndarray[:, :, 0]
            shades = ((255 - grey.astype(int) + 42) // 85).astype("uint8")
            shots.append(hashlib.sha256(shades.tobytes()).hexdigest())
    pb.stop(save=False)
    return shots

def screens(args):
    same = 0
    for rom in args.roms:
        try: theirs = pyboy_screens(rom, args.frames, args.seed)
        except Exception as problem:
            print(f"PyBoy refuses  {os.path.basename(rom)}: {problem}")
            continue
        run = subprocess.run([args.screens_program, rom, str(args.frames), str(args.seed)], capture_output=True, text=True)
        ours = run.stdout.split()
        # the boot ROMs end at different points of a frame: a picture counts when ours had it within WINDOW frames
        equal = [i for i, shot in enumerate(theirs) if shot in ours[max(0, i * 60 + 59 - WINDOW): i * 60 + 60 + WINDOW]]
        first = next((i for i in range(len(theirs)) if i not in equal), None)
        same += first is None
        print(f"{len(equal):3} of {len(theirs)} equal  first different {'-' if first is None else (first + 1) * 60:>5}  {os.path.basename(rom)}"
              + (f"  ({run.stderr.strip()})" if run.returncode else ""), flush=True)
    print(f"{same} of {len(args.roms)} ROMs: all pictures equal")

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--workbench", default="build/workbench")
    p.add_argument("--screens-program", default="build/tests/emu/screens")
    p.add_argument("--pairs", type=int, default=3)
    p.add_argument("--screens", action="store_true")
    p.add_argument("--frames", type=int, default=1200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("roms", nargs="+")
    args = p.parse_args()
    (screens if args.screens else speeds)(args)

if __name__ == "__main__": main()
