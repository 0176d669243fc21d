"""Fixtures F32-F36 and F39: imagination, lambda returns, continues and discounts, shapes, Moments, the critic."""

import sys
from contextlib import contextmanager

import numpy as np
import torch

from . import tiny
from .container import Fixture, fixture
from .layers import leaf, normal
from .losses import call_train
from .reference import BridgeError, Fabric
from .rssm import index_of, spied, watch
from .tiny import B, HORIZON, T

GAMMA = 0.996996996996997


@contextmanager
def local_values(function, kept):
    """Within the block, the local variables of every call of function are kept when it returns."""

    def watch(frame, event, argument):
        if event == "return" and frame.f_code is function.__code__:
            kept.append(dict(frame.f_locals))

    sys.setprofile(watch)
    try:
        yield kept
    finally:
        sys.setprofile(None)


@fixture(
    "F33",
    "lambda_returns",
    "sheeprl's compute_lambda_values: hand vectors, random ones with zero continues, lambda 0, 0.95 and 1.",
)
def f33(ref, fx):
    column = lambda *values: torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
    hand = (column(1, 2, 3), column(10, 20, 30), column(0.9, 0, 0.9))
    c = torch.from_numpy((np.random.default_rng(3301).random((HORIZON, 18, 1)) < 0.75))
    c = c.float() * GAMMA
    c[:, 0], c[:, 1] = GAMMA, 0.0
    drawn = (normal(3302, HORIZON, 18, 1, scale=2.0), normal(3303, HORIZON, 18, 1, scale=5.0), c)
    upstream = normal(3304, HORIZON, 18, 1)
    for name, (rewards, values, continues), doc in (
        ("hand", hand, "spec 5.3's vector"),
        ("random", drawn, "row n=0 never ends, n=1 ends at once"),
    ):
        fx.given(name + ".reward", rewards.squeeze(-1), "[tau][n] of s_(tau+1), tau = 0..; " + doc)
        fx.given(name + ".value", values.squeeze(-1), "[tau][n] of s_(tau+1)")
        fx.given(name + ".discount", continues.squeeze(-1), "[tau][n] gamma*c of s_(tau+1)")
        if name == "random":
            fx.given("random.dreturn", upstream.squeeze(-1), "[tau][n] upstream gradient")
        for lmbda, suffix in ((0.0, "0"), (0.95, "095"), (1.0, "1")):
            r, v = leaf(rewards), leaf(values)
            returns = ref.dv3_utils.compute_lambda_values(r, v, continues, lmbda=lmbda)
            text = f"[tau][n] G_tau with lambda = {lmbda:g}"
            fx.close(f"{name}.return_{suffix}", returns.squeeze(-1), text, abs=2e-6, rel=1e-6)
            if name == "random":
                returns.backward(upstream)
                fx.close(f"random.dreward_{suffix}", r.grad.squeeze(-1), "gradient", abs=1e-6)
                fx.close(f"random.dvalue_{suffix}", v.grad.squeeze(-1), "gradient", abs=1e-6)


@fixture(
    "F34",
    "continue_discount",
    "Hard continues and the discount weights of sheeprl's train, the continue head's output given.",
)
def f34(ref, fx):
    logits = normal(3401, HORIZON + 1, T * B, 1, scale=3.0) + 2.0
    logits[:, 0], logits[:, 1], logits[:, 2] = 1e-3, -1e-3, 0.0
    logits[:, 3], logits[:, 4] = 5.0, 5.0  # row 4 starts on a terminal observation
    agent = tiny.Agent(ref, 34, image=False, vector=True)
    data, _ = tiny.batch(3402, vector=True)
    agent.world_model.continue_model.register_forward_hook(
        lambda module, inputs, output: logits if output.shape == logits.shape else output
    )
    ref.sampler.start(3403)
    with local_values(ref.dv3.train, []) as calls:
        call_train(ref, agent, data)
    local = calls[0]
    if float(logits[1:].abs()[logits[1:] != 0].min()) < 9e-4:
        raise BridgeError("F34: choose another seed, a continue logit is nearly 0")
    assert (local["continues"][0, :, 0] == 0).nonzero().flatten().tolist() == [4]
    fx.given("terminated", data["terminated"].squeeze(-1), "[t][b] of the start rows, n = t*B + b")
    fx.given(
        "continue_logit",
        logits.squeeze(-1),
        "[tau][n], tau = 0..H_im; row n=0 all 1e-3, n=1 all -1e-3, n=2 all 0, n=4 starts ended",
    )
    fx.exact("c", local["continues"].squeeze(-1), "[tau][n]; tau = 0 from data, then sigmoid > 0.5")
    fx.close(
        "w",
        local["discount"][:-1].squeeze(-1),
        "[tau][n], tau = 0..H_im-1: cumprod(gamma*c)/gamma; exactly 0 after an end",
        abs=0,
        rel=1e-6,
    )


