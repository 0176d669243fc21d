"""Fixtures F37 and F38: the actor's loss and gradients, discrete and continuous."""

import torch

from .behaviour import BehaviourStep, put_checked, put_params, put_update
from .container import fixture
from .rssm import index_of


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
