#!/usr/bin/env python3
"""Our PPO beside the same PPO in PyTorch with PyBoy workers, on the same cores, alternating in one run. Run by hand.

    python3 tests/bench/ppo_pyboy.py --pairs 5 --pyboy VENV/bin/python [--python /usr/bin/python3] [--cores 0,1] [--build build]

Prints env steps/s pair by pair and where each side's time goes: env (emulators, rewards, resets), policy (choosing actions), update.
Both play exit_lab: 24 frames a step, the button down for the first 8, only the last frame drawn, four stacked 72x80 pictures, the
same rewards, ends and resets, values of last pictures where a time limit ended an episode, the same network, minibatches, passes,
losses, clipping and Adam; --set passes a config key to ours, the peer has its --envs, --steps, --epochs and --minibatches.
Before it is timed a PyBoy worker plays the task's recorded solution and must reach the goal, so that it is the same game.

The peer is the fastest we could write: workers are processes that step their share of the environments and exchange actions and frames
through shared memory; one forward pass for all environments on all the cores; oneDNN convolutions; foreach Adam; no allocation of
pictures. It is first tried with every number of --workers, memory format and OpenMP waiting policy, a few rollouts each, and
the pairs are run with the best of them. Its start (processes, boot ROMs) and its first update are not timed; ours are timed from
the first step. It needs two Pythons, which may be one: --python with torch (Debian's python3-torch, or PyPI's) and --pyboy with PyBoy 2 and NumPy.
"""
import argparse
import json
import mmap
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from peers import peer_environment, run

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent.parent
TASK = TREE / "assets" / "tasks" / "exit_lab"
KEYS = ["a", "b", "start", "up", "down", "left", "right"]  # codec v0
HEIGHT, WIDTH, STACK, FRAMES, RELEASE = 72, 80, 4, 24, 8
PIXELS = HEIGHT * WIDTH
STEP, CHECK = b"s", b"c"  # what a worker is asked for


def shared_fields(n):
    """Name, dtype and elements of what lies in the shared memory, each part on a boundary of 64 bytes."""
    return [("actions", "uint8", n), ("dones", "uint8", n), ("truncs", "uint8", n), ("rewards", "float32", n),
            ("frames", "uint8", n * PIXELS),   # after a reset the first one of the next episode
            ("finals", "uint8", n * PIXELS)]   # of an episode that a time limit ended


def open_shared(path, n, view):
    """{name: view(map, dtype, elements, offset)} of the file at path."""
    sizes = {"uint8": 1, "float32": 4}
    fields, at, offsets = shared_fields(n), 0, []
    for _, dtype, count in fields:
        offsets.append(at)
        at += (sizes[dtype] * count + 63) // 64 * 64
    with open(path, "r+b") as f:
        f.truncate(at)
        memory = mmap.mmap(f.fileno(), at)
    return {name: view(memory, dtype, count, offset) for (name, dtype, count), offset in zip(fields, offsets)}


# ---- worker: some of the environments, in a process of its own


class Game:
    """One exit_lab with the rules of its stage file."""

    def __init__(self, rules, goal, shade):
        import io
        import pyboy
        self.rules, self.goal, self.shade = rules, goal, shade
        self.pb = pyboy.PyBoy(str(TREE / "assets" / "roms" / "lab.gb"), window="null", sound_emulated=False, log_level="ERROR",
                              no_input=True, cgb=False)
        self.pb.set_emulation_speed(0)
        while self.pb.register_file.PC < 0x100:  # its boot ROM
            self.pb.tick(1, False, False)
        for word in (TASK / "start.txt").read_text().split():
            self.hold(word.lower())
        self.start = io.BytesIO()
        self.pb.save_state(self.start)
        self.start_frame = self.picture().copy()
        self.start_distance = self.distance(self.start_frame)
        self.reset()

    def hold(self, key):
        if key == "noop":
            self.pb.tick(FRAMES, True, False)
            return
        self.pb.button_press(key)
        self.pb.tick(RELEASE, False, False)
        self.pb.button_release(key)
        self.pb.tick(FRAMES - RELEASE, True, False)

    def picture(self):
        return self.shade[self.pb.screen.ndarray[::2, ::2, 0]]

    def distance(self, frame):
        import numpy
        return int(numpy.abs(frame - self.goal).sum()) / (3 * PIXELS)

    def reset(self):
        self.start.seek(0)
        self.pb.load_state(self.start)
        self.before, self.consecutive, self.n_steps = self.start_distance, 0, 0

    def step(self, action):
        """(frame, reward, done, truncated)"""
        r = self.rules
        self.hold(KEYS[action])
        frame = self.picture()
        distance = self.distance(frame)
        self.n_steps += 1
        self.consecutive = self.consecutive + 1 if distance < r["tau"] else 0
        done, truncated = self.consecutive >= r["k_consecutive"], self.n_steps >= r["max_steps"]
        reward = r["step_cost"] + r["alpha"] * (self.before - distance) + (r["goal_bonus"] if done else 0)
        self.before = distance
        return frame, reward, done, truncated


