#!/usr/bin/env python3
"""Loads what `workbench export --sheeprl` wrote into sheeprl's own modules and compares a forward pass. Run by hand.

    build/workbench export --sheeprl SESSION --out weights.safetensors
    make export-trace && build/tests/validate/export_trace SESSION trace.safetensors
    python3 tests/validate/sheeprl_export.py --sheeprl DIR --session SESSION --weights weights.safetensors \\
            --trace trace.safetensors [--back back.safetensors]

Needs torch, numpy and the safetensors package. load_state_dict is strict: no name is missing, none is left over. The
trace holds eight steps of three environments as our player saw them; sheeprl's encoder, RSSM, actor, heads and critics
see the same frames, resets, actions and uniforms. --back writes sheeprl's state dicts with the safetensors package, for
`workbench export --from-sheeprl`. Exit code 1 where a value differs by more than its bound.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "golden"))
from bridge_parts import tiny  # noqa: E402
from bridge_parts.reference import Reference  # noqa: E402

BOUND = 2e-4  # of the largest value of a tensor: float32 sums in another order, over eight recurrent steps


def make_agent(ref, session):
    config = json.loads((session / "config.json").read_text())
    wm = "algo.world_model."
    sizes = {
        "S": config[wm + "stochastic_size"],
        "D": config[wm + "discrete_size"],
        "H": config[wm + "recurrent_model.recurrent_state_size"],
        "U": config["algo.dense_units"],
        "hidden": config[wm + "transition_model.hidden_size"],
        "n": config["algo.mlp_layers"],
        "m": config[wm + "encoder.cnn_channels_multiplier"],
    }
    n_actions = {"v0": 7, "v1": 8}[config["env.action_codec"]]
    decoupled = config[wm + "decoupled_rssm"]
    return tiny.Agent(ref, 0, fresh=True, sizes=sizes, heads=(n_actions,), decoupled=decoupled), sizes


def state_dicts(agent, ref):
    moments = ref.dv3_utils.Moments(0.99, 1.0, 0.05, 0.95)
    return {
        "world_model": agent.world_model,
        "actor": agent.actor,
        "critic": agent.critic,
        "target_critic": agent.target_critic,
        "moments": moments,
    }


def load(modules, weights):
    for name, module in modules.items():
        part = {k[len(name) + 1 :]: v for k, v in weights.items() if k.startswith(name + ".")}
        module.load_state_dict(part, strict=True)
        print(f"{name}: {len(part)} tensors, strict")
    n = sum(len(m.state_dict()) for m in modules.values())
    if n != len(weights):
        sys.exit(f"{len(weights)} tensors in the file, {n} in the modules")


def forward(ref, agent, trace, sizes):
    """The trace's outputs as sheeprl's modules give them, from its inputs."""
    wm, rssm = agent.world_model, agent.world_model.rssm
    shades = np.stack([(trace["packed"].numpy() >> (2 * k)) & 3 for k in range(4)], axis=-1)
    steps, envs = shades.shape[:2]
    frames = torch.from_numpy(shades.reshape(steps, envs, 1, 72, 80) / 3.0 - 0.5).float()
    h = torch.zeros(1, envs, sizes["H"])
    z = torch.zeros(1, envs, sizes["S"], sizes["D"])
    rows = {"h": [], "z": [], "posterior_probs": []}
    embedding = wm.encoder({"rgb": frames})
    decoupled = isinstance(rssm, ref.agent.DecoupledRSSM)
    for t in range(steps):
        u = trace["u"][t].numpy()
        one = slice(t, t + 1)
        inputs = (z, h, trace["prev_action"][one])
        ref.sampler.start(0, queue=[np.zeros_like(u), u])  # the prior's draw is not used
        if decoupled:
            h, _, _ = rssm.dynamic(*inputs, trace["reset"][one])
            posterior, z = rssm._representation(embedding[one])
        else:
            h, z, _, posterior, _ = rssm.dynamic(*inputs, embedding[one], trace["reset"][one])
        rows["h"].append(h)
        rows["z"].append(z.flatten(-2))
        rows["posterior_probs"].append(posterior.exp())
    out = {k: torch.cat(v) for k, v in rows.items()} | {"embedding": embedding}
    state = torch.cat((out["z"], out["h"]), -1)
    prior, _ = rssm._transition(out["h"], sample_state=False)
    out["prior_probs"] = prior.exp()
    logits = agent.actor.mlp_heads[0](agent.actor.model(state))
    out["action_probs"] = agent.actor._uniform_mix(logits).exp()
    out["picture"] = wm.observation_model(state)["rgb"].flatten(-3)
    out["reward_logits"] = wm.reward_model(state)
    out["continue_logits"] = wm.continue_model(state)
    out["value_logits"] = agent.critic(state)
    out["target_logits"] = agent.target_critic(state)
    return out


def main():
    ap = argparse.ArgumentParser()
    for name in ("sheeprl", "session", "weights", "trace"):
        ap.add_argument("--" + name, type=pathlib.Path, required=True)
    ap.add_argument("--back", type=pathlib.Path)
    a = ap.parse_args()
    ref = Reference(a.sheeprl)
    agent, sizes = make_agent(ref, a.session)
    modules = state_dicts(agent, ref)
    load(modules, load_file(a.weights))
    trace = load_file(a.trace)
    with torch.no_grad():
        out = forward(ref, agent, trace, sizes)
    n_wrong = 0
    for name, value in sorted(out.items()):
        ours, theirs = trace[name].double().flatten(2), value.double().flatten(2)
        scale, worst = float(theirs.abs().max()), float((ours - theirs).abs().max())
        wrong = ours.shape != theirs.shape or not worst <= BOUND * max(scale, 1e-6)
        n_wrong += wrong
        print(f"{name:16} {'x'.join(map(str, theirs.shape)):14} largest {scale:9.4g}  worst difference {worst:9.3g}"
              + ("  WRONG" if wrong else ""))
    if a.back:
        flat = {f"{n}.{k}": v.contiguous().clone() for n, m in modules.items() for k, v in m.state_dict().items()}
        save_file(flat, a.back)
    sys.exit(1 if n_wrong else 0)


if __name__ == "__main__":
    main()
