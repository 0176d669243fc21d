"""Fixture F50: the optimiser of the newest official DreamerV3 (AGC, RMS, momentum), by its own functions in JAX."""

import hashlib
import importlib
import sys
import types

import numpy as np

from .behaviour import local_values
from .container import OFFICIAL, fixture
from .reference import BridgeError, StandInModules

REPOSITORY = "danijar/dreamerv3"
COMMIT = "e3f02248693a79dc8b0ebd62c93683888ddaccfe"
SOURCES = {
    "dreamerv3/agent.py": "adce8e4274bc098c218bf9a20fd3327545f0ad7d850b5fe328597382e91b5269",
    "embodied/jax/opt.py": "4b9c9aedc87a5f473a6a0c1f9d6c61118c20c304178a28a1f6b4221edbd2df1f",
}
STAND_INS = ("elements", "ninjax", "embodied.jax.internal", "embodied.jax.nets", "dreamerv3.rssm")


class Official:
    """The official optimiser's maker, imported from a source tree; everything but jax and optax is a stand-in."""

    repository, commit = REPOSITORY, COMMIT

    def __init__(self, root):
        for path, expected in SOURCES.items():
            file = root / path
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected:
                raise BridgeError(f"{file} is not the one of {REPOSITORY} at commit {COMMIT[:7]}")
        try:
            self.jax = importlib.import_module("jax")
            self.optax = importlib.import_module("optax")
        except ImportError as error:
            raise BridgeError(f"--dreamerv3: {error}; see README.md, Making them again") from error
        self.versions = {"jax": self.jax.__version__, "optax": self.optax.__version__}
        sys.meta_path.insert(0, StandInModules(STAND_INS))
        for name in ("embodied", "embodied.jax", "dreamerv3"):
            package = types.ModuleType(name)
            package.__path__ = [str(root / name.replace(".", "/"))]
            sys.modules[name] = package
        embodied = sys.modules["embodied"]
        embodied.jax = sys.modules["embodied.jax"]
        embodied.jax.Agent = object
        embodied.jax.nets = importlib.import_module("embodied.jax.nets")
        embodied.jax.opt = importlib.import_module("embodied.jax.opt")
        self.make_opt = importlib.import_module("dreamerv3.agent").Agent._make_opt


SIZES = {"large": 7, "small": 12, "zero": 5, "still": 4}
DOC = (
    "tensors of 7 (gradient above the clip), 12 (below it), 5 (theta 0, so the norm's floor 1e-3 counts) "
    "and 4 values (gradient always 0)"
)


def run(official, theta, grads, **options):
    """(theta, update, mu, nu) after every step, and the learning rates of steps 1, 2, ..."""
    numbers = official.jax.numpy
    with local_values(official.make_opt, []) as calls:
        chain = official.make_opt(None, **options)
    schedule = calls[0]["sched"]
    params = {k: numbers.asarray(v) for k, v in theta.items()}
    state, rows = chain.init(params), []
    flat = lambda tree: np.concatenate([np.asarray(tree[k]) for k in SIZES])
    for gradient in grads:
        updates, state = chain.update(
            {k: numbers.asarray(v) for k, v in gradient.items()}, state, params
        )
        params = official.optax.apply_updates(params, updates)
        (_, nu), (_, mu) = state[1], state[2]
        rows.append([flat(tree) for tree in (params, updates, mu, nu)])
    return [np.stack(column) for column in zip(*rows)], schedule


@fixture(
    "F50",
    "laprop_agc",
    "The official optimiser, made by its Agent._make_opt: AGC per tensor, RMS, momentum, linear warm-up.",
    registry=OFFICIAL,
)
def f50(official, fx):
    rng = np.random.default_rng(5001)
    draw = lambda n: rng.standard_normal(n).astype(np.float32)
    theta = {k: draw(n) for k, n in SIZES.items()}
    theta["zero"][:] = 0
    grads = []
    for step in range(5):
        gradient = {k: draw(n) for k, n in SIZES.items()}
        gradient["large"] *= np.float32(10.0**step)
        gradient["small"] *= np.float32(0.01)
        gradient["zero"] *= np.float32(1e-4 if step % 2 else 1.0)
        gradient["still"][:] = 0
        grads.append(gradient)
    flat = lambda tree: np.concatenate([tree[k] for k in SIZES])
    fx.given("theta0", flat(theta), "[28] " + DOC)
    fx.given("grad", np.stack([flat(g) for g in grads]), "[k][28], k = 1..5")
    for name, options, rate, text in (
        ("default", {}, 1e-7, "lr 4e-5, warm-up 1000"),
        ("fast", {"lr": 1e-2, "warmup": 2}, 1e-2, "lr 1e-2, warm-up 2"),
    ):
        (after, update, mu, nu), schedule = run(official, theta, grads, **options)
        # the reference takes 1 - 0.999^k in float32, 6e-5 off at k = 1: tolerances allow for the exact number
        text = f"[k][28] after step k, {text}"
        fx.close(f"{name}.theta", after, text, abs=1e-6, rel=1e-6)
        text = "[k][28] what is added to theta; 0 at k = 1"
        fx.close(f"{name}.update", update, text, abs=5e-5 * rate, rel=1e-4)
        if name == "fast":
            text = "[k][28] first moment, of the normalised gradient"
            fx.close("fast.mu", mu, text, abs=1e-5, rel=1e-4)
            text = "[k][28] second moment, of the clipped gradient"
            fx.close("fast.nu", nu, text, abs=1e-20, rel=1e-4)
        steps = np.array([1, 2, 3, 4, 500, 1000, 1001, 1002, 5000], np.int32)
        if name == "default":
            fx.given("lr_step", steps, "steps k whose learning rates are given")
        rates = np.array([schedule(int(k) - 1) for k in steps], np.float32)
        fx.close(f"{name}.lr", rates, "lr*min(1, (k-1)/warm-up)", abs=1e-12, rel=1e-6)
