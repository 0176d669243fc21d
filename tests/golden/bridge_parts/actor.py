"""Fixtures F37 and F38: the actor's loss and gradients, discrete and continuous."""

import numpy as np
import torch

from . import tiny
from .behaviour import IMAGINING, BehaviourStep, put_checked, put_params, put_update
from .container import fixture
from .reference import BridgeError
from .rssm import index_of
from .tiny import B, T


def put_advantage(fx, step):
    fx.given("return", step.rows("lambda_values"), "[tau][n] G")
    fx.given("value", step.rows("baseline"), "[tau][n] v of s_tau")
    fx.given("low", step.local["offset"], "Moments after this batch")
    fx.given("scale", step.local["invscale"], "Moments after this batch")
    text = "[tau][n] (G - low)/scale - (v - low)/scale"
    fx.close("advantage", step.rows("advantage"), text, abs=1e-5)


def put_discrete(fx, step):
    put_params(fx, step.before, "actor.", "actor")
    fx.given("trajectory", step.rows("imagined_trajectories", -1), "[tau][n][z,h], tau = 0..H_im-1")
    heads = torch.split(step.rows("imagined_actions", -1), step.agent.heads, dim=-1)
    fx.given("action", torch.stack([index_of(head) for head in heads], -1), "[tau][n][head] class")
    fx.given("w", step.rows("discount", -1), "[tau][n]")
    put_advantage(fx, step)
    log_prob, entropy = 0, 0
    for i, (policy, taken) in enumerate(zip(step.local["policies"], heads)):
        out = step.hidden[f"actor_out{i}"][-1][:-1]
        fx.close(f"logits{i}", out, f"[tau][n] head {i}, before unimix", abs=1e-5)
        fx.close(f"lambda{i}", policy.logits[:-1], "log of the unimixed probabilities", abs=1e-5)
        log_prob = log_prob + policy.log_prob(
            torch.cat([taken, taken[-1:]])
        )  # the last row is not used
        entropy = entropy + policy.entropy()
    fx.close("log_prob", log_prob[:-1], "[tau][n] of the action taken, heads added", abs=1e-5)
    fx.close("entropy", entropy[:-1], "[tau][n] nats, heads added", abs=1e-5)
    text = "-mean of w*(log_prob*advantage + 3e-4*entropy)"
    fx.close("Loss/policy_loss", step.local["policy_loss"], text, abs=2e-6)
    put_update(fx, step, "actor")


@fixture(
    "F37",
    "actor_discrete",
    "The actor's loss of sheeprl's train for heads [5,3]: advantage, log-probabilities, gradients, one Adam step.",
)
def f37(ref, fx):
    make = lambda seed, double: BehaviourStep(ref, seed, double=double)
    put_checked(fx, 3700, make, put_discrete)


def put_dream_inputs(fx, step):
    N, z_width = T * B, tiny.S * tiny.D
    for prefix in IMAGINING:
        put_params(fx, step.world, prefix, "sheeprl's names, as used by the dream")
    put_params(fx, step.before, "actor.", "actor; its one head gives mean and std of 3 actions")
    put_params(fx, step.before, "critic.", "critic")
    trajectory = step.rows("imagined_trajectories")
    z = index_of(trajectory[..., :z_width].reshape(-1, N, tiny.S, tiny.D))
    h = trajectory[..., z_width:]
    fx.given("start_z", z[0], "[n][s] class of the start state, n = t*B + b")
    fx.given("start_h", h[0], "[n][H]")
    fx.given("terminated", step.terminated.reshape(N), "[n] of the start row")
    eps = np.concatenate(step.noise[:-1])
    fx.given("eps", eps, "[tau][n][3] normal noise, tau = 0..H_im; the last is not used")
    fx.given("u_prior", step.uniforms()[1], "[tau-1][n][s]; drawn before eps of tau")
    fx.exact("z", z, "[tau][n][s] class; tau = 0 is the start")
    fx.close("h", h, "[tau][n][H]", abs=1e-5)
    return eps


def put_continuous(fx, step):
    eps = put_dream_inputs(fx, step)
    raw = torch.cat(step.hidden["actor_out0"][: step.horizon + 1])
    normal = step.local["policies"][0].base_dist
    sampled = normal.loc + normal.scale * torch.from_numpy(eps).to(normal.loc)
    if not 5 < int((sampled.abs() > 1).sum()) < sampled.numel() - 5:
        raise BridgeError("F38: too few or too many actions are clipped")
    fx.close("actor_out", raw, "[tau][n][6] output of the head: 3 means, 3 stds, raw", abs=1e-5)
    fx.close("mean", normal.loc, "[tau][n][3] tanh(raw mean)", abs=1e-5)
    fx.close("std", normal.scale, "[tau][n][3] 0.9*sigmoid(raw std + 2) + 0.1", abs=1e-5)
    fx.close("sampled", sampled, "[tau][n][3] mean + std*eps", abs=1e-5)
    text = "[tau][n][3] sampled*(1/max(1, |sampled|)), the factor without gradient"
    fx.close("action", step.rows("imagined_actions"), text, abs=1e-5)
    fx.close("value", step.rows("predicted_values"), "[tau][n]", abs=1e-5, rel=5e-5)
    fx.close("reward", step.rows("predicted_rewards"), "[tau][n]", abs=1e-5, rel=5e-5)
    fx.exact("c", step.rows("continues"), "[tau][n]; tau = 0 is 1 - terminated")
    fx.close("return", step.rows("lambda_values"), "[tau][n] G", abs=2e-5, rel=5e-5)
    fx.close("w", step.rows("discount", -1), "[tau][n]", abs=0, rel=1e-6)
    fx.close("low", step.local["offset"], "Moments, started from 0, after this batch", abs=1e-6)
    fx.close("scale", step.local["invscale"], "Moments after this batch", abs=1e-6)
    fx.close("advantage", step.rows("advantage"), "[tau][n] the objective itself", abs=2e-5)
    entropy = step.local["policies"][0].entropy()[:-1]
    fx.close("entropy", entropy, "[tau][n] sum of 0.5 + 0.5 log 2pi + log std", abs=1e-5)
    text = "-mean of w*(advantage + 3e-4*entropy)"
    fx.close("Loss/policy_loss", step.local["policy_loss"], text, abs=1e-5)
    put_update(fx, step, "actor")


@fixture(
    "F38",
    "actor_continuous",
    "The dream and the actor's loss of sheeprl's train for 3 continuous actions, its gradients through the dream.",
)
def f38(ref, fx):
    make = lambda seed, double: BehaviourStep(ref, seed, continuous=True, double=double)
    put_checked(fx, 3800, make, put_continuous)
