"""The tiny agent and batch of the fixtures: sheeprl's build_agent with a configuration of spec 10.1's sizes."""

import numpy as np
import torch

from .layers import pack2, random_shades
from .reference import Fabric, perturb

S, D, H, U, HIDDEN, N_LAYERS, MULTIPLIER = 4, 5, 8, 6, 7, 2, 2
HEADS = (5, 3)
A = sum(HEADS)
T, B, HORIZON = 6, 3, 5


SIZES = {"S": S, "D": D, "H": H, "U": U, "hidden": HIDDEN, "n": N_LAYERS, "m": MULTIPLIER}


class Box:
    def __init__(self, *shape):
        self.shape = shape


def config(ref, image, vector, decoupled=False, sizes=SIZES):
    """sheeprl's dreamer_v3.yaml, resolved, with given sizes; screen_size 32 is its way to say three stages."""
    cnn_norm = {"cls": "sheeprl.models.models.LayerNormChannelLast", "kw": {"eps": 1e-3}}
    mlp_norm = {"cls": "sheeprl.models.models.LayerNorm", "kw": {"eps": 1e-3}}
    dense = {
        "dense_act": "torch.nn.SiLU",
        "mlp_layers": sizes["n"],
        "dense_units": sizes["U"],
        "layer_norm": mlp_norm,
    }
    coder = {
        **dense,
        "cnn_channels_multiplier": sizes["m"],
        "cnn_act": "torch.nn.SiLU",
        "cnn_layer_norm": cnn_norm,
        "mlp_layer_norm": mlp_norm,
    }
    hidden = {"hidden_size": sizes["hidden"], "dense_act": "torch.nn.SiLU", "layer_norm": mlp_norm}
    world_model = {
        "discrete_size": sizes["D"],
        "stochastic_size": sizes["S"],
        "kl_dynamic": 0.5,
        "kl_representation": 0.1,
        "kl_free_nats": 1.0,
        "kl_regularizer": 1.0,
        "continue_scale_factor": 1.0,
        "clip_gradients": 1000.0,
        "decoupled_rssm": decoupled,
        "learnable_initial_recurrent_state": True,
        "encoder": dict(coder),
        "recurrent_model": {
            "recurrent_state_size": sizes["H"],
            "layer_norm": mlp_norm,
            "dense_units": sizes["U"],
        },
        "transition_model": dict(hidden),
        "representation_model": dict(hidden),
        "observation_model": dict(coder),
        "reward_model": {**dense, "bins": 255},
        "discount_model": {**dense, "learnable": True},
    }
    actor = {
        **dense,
        "cls": "sheeprl.algos.dreamer_v3.agent.Actor",
        "ent_coef": 3e-4,
        "min_std": 0.1,
        "max_std": 1.0,
        "init_std": 2.0,
        "clip_gradients": 100.0,
        "unimix": 0.01,
        "action_clip": 1.0,
    }
    critic = {**dense, "bins": 255, "tau": 0.02, "clip_gradients": 100.0}
    images, vectors = (["rgb"] if image else []), (["senses"] if vector else [])
    algo = {
        "gamma": 0.996996996996997,
        "lmbda": 0.95,
        "horizon": HORIZON,
        "unimix": 0.01,
        "hafner_initialization": True,
        "per_rank_batch_size": B,
        "per_rank_sequence_length": T,
        "cnn_keys": {"encoder": images, "decoder": images},
        "mlp_keys": {"encoder": vectors, "decoder": vectors},
        "world_model": world_model,
        "actor": actor,
        "critic": critic,
    }
    env = {"screen_size": 32, "num_envs": 1}
    return ref.utils.dotdict(
        {"algo": algo, "env": env, "distribution": {"type": "auto", "validate_args": False}}
    )


class Agent:
    """World model, actor, critic, target critic of sheeprl's build_agent, all parameters perturbed unless fresh."""

    def __init__(
        self,
        ref,
        seed,
        image=True,
        vector=False,
        decoupled=False,
        fresh=False,
        sizes=SIZES,
        heads=HEADS,
        continuous=False,
    ):
        self.cfg = config(ref, image, vector, decoupled, sizes)
        self.heads, self.continuous = heads, continuous
        self.fabric = Fabric()
        space = {"rgb": Box(1, 72, 80), "senses": Box(4)}
        made = ref.agent.build_agent(self.fabric, heads, continuous, self.cfg, space)
        self.world_model, self.actor, self.critic, self.target_critic, self.player = made
        if not fresh:
            for i, module in enumerate(
                (self.world_model, self.actor, self.critic, self.target_critic)
            ):
                perturb(module, [seed, i])


def one_hot_heads(seed, *lead):
    """Random actions, one-hot per head, concatenated: [..., A]."""
    rng = np.random.default_rng(seed)
    heads = [np.eye(n, dtype=np.float32)[rng.integers(0, n, size=lead)] for n in HEADS]
    return torch.from_numpy(np.concatenate(heads, axis=-1))


def one_hot_latent(seed, *lead):
    """Random one-hot stochastic states [..., S, D]."""
    index = np.random.default_rng(seed).integers(0, D, size=(*lead, S))
    return torch.from_numpy(np.eye(D, dtype=np.float32)[index])


def argmax_margin(logits):
    """Smallest distance between the two largest entries of any categorical, logits [..., S*D]."""
    top = logits.detach().reshape(-1, D).topk(2, dim=-1).values
    return float((top[:, 0] - top[:, 1]).min())


def batch(seed, vector=False):
    """Rows as the replay holds them, [T][B][...]: env 1 ends (terminated) at t=1, env 2 ends (truncated) at t=3."""
    rng = np.random.default_rng(seed)
    shades = random_shades([seed, 1], T, B, 1, 72, 80)
    flags = {k: torch.zeros(T, B, 1) for k in ("terminated", "truncated", "is_first")}
    flags["is_first"][0, 0] = flags["is_first"][2, 1] = flags["is_first"][4, 2] = 1
    flags["terminated"][1, 1] = flags["truncated"][3, 2] = 1
    actions = one_hot_heads([seed, 2], T, B)
    actions[1, 1] = actions[3, 2] = 0  # the action of a terminal row
    rewards = torch.from_numpy((rng.standard_normal((T, B, 1)) * 2).astype(np.float32))
    rewards = rewards * (1 - flags["is_first"])
    data = {
        "actions": actions,
        "rewards": rewards,
        **flags,
        "rgb": torch.from_numpy(85 * shades).float(),
    }
    if vector:
        scale = np.array([1.0, 30.0, 100.0, 0.5])
        data["senses"] = torch.from_numpy(
            (rng.standard_normal((T, B, 4)) * scale).astype(np.float32)
        )
    return data, pack2(shades)