@fixture(
    "F36",
    "moments",
    "sheeprl's Moments with its configured decay 0.99, max 1.0, percentiles 0.05 and 0.95.",
)
def f36(ref, fx):
    steps = torch.arange(0, 1001, 100).float()
    spread = normal(3601, 5, 18, scale=20.0)
    outliers = normal(3602, 91, scale=3.0) - 40.0
    outliers[7], outliers[50], outliers[51] = 1e6, -1e6, 3e5
    cases = {
        "hand": ([steps, steps + 100, steps + 200], "spec 5.4's batches"),
        "mixed": (
            [spread, outliers, normal(3603, 7, scale=100.0)],
            "90, 91 and 7 values, outliers of 1e6 in the second",
        ),
        "narrow": ([normal(3604, 3, 4) * 0.01, normal(3605, 1)], "scale stays at its floor 1"),
    }
    for name, (batches, doc) in cases.items():
        moments = ref.dv3_utils.Moments(0.99, 1.0, 0.05, 0.95)
        rows = {"q05": [], "q95": [], "low": [], "high": [], "scale": []}
        for i, batch in enumerate(batches):
            with spied(torch, "quantile", []) as quantiles:
                low, scale = moments(batch, Fabric())
            assert low == moments.low
            made = (quantiles[0][1], quantiles[1][1], moments.low, moments.high, scale)
            for key, value in zip(rows, made):
                rows[key].append(value.clone())
            fx.given(f"{name}.x{i}", batch.flatten(), doc + f"; batch {i}, start is low = high = 0")
        for key, text in {
            "q05": "5 % quantile of each batch, linear between neighbours",
            "q95": "95 % quantile of each batch",
            "low": "after each batch",
            "high": "after each batch",
            "scale": "max(1, high - low) after each batch",
        }.items():
            fx.close(f"{name}.{key}", torch.stack(rows[key]), text, abs=1e-7, rel=2e-6)


class BehaviourStep:
    """One call of sheeprl's train on a tiny vector agent, with everything of its behaviour half kept.

    double: the same step in float64 with the uniforms and the noise of another step, to see float32's rounding.
    """

    CONTINUE_BIAS = 1.5  # most dreams go on, some end

    def __init__(self, ref, seed, continuous=False, horizon=HORIZON, double=None):
        torch.manual_seed(seed)
        heads = (3,) if continuous else tiny.HEADS
        self.agent = agent = tiny.Agent(
            ref, seed, image=False, vector=True, heads=heads, continuous=continuous
        )
        agent.cfg.algo.horizon = self.horizon = horizon
        wm = self.wm = agent.world_model
        wm.continue_model.model[-1].bias.data += self.CONTINUE_BIAS
        data, _ = tiny.batch(seed, vector=True)
        if continuous:
            data["actions"] = normal([seed, 3], T, B, 3).clamp(-1, 1)
        self.terminated = data["terminated"].clone()
        networks = {
            "actor": agent.actor,
            "critic": agent.critic,
            "target_critic": agent.target_critic,
        }
        if double:
            torch.set_default_dtype(torch.float64)
            for network in (wm, *networks.values()):
                network.double()
            data = {k: v.double() for k, v in data.items()}
        self.before = {
            f"{name}.{k}": p.detach().clone()
            for name, network in networks.items()
            for k, p in network.named_parameters()
        }
        self.layers, self.hidden = watch(wm.rssm), {}
        self.keep("reward_hidden", wm.reward_model._model[5])
        self.keep("continue_hidden", wm.continue_model._model[5])
        self.keep("continue_logit", wm.continue_model)
        self.keep("critic_hidden", agent.critic._model[5])
        self.keep("actor_hidden", agent.actor.model._model[5])
        for i, head in enumerate(agent.actor.mlp_heads):
            self.keep(f"actor_out{i}", head)
        ref.sampler.start(seed, queue=[u for u, _ in double.draws] if double else ())
        ref.noise.start(seed, queue=double.noise if double else ())
        with local_values(ref.dv3.train, []) as calls:
            call_train(ref, agent, data)
        torch.set_default_dtype(torch.float32)
        self.local = calls[0]
        self.draws, self.noise = ref.sampler.draws, ref.noise.draws
        self.world = {k: p.detach() for k, p in wm.named_parameters()}  # as imagination used them
        self.clips = dict(zip(("world_model", "actor", "critic"), agent.fabric.clips))
        self.after = {
            f"{name}.{k}": p.detach()
            for name in ("actor", "critic")
            for k, p in networks[name].named_parameters()
        }

    def keep(self, name, module):
        module.register_forward_hook(
            lambda m, i, o: self.hidden.setdefault(name, []).append(o.detach())
        )

    def rows(self, key, last=None):
        """A local variable of train as [tau][n][...], without a last axis of one."""
        value = self.local[key].detach()
        value = value.squeeze(-1) if value.shape[-1] == 1 else value
        return value[:last]

    def uniforms(self):
        """(per tau: one [n] per head; per tau >= 1: [n][s]) in train's order of drawing."""
        n_heads = 0 if self.agent.continuous else len(self.agent.heads)
        draws = [u[0] for u, _ in self.draws[2 * T :]]
        actions, priors = [draws[:n_heads]], []
        for tau in range(self.horizon):
            at = n_heads + tau * (1 + n_heads)
            priors.append(draws[at])
            actions.append(draws[at + 1 : at + 1 + n_heads])
        assert len(draws) == (self.horizon + 2) * n_heads + self.horizon
        return (np.array(actions).transpose(0, 2, 1) if n_heads else None), np.stack(priors)

    def problems(self):
        """Decision points that rounding could flip, and a dream that shows too little."""
        c = self.local["continues"].detach()
        first = self.layers["prior_logits"][0]
        return {
            "continue logit near 0": float(self.hidden["continue_logit"][1].abs().min()) < 1e-3,
            "z0 nearly a tie": tiny.argmax_margin(first) < 1e-3,
            "all dreams end early": float(self.local["discount"][-2].sum()) < 4,
            "no dream ends": bool((c[1:-1].sum(0) == self.horizon - 1).all()) and self.horizon > 1,
        }