def check_game(game):
    """Steps after which the recorded solution is done; 0: it never is."""
    for i, word in enumerate((TASK / "solution_v0.txt").read_text().split()):
        if game.step(KEYS.index(word.lower()))[2]:
            game.reset()
            return i + 1
    return 0


def worker(a):
    import numpy
    rules = json.loads((TASK / "stage_v0.json").read_text())["stages"][0]
    goal = numpy.load(TASK / "goal_v0" / "goal_template.npy").astype(numpy.int8)
    shade = ((255 - numpy.arange(256) + 42) // 85).astype(numpy.int8)  # PyBoy's greys
    shared = open_shared(a.shared, a.envs, lambda m, dtype, n, at: numpy.frombuffer(m, dtype, n, at))
    frames, finals = (shared[k].reshape(a.envs, HEIGHT, WIDTH) for k in ("frames", "finals"))
    first, last = a.part * a.envs // a.workers, (a.part + 1) * a.envs // a.workers
    games = {i: Game(rules, goal, shade) for i in range(first, last)}
    for i, game in games.items():
        frames[i] = game.start_frame
    os.write(1, b"r")
    while (order := os.read(0, 1)):
        if order == CHECK:
            os.write(1, bytes([check_game(games[first])]))
            continue
        for i, game in games.items():
            frame, shared["rewards"][i], done, truncated = game.step(shared["actions"][i])
            shared["dones"][i], shared["truncs"][i] = done, truncated
            if done or truncated:
                finals[i] = frame
                frame = game.start_frame
                game.reset()
            frames[i] = frame
        os.write(1, b"d")


# ---- the peer's learner


class Workers:
    def __init__(self, a, view):
        self.file = tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="ppo_pyboy")
        self.shared = open_shared(self.file.name, a.envs, view)
        size = ["--envs", str(a.envs), "--workers", str(a.workers), "--shared", self.file.name]
        self.processes = [subprocess.Popen([a.pyboy, __file__, "--worker", "--part", str(i), *size], stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE) for i in range(a.workers)]
        for p in self.processes:
            if os.read(p.stdout.fileno(), 1) != b"r":
                sys.exit(f"a PyBoy worker did not start; see above, and give --pyboy (now {a.pyboy})")

    def ask(self, order, processes=None):
        for p in processes or self.processes:
            os.write(p.stdin.fileno(), order)
        return [os.read(p.stdout.fileno(), 1) for p in processes or self.processes]

    def close(self):
        for p in self.processes:
            p.stdin.close()
            p.wait()


def build_network(torch, memory_format):
    from torch import nn
    import torch.nn.functional as F

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList([nn.Conv2d(STACK, 32, 8, 4), nn.Conv2d(32, 64, 4, 2), nn.Conv2d(64, 64, 3, 1)])
            self.fc, self.heads = nn.Linear(1920, 512), nn.Linear(512, len(KEYS) + 1)  # policy and value: one product
            for layer, gain in [(c, 2 ** 0.5) for c in self.convs] + [(self.fc, 2 ** 0.5)]:
                nn.init.orthogonal_(layer.weight, gain)
                nn.init.zeros_(layer.bias)
            nn.init.orthogonal_(self.heads.weight[:-1], 0.01)
            nn.init.orthogonal_(self.heads.weight[-1:], 1)
            nn.init.zeros_(self.heads.bias)

        def forward(self, stacks):
            x = stacks.float().contiguous(memory_format=memory_format)
            x = F.relu(F.conv2d(x, self.convs[0].weight * (1 / 3), self.convs[0].bias, 4), inplace=True)
            for c in list(self.convs)[1:]:
                x = F.relu(c(x), inplace=True)
            out = self.heads(F.relu(self.fc(x.flatten(1)), inplace=True))
            return F.log_softmax(out[:, :-1], 1), out[:, -1]

    return Network().to(memory_format=memory_format)


