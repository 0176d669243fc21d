"""Fixtures F43, F45, F47, F48: row alignment, sequence starts, rows of the main loop, initialisation statistics."""

from unittest import mock

import numpy as np
import torch
from torch import nn

from . import tiny
from .container import fixture
from .losses import call_train
from .rssm import spied
from .tiny import A

WINDOW = 4  # rows per window of F43


def alignment_stream():
    """Two episodes of one environment as sheeprl stores them: 5 rows, terminated; 7 rows, truncated."""
    rows = 12
    first, terminated, truncated = (np.zeros(rows, np.float32) for _ in range(3))
    first[0] = first[5] = terminated[4] = truncated[11] = 1
    actions = tiny.one_hot_heads(4301, rows).numpy()
    actions[[4, 11]] = 0
    rewards = np.round(np.random.default_rng(4302).standard_normal(rows), 2).astype(np.float32)
    rewards[[0, 5]] = 0
    ids = np.arange(100, 100 + rows, dtype=np.int32)
    return {
        "obs_id": ids,
        "actions": actions,
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated,
        "is_first": first,
    }


def to_arrival(sa):
    """Row i holds the action that led to o_i."""
    aa = dict(sa)
    aa["actions"] = np.where(
        sa["is_first"][:, None] > 0, 0, np.roll(sa["actions"], 1, axis=0)
    ).astype(np.float32)
    return aa


def to_transition(sa):
    """Row i holds o_i, a_i and what a_i brought; an episode's last observation is kept only as final_obs_id."""
    keep = np.flatnonzero((sa["terminated"] + sa["truncated"]) == 0)
    ended = (sa["terminated"] + sa["truncated"])[keep + 1] > 0
    ta = {k: sa[k][keep] for k in ("obs_id", "actions", "is_first")}
    ta.update({k: sa[k][keep + 1] for k in ("rewards", "terminated", "truncated")})
    ta["final_obs_id"] = np.where(ended, sa["obs_id"][keep + 1], -1).astype(np.int32)
    return ta


def arrival_to_sheeprl(aa):
    sa = dict(aa)
    later = np.concatenate([aa["actions"][1:], np.zeros((1, A), np.float32)])
    next_first = np.concatenate([aa["is_first"][1:], [1]])
    sa["actions"] = np.where(next_first[:, None] > 0, 0, later).astype(np.float32)
    return sa


def transition_to_sheeprl(ta):
    rows = []
    for i in range(len(ta["obs_id"])):
        reward = 0 if ta["is_first"][i] else ta["rewards"][i - 1]
        rows.append((ta["obs_id"][i], ta["actions"][i], reward, 0, 0, ta["is_first"][i]))
        if ta["final_obs_id"][i] >= 0:
            end = (ta["rewards"][i], ta["terminated"][i], ta["truncated"][i], 0)
            rows.append((ta["final_obs_id"][i], np.zeros(A, np.float32), *end))
    keys = ("obs_id", "actions", "rewards", "terminated", "truncated", "is_first")
    return {k: np.stack([row[j] for row in rows]).astype(ta[k].dtype) for j, k in enumerate(keys)}


@fixture(
    "F43",
    "alignment",
    "One stream in three row conventions, and what sheeprl's train makes of every window of 4 rows.",
)
def f43(ref, fx):
    sa = alignment_stream()
    aa, ta = to_arrival(sa), to_transition(sa)
    for back in (arrival_to_sheeprl(aa), transition_to_sheeprl(ta)):
        assert all((back[k] == sa[k]).all() for k in sa)
    starts = np.arange(len(sa["obs_id"]) - WINDOW + 1, dtype=np.int32)
    rows = starts[None, :] + np.arange(WINDOW)[:, None]  # [t][window]
    agent = tiny.Agent(ref, 43, image=False, vector=True)
    agent.cfg.algo.per_rank_batch_size, agent.cfg.algo.per_rank_sequence_length = (
        len(starts),
        WINDOW,
    )
    data = {
        k: torch.from_numpy(sa[k][rows]) for k in ("rewards", "terminated", "truncated", "is_first")
    }
    data = {k: v.unsqueeze(-1) for k, v in data.items()}
    data["actions"] = torch.from_numpy(sa["actions"][rows])
    data["senses"] = (
        torch.from_numpy(sa["obs_id"][rows].astype(np.float32)).unsqueeze(-1).repeat(1, 1, 4)
    )
    rssm, inputs = agent.world_model.rssm, []
    rssm.recurrent_model.register_forward_hook(lambda m, i, o: inputs.append(i[0].detach()))
    ref.sampler.start(4303)
    with spied(rssm, "dynamic", []) as steps:
        losses, _ = call_train(ref, agent, data)
    for prefix, stream, doc in (
        ("sa.", sa, "sheeprl's rows: o_i, a_i chosen at o_i, reward and flags on arriving at o_i"),
        ("aa.", aa, "arrival rows: the action that led to o_i"),
        (
            "ta.",
            ta,
            "transition rows: what a_i brought; final_obs_id is -1 or the observation that ended the episode",
        ),
    ):
        for key, value in stream.items():
            fx.given(prefix + key, value, doc)
    fx.given("start", starts, "first row of each window, in sa rows")
    fx.exact(
        "p",
        torch.cat(inputs[:WINDOW])[..., -A:],
        "[t][window][A] previous action that the recurrent model gets",
    )
    fx.exact("rho", losses[3].squeeze(-1), "[t][window] reward target")
    fx.exact("kappa", losses[11].squeeze(-1), "[t][window] continue target")
    fx.exact(
        "f",
        torch.cat([call[0][4] for call in steps]).squeeze(-1),
        "[t][window] is_first that is used",
    )


