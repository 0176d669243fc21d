"""Fixtures F32-F36 and F39: imagination, lambda returns, continues and discounts, shapes, Moments, the critic."""

import sys
from contextlib import contextmanager

import numpy as np
import torch

from . import tiny
from .container import fixture
from .layers import leaf, normal
from .losses import call_train
from .reference import BridgeError, Fabric
from .rssm import index_of, spied
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