class Learner:
    """Rollouts of a.steps in all environments, and the update on each: gamma .99, lambda .95, clip .1 and the other defaults of ours."""

    def __init__(self, a, torch):
        self.a, self.torch = a, torch
        dtypes = {"uint8": torch.uint8, "float32": torch.float32}
        self.workers = Workers(a, lambda m, dtype, n, at: torch.frombuffer(m, dtype=dtypes[dtype], count=n, offset=at))
        self.shared = self.workers.shared
        self.frames, self.finals = (self.shared[k].view(a.envs, HEIGHT, WIDTH) for k in ("frames", "finals"))
        layout = torch.channels_last if a.format == "channels_last" else torch.contiguous_format
        self.net = build_network(torch, layout)
        self.adam = torch.optim.Adam(self.net.parameters(), lr=2.5e-4, eps=1e-5, foreach=True)
        cells = (a.steps, a.envs)
        self.stacks = torch.empty(a.steps + 1, a.envs, STACK, HEIGHT, WIDTH, dtype=torch.uint8)
        self.stacks[0] = self.frames[:, None]
        self.actions = torch.empty(cells, dtype=torch.int64)
        self.ends, self.dones = (torch.empty(cells, dtype=torch.bool) for _ in range(2))
        self.log_probs, self.values, self.rewards, self.final_values = (torch.zeros(cells) for _ in range(4))
        self.seconds = {"env": 0.0, "policy": 0.0, "update": 0.0}

    def play(self):
        torch, s = self.torch, self.shared
        for t in range(self.a.steps):
            t0 = time.perf_counter()
            log_probs, self.values[t] = self.net(self.stacks[t])
            self.actions[t] = torch.multinomial(log_probs.exp(), 1)[:, 0]
            self.log_probs[t] = log_probs.gather(1, self.actions[t][:, None])[:, 0]
            s["actions"].copy_(self.actions[t])
            t1 = time.perf_counter()
            self.workers.ask(STEP)
            ended = (s["dones"] | s["truncs"]).bool()
            self.rewards[t], self.ends[t], self.dones[t] = s["rewards"], ended, s["dones"].bool()
            self.stacks[t + 1, :, :-1] = self.stacks[t, :, 1:]
            self.stacks[t + 1, :, -1] = self.frames
            t2 = time.perf_counter()
            if ended.any():
                cut = (ended & ~self.dones[t]).nonzero()[:, 0]
                if len(cut):  # the value of the last picture before the reset
                    last = torch.cat([self.stacks[t, cut, 1:], self.finals[cut][:, None]], 1)
                    self.final_values[t, cut] = self.net(last)[1]
                self.stacks[t + 1, ended] = self.frames[ended][:, None]
            self.seconds["env"] += t2 - t1
            self.seconds["policy"] += t1 - t0 + time.perf_counter() - t2

    def advantages(self):
        gamma, decay = 0.99, 0.99 * 0.95
        after, running, out = self.net(self.stacks[-1])[1], 0, self.torch.empty_like(self.values)
        for t in reversed(range(self.a.steps)):
            going = (~self.ends[t]).float()
            cut = (self.ends[t] & ~self.dones[t]).float()
            delta = self.rewards[t] + gamma * (going * after + cut * self.final_values[t]) - self.values[t]
            out[t] = running = delta + decay * going * running
            after = self.values[t]
        return out

    def learn(self):
        torch, n = self.torch, self.a.envs * self.a.steps
        with torch.no_grad():
            advantages = self.advantages()
            returns = (advantages + self.values).flatten()
            advantages = ((advantages - advantages.mean()) / (advantages.std(unbiased=False) + 1e-8)).flatten()
        stacks = self.stacks[:-1].flatten(0, 1)
        actions, old = self.actions.flatten(), self.log_probs.flatten()
        weights = list(self.net.parameters())
        for _ in range(self.a.epochs):
            for rows in torch.randperm(n).split(n // self.a.minibatches):
                log_probs, values = self.net(stacks.index_select(0, rows))
                ratio = (log_probs.gather(1, actions[rows][:, None])[:, 0] - old[rows]).exp()
                gain = advantages[rows]
                policy = -torch.min(ratio * gain, ratio.clamp(0.9, 1.1) * gain).mean()
                entropy = -(log_probs.exp() * log_probs).sum(1).mean()
                loss = policy + 0.5 * (returns[rows] - values).square().mean() - 0.01 * entropy
                self.adam.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, 0.5)
                self.adam.step()
        self.stacks[0] = self.stacks[-1]
        return float(loss)

    def update(self):
        with self.torch.no_grad():
            self.play()
        start = time.perf_counter()
        loss = self.learn()
        self.seconds["update"] += time.perf_counter() - start
        return loss


def peer(a):
    import torch
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    learner = Learner(a, torch)
    solved = learner.workers.ask(CHECK, learner.workers.processes[:1])[0][0]
    if not solved:
        sys.exit("the recorded solution does not reach the goal in PyBoy: it is not the same game")
    learner.update()
    learner.seconds = dict.fromkeys(learner.seconds, 0.0)
    start = time.perf_counter()
    losses = [learner.update() for _ in range(a.updates)]
    wall = time.perf_counter() - start
    learner.workers.close()
    steps = a.updates * a.envs * a.steps
    print(json.dumps({"steps_per_s": steps / wall, "wall_s": wall, "last_loss": losses[-1], "solved_after": solved,
                      "share": {k: v / wall for k, v in learner.seconds.items()}, "torch": torch.__version__}))