class EveryValue:
    """A random generator that returns every allowed value in turn, so one draw lists them all."""

    def integers(self, low, high, size, dtype=np.int64):
        return (low + np.arange(np.prod(size)) % (high - low)).astype(dtype).reshape(size)


@fixture(
    "F45",
    "seq_buffer",
    "All window starts of sheeprl's SequentialReplayBuffer, capacity 8, after n rows were added.",
)
def f45(ref, fx):
    capacity = 8
    cases, masks = [], []
    for length in (1, 3, 8):
        for added in range(0, 21):
            buffer = ref.buffers.SequentialReplayBuffer(capacity, n_envs=1)
            for row in range(added):
                buffer.add({"id": np.full((1, 1, 1), row, dtype=np.int64)})
            buffer._rng = EveryValue()
            mask = np.zeros(capacity, np.uint8)
            first = last = -1
            try:
                ids = buffer.sample(64, sequence_length=length)["id"][0, :, :, 0]  # [T][window]
                assert (np.diff(ids, axis=0) == 1).all()
                mask[np.unique(ids[0] % capacity)] = 1
                first, last = ids[0].min(), ids[0].max()
                assert len(np.unique(ids[0])) == last - first + 1 == mask.sum()
            except ValueError:
                pass
            cases.append(
                (length, added, added % capacity, added >= capacity, mask.sum(), first, last)
            )
            masks.append(mask)
    columns = np.array(cases, dtype=np.int32).T
    fx.given("length", columns[0], "T, rows per window")
    fx.given("added", columns[1], "rows added so far; row r is in slot r mod 8")
    fx.info("pos", columns[2], "next slot to be written")
    fx.info("full", columns[3], "1 once 8 rows were added")
    fx.exact(
        "n_starts", columns[4], "number of valid starts; 0 = sampling is an error (too few rows)"
    )
    fx.exact(
        "first",
        columns[5],
        "oldest valid start as row number, -1 if none; all between first and last are valid",
    )
    fx.exact("last", columns[6], "newest valid start as row number, -1 if none")
    fx.exact("mask", np.stack(masks), "[case][slot] 1 where a window may start")


class ScriptedEnvs:
    """Two environments as gymnasium's vector API shows them to sheeprl's main: they reset themselves, and the
    observation that ended an episode comes in infos["final_observation"]."""

    EPISODES = (
        ((3, "terminated"), (4, "truncated"), (9, "terminated")),
        ((5, "truncated"), (2, "terminated"), (9, "truncated")),
    )

    def __init__(self, ref, ticks):
        gym = ref.dv3.gym
        self.single_action_space = mock.Mock(spec=["n"], n=A)
        self.single_observation_space = gym.spaces.Dict()
        self.action_space = mock.Mock(shape=(2,), sample=self.sample)
        self.choices = np.random.default_rng(4701).integers(0, A, size=(ticks, 2))
        self.rewards = np.arange(1, 2 * ticks + 1, dtype=np.float64).reshape(ticks, 2) / 4
        self.log = {
            k: [] for k in ("action", "obs_id", "reward", "terminated", "truncated", "final_obs_id")
        }
        self.tick, self.episode, self.age, self.next_id = 0, [0, 0], [0, 0], [0, 1000]

    def sample(self):
        return self.choices[self.tick]

    def new_id(self, env):
        self.next_id[env] += 1
        return self.next_id[env]

    def reset(self, seed):
        ids = [self.new_id(env) for env in range(2)]
        self.log["obs_id"].append(ids)
        return {"id": np.array(ids, np.float32).reshape(2, 1)}, {}

    def step(self, actions):
        ids, final, ends = [], [None, None], {"terminated": [False] * 2, "truncated": [False] * 2}
        for env in range(2):
            length, how = self.EPISODES[env][self.episode[env]]
            self.age[env] += 1
            arrived = self.new_id(env)
            if self.age[env] == length:
                ends[how][env] = True
                final[env] = arrived
                self.episode[env], self.age[env] = self.episode[env] + 1, 0
                arrived = self.new_id(env)
            ids.append(arrived)
        infos = {}
        if any(f is not None for f in final):
            wrap = lambda f: None if f is None else {"id": np.array([f], np.float32)}
            infos["final_observation"] = [wrap(f) for f in final]
        reward = self.rewards[self.tick].copy()
        kept = {"action": actions, "obs_id": ids, "reward": reward, **ends}
        kept["final_obs_id"] = [-1 if f is None else f for f in final]
        for key, value in kept.items():
            self.log[key].append(np.array(value).copy())
        self.tick += 1
        observation = {"id": np.array(ids, np.float32).reshape(2, 1)}
        return observation, reward, np.array(ends["terminated"]), np.array(ends["truncated"]), infos

    def close(self):
        pass