def put_checked(fx, seed, make_step, put):
    """Fills fx from the first clean seed whose float64 step stays within half of every tolerance."""
    for candidate in range(seed, seed + 100):
        step = make_step(candidate, None)
        bad = [k for k, is_bad in step.problems().items() if is_bad]
        if not bad:
            made = Fixture(fx.code, fx.name, fx.about)
            put(made, step)
            wide = Fixture(fx.code, fx.name, fx.about, narrow=True)
            put(wide, make_step(candidate, step))
            bad = [f"{name} uses {used:.2g}" for name, used in made.departures(wide, 0.5)]
        if not bad:
            fx.tensors = made.tensors
            return
    raise BridgeError(f"{fx.code}: no seed from {seed} on is clean, last: {', '.join(bad)}")


def put_params(fx, params, prefix, doc):
    for key, value in params.items():
        if key.startswith(prefix):
            fx.given("param." + key, value, doc)


IMAGINING = ("rssm.recurrent_model.", "rssm.transition_model.", "reward_model.", "continue_model.")


def put_imagination(fx, step):
    for prefix in IMAGINING:
        put_params(fx, step.world, prefix, "sheeprl's names, as used by the dream")
    put_params(fx, step.before, "actor.", "actor")
    put_params(fx, step.before, "critic.", "critic")
    trajectory, N, H_im = step.rows("imagined_trajectories"), T * B, step.horizon
    z = index_of(trajectory[..., : tiny.S * tiny.D].reshape(H_im + 1, N, tiny.S, tiny.D))
    h = trajectory[..., tiny.S * tiny.D :]
    fx.given("start_z", z[0], "[n][s] class of the start state, n = t*B + b")
    fx.given("start_h", h[0], "[n][H]")
    fx.given("terminated", step.terminated.reshape(N), "[n] of the start row")
    u_action, u_prior = step.uniforms()
    fx.given(
        "u_action", u_action, "[tau][n][head], tau = 0..H_im; the last one's action is not used"
    )
    fx.given("u_prior", u_prior, "[tau-1][n][s], tau = 1..H_im; drawn before the actions of tau")
    dreamt = lambda key, skip: torch.cat(step.layers[key][skip:]).reshape(H_im, N, -1)
    fx.close("layer.f", dreamt("f", T), "[tau-1][n][U] hidden layer of [z; a]", abs=1e-5)
    fx.close("layer.prior_hidden", dreamt("prior_hidden", 2 * T), "[tau-1][n]", abs=1e-5)
    fx.close("layer.prior_logits", dreamt("prior_logits", 2 * T), "before unimix", abs=1e-5)
    acted = lambda key: torch.cat(step.hidden[key][: H_im + 1]).reshape(H_im + 1, N, -1)
    fx.close("layer.actor_hidden", acted("actor_hidden"), "[tau][n][U] last hidden layer", abs=1e-5)
    for i in range(len(step.agent.heads)):
        fx.close(f"actor_logits{i}", acted(f"actor_out{i}"), "[tau][n], before unimix", abs=1e-5)
    heads = torch.split(step.rows("imagined_actions"), step.agent.heads, dim=-1)
    action = torch.stack([index_of(head) for head in heads], -1)
    fx.exact("z", z, "[tau][n][s] class, tau = 0..H_im; tau = 0 is the start")
    fx.close("h", h, "[tau][n][H]", abs=1e-5)
    fx.exact("action", action, "[tau][n][head] class")
    for name, at in (("reward_hidden", 1), ("continue_hidden", 1), ("critic_hidden", 0)):
        fx.close("layer." + name, step.hidden[name][at], "[tau][n][U] last hidden layer", abs=1e-5)
    fx.close(
        "value", step.rows("predicted_values"), "[tau][n] mean of the critic", abs=1e-5, rel=5e-5
    )
    fx.close("reward", step.rows("predicted_rewards"), "[tau][n] mean", abs=1e-5, rel=5e-5)
    logit = step.hidden["continue_logit"][1].squeeze(-1)
    fx.close("continue_logit", logit, "[tau][n]", abs=1e-5)
    fx.exact("c", step.rows("continues"), "[tau][n]; tau = 0 is 1 - terminated")


