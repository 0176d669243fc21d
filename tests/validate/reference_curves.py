#!/usr/bin/env python3
"""Learning curve of sheeprl's own world model on the frames of a scene, to lay beside ours. Run by hand.

    python3 tests/validate/reference_curves.py --sheeprl DIR --frames scroll.bin --updates 1500 --out scroll.jsonl

frames: packed2 frames (1440 bytes each) of one episode. sheeprl's train() (world model, and the smallest possible behaviour
step, which does not touch the world model) runs with the tiny preset, batches of 8 x 16 from episodes that repeat.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "golden"))
from bridge_parts import tiny  # noqa: E402
from bridge_parts.losses import Aggregator  # noqa: E402
from bridge_parts.reference import Reference  # noqa: E402

T, B, ACTIONS = 16, 8, 8
SIZES = {"S": 16, "D": 16, "H": 128, "U": 128, "hidden": 128, "n": 2, "m": 8}


def unpack(frames):
    shades = np.stack([(frames >> (2 * k)) & 3 for k in range(4)], axis=-1)
    return shades.reshape(-1, 1, 72, 80)


def batch(rng, shades):
    n = len(shades)
    start = rng.integers(0, n * 4 - T, size=B)
    index = start[None, :] + np.arange(T)[:, None]
    first = (index % n == 0).astype(np.float32)[..., None]
    actions = np.zeros((T, B, ACTIONS), np.float32)
    actions[..., 0] = 1
    actions[(index + 1) % n == 0] = 0
    zero = np.zeros((T, B, 1), np.float32)
    data = {"actions": actions, "rewards": zero, "terminated": zero, "truncated": zero, "is_first": first}
    data = {k: torch.from_numpy(v.copy()) for k, v in data.items()}
    data["rgb"] = torch.from_numpy(85.0 * shades[index % n]).float()
    return data


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--sheeprl", type=pathlib.Path, required=True)
    ap.add_argument("--frames", type=pathlib.Path, required=True)
    ap.add_argument("--updates", type=int, default=1500)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--out", type=pathlib.Path, required=True)
    a = ap.parse_args()
    ref = Reference(a.sheeprl)
    torch.backends.mkldnn.enabled = True
    torch.use_deterministic_algorithms(False)
    tiny.HEADS, tiny.HORIZON, tiny.T, tiny.B = (ACTIONS,), 1, T, B
    torch.manual_seed(a.seed)
    agent = tiny.Agent(ref, a.seed, fresh=True, sizes=SIZES)
    parts = ((agent.world_model, 1e-4, 1e-8), (agent.actor, 8e-5, 1e-5), (agent.critic, 8e-5, 1e-5))
    world, actor, critic = (torch.optim.Adam(m.parameters(), lr=lr, eps=eps) for m, lr, eps in parts)
    moments = ref.dv3_utils.Moments(0.99, 1.0, 0.05, 0.95)
    shades = unpack(np.fromfile(a.frames, np.uint8).reshape(-1, 1440))
    x = shades / 3.0
    mean_picture = float(x.reshape(len(x), -1).var(0).sum())
    rng = np.random.default_rng(a.seed)
    with a.out.open("w") as out:
        for update in range(1, a.updates + 1):
            aggregator = Aggregator()
            ref.sampler.start([a.seed, update])
            agent.fabric.clips.clear()
            ref.dv3.train(agent.fabric, agent.world_model, agent.actor, agent.critic, agent.target_critic, world, actor,
                          critic, batch(rng, shades), aggregator, agent.cfg, False, tiny.HEADS, moments)
            v = {k: float(x) for k, x in aggregator.values.items()}
            prior, post = v["State/prior_entropy"], v["State/post_entropy"]
            row = {"opt_steps": update, "obs_nll": v["Loss/observation_loss"], "kl_dyn": v["State/kl"],
                   "prior_entropy": prior, "posterior_entropy": post, "mean_picture_loss": mean_picture,
                   "entropy_gap": abs(prior - post) / max(1, prior)}
            out.write(json.dumps(row) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