def run_main(ref, envs, ticks, n_envs=2, agent=None, sampled=None, each_iteration=None, **changes):
    """sheeprl's main loop for that many iterations; returns its replay buffer.

    agent: what build_agent is to return; without it the loop only collects, by random actions.
    sampled: called with the number of batches asked for in place of the buffer's sampling, returns them stacked.
    each_iteration: called before every iteration's first row is stored.
    changes: algo, critic, metric, world_model, actor: configuration entries; train, instantiate: replacements.
    """
    made = []

    class KeptBuffer(ref.buffers.EnvIndependentReplayBuffer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

        def add(self, data, indices=None, **kwargs):
            if each_iteration and indices is None:
                each_iteration()
            super().add(data, indices, **kwargs)

        def sample_tensors(self, *args, n_samples=1, **kwargs):
            return sampled(n_samples)

    cfg = tiny.config(ref, image=False, vector=False)
    more = {
        "checkpoint": {"resume_from": None, "every": 0, "save_last": False},
        "metric": {"log_level": 0, "log_every": n_envs, "sync_on_compute": False},
        "buffer": {
            "size": 200 * n_envs,
            "memmap": False,
            "checkpoint": False,
            "validate_args": True,
            "from_numpy": False,
        },
        "model_manager": {"disabled": True},
        "seed": 0,
        "dry_run": False,
    }
    cfg.update(ref.utils.dotdict(more))
    cfg.env.update(
        num_envs=n_envs,
        sync_env=True,
        clip_rewards=False,
        wrapper=ref.utils.dotdict({"_target_": "scripted"}),
    )
    cfg.algo.update(
        total_steps=n_envs * ticks,
        learning_starts=10**6,
        replay_ratio=1,
        per_rank_pretrain_steps=0,
        run_test=False,
    )
    cfg.algo.mlp_keys.update(encoder=["id"], decoder=["id"])
    moments = {"decay": 0.99, "max": 1.0, "percentile": {"low": 0.05, "high": 0.95}}
    cfg.algo.actor.moments = ref.utils.dotdict(moments)
    cfg.algo.update(changes.get("algo", {}))
    for part in ("world_model", "actor", "critic"):
        cfg.algo[part].update(ref.utils.dotdict(changes.get(part, {})))
    agent = agent or (nn.Module(), nn.Module(), nn.Module(), nn.Module(), mock.Mock())
    replaced = {
        "EnvIndependentReplayBuffer": KeptBuffer,
        "build_agent": lambda *args: agent,
        "make_env": lambda *args, **kwargs: None,
        "get_logger": lambda *args: None,
        "get_log_dir": lambda *args: "",
        "save_configs": lambda *args: None,
        "timer": mock.MagicMock(disabled=True),
        "MetricAggregator": mock.Mock(disabled="aggregator" not in changes),
    }
    if "train" in changes:
        replaced["train"] = changes["train"]
    vector = mock.patch.object(ref.dv3.gym.vector, "SyncVectorEnv", lambda makers: envs)
    instantiate = changes.get("instantiate", ref.dv3.hydra.utils.instantiate)
    made_by = mock.patch.object(ref.dv3.hydra.utils, "instantiate", instantiate)
    with mock.patch.multiple(ref.dv3, **replaced), vector, made_by:
        ref.dv3.main(changes.get("fabric") or tiny.Fabric(), cfg)
    return made[0]


@fixture(
    "F47",
    "row_writer",
    "Every row that sheeprl's own main loop stores for two scripted environments, 12 ticks.",
)
def f47(ref, fx):
    ticks = 12
    envs = ScriptedEnvs(ref, ticks)
    buffer = run_main(ref, envs, ticks)
    log = {k: np.array(v) for k, v in envs.log.items()}
    fx.given(
        "script.action", log["action"].astype(np.int32), "[tick][env] index of the action taken"
    )
    fx.given("script.reward", log["reward"].astype(np.float32), "[tick][env] reward of that step")
    fx.given("script.terminated", log["terminated"], "[tick][env] that step ended the episode")
    fx.given("script.truncated", log["truncated"], "[tick][env]")
    fx.given(
        "script.final_obs_id",
        log["final_obs_id"].astype(np.int32),
        "[tick][env] observation that ended it, or -1",
    )
    fx.given(
        "script.obs_id",
        log["obs_id"].astype(np.int32),
        "[tick+1][env] observation the next action is chosen at; after an end it is the reset's",
    )
    for env, rows in enumerate(buffer.buffer):
        stored = {k: v[: rows._pos, 0] for k, v in rows.buffer.items()}
        assert not rows.full
        text = f"rows of environment {env}, in order; "
        fx.exact(
            f"env{env}.obs_id",
            stored["id"].astype(np.int32).squeeze(-1),
            text + "observation of the row",
        )
        fx.exact(
            f"env{env}.actions",
            stored["actions"].astype(np.float32),
            text + "one-hot, 0 on the row that ends an episode",
        )
        fx.exact(
            f"env{env}.rewards",
            stored["rewards"].astype(np.float32).squeeze(-1),
            text + "received on arriving",
        )
        for key in ("terminated", "truncated", "is_first"):
            fx.exact(f"env{env}.{key}", stored[key].astype(np.uint8).squeeze(-1), text + "0 or 1")


def put_statistics(fx, name, weight, doc, spread=0.01, extreme=0.01):
    """mean, std, min, max, zeros of a tensor; the tolerances allow for the noise of both samples."""
    w = weight.detach().double().flatten()
    std = float(w.std(unbiased=False))
    noise = 6 / np.sqrt(w.numel())
    values = np.array([w.mean(), std, w.min(), w.max(), (w == 0).double().mean()], dtype=np.float32)
    fx.close(name + ".mean", values[0], doc, abs=std * noise, rel=0)
    fx.close(name + ".std", values[1], "", abs=0, rel=spread + noise if std > 0 else 0)
    fx.close(name + ".min", values[2], "", abs=0, rel=extreme if std > 0 else 0)
    fx.close(name + ".max", values[3], "", abs=0, rel=extreme if std > 0 else 0)
    fx.close(name + ".zeros", values[4], "share of exact zeros", abs=0.001 if std > 0 else 0, rel=0)


TINY_PRESET = {"S": 16, "D": 16, "H": 128, "U": 128, "hidden": 128, "n": 2, "m": 8}  # spec 2.4


@fixture(
    "F48",
    "init_stats",
    "Statistics of sheeprl's initialisers, 1e6 weights per rule, and of every tensor of a fresh tiny preset.",
)
def f48(ref, fx):
    init, uniform = ref.dv3_utils.init_weights, ref.dv3_utils.uniform_init_weights
    conv = {"kernel_size": 4, "stride": 2, "padding": 1}
    rules = {
        "linear": (
            nn.Linear(500, 2000),
            init,
            0.01,
            "init_weights, Linear in 500 out 2000: normal cut at 2 sigma",
        ),
        "conv": (
            nn.Conv2d(125, 500, **conv),
            init,
            0.25,
            "init_weights, Conv 125 to 500, 4x4: normal, practically not cut",
        ),
        "deconv": (
            nn.ConvTranspose2d(500, 125, **conv),
            init,
            0.25,
            "init_weights, ConvTranspose 500 to 125, 4x4",
        ),
        "uniform": (
            nn.Linear(500, 2000),
            uniform(1.0),
            0.01,
            "uniform_init_weights(1.0), Linear in 500 out 2000",
        ),
        "zero": (
            nn.Linear(500, 2000),
            uniform(0.0),
            0.01,
            "uniform_init_weights(0.0), Linear: all zero",
        ),
    }
    for name, (module, rule, extreme, doc) in rules.items():
        module.apply(rule)
        assert module.weight.numel() == 1000000 and not module.bias.any()
        put_statistics(fx, name, module.weight, doc, extreme=extreme)
    agent = tiny.Agent(ref, 0, fresh=True, sizes=TINY_PRESET)
    for part in ("world_model", "actor", "critic"):
        for key, parameter in getattr(agent, part).named_parameters():
            values = parameter.detach().double()
            name = f"fresh.{part}.{key}"
            doc = "[std, smallest, largest] of a fresh tiny preset; "
            numbers = [float(values.std(unbiased=False)), float(values.min()), float(values.max())]
            if numbers[1] == numbers[2]:
                fx.exact(name, np.array(numbers, np.float32), doc + "a constant")
            else:
                fx.put(
                    "output",
                    name,
                    np.array(numbers[:1], np.float32),
                    "[std] of a fresh tiny preset",
                    abs=0.0,
                    rel=0.01 + 6 / values.numel() ** 0.5,
                )
                fx.info(name + ".range", np.array(numbers[1:], np.float32), "[smallest, largest]")