# ---- the driver


def ours(a):
    command = ["taskset", "-c", a.cores, f"{a.build}/workbench", "train", "--algo", "ppo", "--headless", "--task", "exit_lab", "--threads",
               str(a.threads), "--no-session", "--json", "--updates", str(a.our_updates), f"env.num_envs={a.envs}",
               f"algo.rollout_steps={a.steps}", f"algo.update_epochs={a.epochs}", f"algo.minibatches={a.minibatches}", *a.set]
    r = run(command)
    acting = {k: r[f"{k}_ms"] * a.steps * r["opt_steps"] / 1e3 / r["wall_s"] for k in ("env", "policy")}
    return r["env_steps"] / r["wall_s"], {**acting, "update": r["update_ms"] * r["opt_steps"] / 1e3 / r["wall_s"]}


def theirs(a, variant, updates):
    workers, layout, wait = variant
    env = peer_environment()
    if wait != "default":
        env["OMP_WAIT_POLICY"] = wait  # threads that spin between two products take the emulators' cores
    size = [f"--{k}={getattr(a, k)}" for k in ("envs", "steps", "epochs", "minibatches", "threads", "pyboy")]
    r = run(["taskset", "-c", a.cores, a.python, __file__, "--peer", *size, f"--workers={workers}", f"--format={layout}",
             f"--updates={updates}"], env)
    return r["steps_per_s"], r["share"]


def shares(share):
    return ", ".join(f"{k} {100 * v:.0f} %" for k, v in share.items())


def drive(a):
    print(f"load {os.getloadavg()[0]:.1f} before; {a.envs} environments x {a.steps} steps, {a.epochs} passes of {a.minibatches} minibatches,"
          f" cores {a.cores}, {a.threads} threads", flush=True)
    tried = {}
    for variant in [(w, f, p) for w in a.try_workers for f in a.try_formats for p in a.try_waits]:
        tried[variant], share = theirs(a, variant, 1)
        print(f"peer with {variant[0]} workers, {variant[1]}, OpenMP waits {variant[2]}: {tried[variant]:.0f} steps/s ({shares(share)})", flush=True)
    best = max(tried, key=tried.get)
    ratios, both = [], []
    for i in range(a.pairs):
        our_speed, our_share = ours(a)
        peer_speed, peer_share = theirs(a, best, a.updates)
        ratios.append(our_speed / peer_speed)
        both.append((our_speed, peer_speed))
        print(f"pair {i + 1}: ours {our_speed:7.0f} steps/s ({shares(our_share)})  peer {peer_speed:7.0f} steps/s ({shares(peer_share)})"
              f"  ratio {ratios[-1]:.2f}", flush=True)
    print(f"peer with {best[0]} workers, {best[1]}, OpenMP waits {best[2]}; {a.pairs} pairs; medians: ours {statistics.median(x for x, _ in both):.0f}, "
          f"peer {statistics.median(y for _, y in both):.0f} steps/s, ratio {statistics.median(ratios):.2f} (bar: 3); load {os.getloadavg()[0]:.1f} after")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")
    ap.add_argument("--pairs", type=int, default=5)
    ap.add_argument("--envs", type=int, default=32)
    ap.add_argument("--steps", type=int, default=64, help="of a rollout")
    ap.add_argument("--epochs", type=int, default=2)
    ap.add_argument("--minibatches", type=int, default=4)
    ap.add_argument("--updates", type=int, default=3, help="the peer's, timed, in a pair")
    ap.add_argument("--our-updates", type=int, default=12)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--cores", default="0,1", help="both sides are pinned to them")
    ap.add_argument("--try-workers", type=lambda t: [int(w) for w in words(t)], default=[1, 2, 4])
    ap.add_argument("--try-formats", type=words, default=["channels_last", "contiguous"])
    ap.add_argument("--try-waits", type=words, default=["default", "passive"])
    ap.add_argument("--python", default="/usr/bin/python3", help="a Python that has torch")
    ap.add_argument("--pyboy", default=sys.executable, help="a Python that has PyBoy and NumPy")
    ap.add_argument("--build", default="build")
    ap.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a config key for ours")
    inner = ap.add_argument_group("for the processes that this script starts")
    inner.add_argument("--peer", action="store_true")
    inner.add_argument("--worker", action="store_true")
    inner.add_argument("--workers", type=int, default=2)
    inner.add_argument("--format", default="channels_last")
    inner.add_argument("--part", type=int)
    inner.add_argument("--shared")
    a = ap.parse_args()
    (worker if a.worker else peer if a.peer else drive)(a)


if __name__ == "__main__":
    main()