@fixture(
    "F32",
    "imagination",
    "The dream of sheeprl's train: 18 start states, 5 steps, two action heads, recorded uniforms.",
)
def f32(ref, fx):
    make = lambda seed, double: BehaviourStep(ref, seed, double=double)
    put_checked(fx, 3200, make, put_imagination)


def put_update(fx, step, name):
    """Gradients, norm, clipping and the parameters after one step of Adam."""
    clip = step.clips[name]
    for key, value in clip["grads"].items():
        fx.grad(f"grad.{name}.{key}", value, "before clipping")
    fx.close("Grads/" + name, clip["norm"], "global L2 norm before clipping", abs=0, rel=1e-4)
    coefficient = torch.clamp(100.0 / (clip["norm"] + 1e-6), max=1.0)
    fx.close("clip_coefficient", coefficient, "min(1, 100/(norm + 1e-6))", abs=0, rel=1e-4)
    for key, value in step.after.items():
        if key.startswith(name + "."):
            doc = "after Adam (lr 8e-5, eps 1e-5), first step"
            fx.put("output", "after." + key, value, doc, abs=1e-6, rel=1e-6)


def put_critic(fx, step):
    put_params(fx, step.before, "critic.", "critic")
    put_params(fx, step.before, "target_critic.", "target critic")
    fx.given("trajectory", step.rows("imagined_trajectories", -1), "[tau][n][z,h], tau = 0..H_im-1")
    fx.given("return", step.rows("lambda_values"), "[tau][n] G, not normalised")
    fx.given("w", step.rows("discount", -1), "[tau][n]")
    qv, target = step.local["qv"], step.local["predicted_target_values"].detach()
    fx.close("logits", qv.logits, "[tau][n][255] of the critic", abs=1e-5)
    fx.close("target_value", target.squeeze(-1), "[tau][n] mean of the target critic", rel=5e-5)
    of_return = -qv.log_prob(step.local["lambda_values"].detach())
    fx.close("l_return", of_return, "[tau][n] -log p(G)", abs=2e-5)
    fx.close("l_target", -qv.log_prob(target), "[tau][n] -log p(target_value)", abs=2e-5)
    fx.close("Loss/value_loss", step.local["value_loss"], "mean of w*(l_return + l_target)", abs=0)
    put_update(fx, step, "critic")


@fixture(
    "F39",
    "critic_loss",
    "The critic's loss of sheeprl's train with its target-critic regulariser, gradients, norm, one Adam step.",
)
def f39(ref, fx):
    make = lambda seed, double: BehaviourStep(ref, seed, double=double)
    put_checked(fx, 3900, make, put_critic)
