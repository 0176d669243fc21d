"""Fixtures F40 and F44: the target critic's updates and the number of gradient steps, by sheeprl's main loop and Ratio."""

import warnings
from unittest import mock

import numpy as np
import torch
from torch import nn

from .container import fixture
from .data import run_main
from .layers import normal
from .tiny import A


class EndlessEnvs:
    """Environments that never end, as gymnasium's vector API shows them to sheeprl's main."""

    def __init__(self, ref, n_envs):
        gym = ref.dv3.gym
        self.n_envs = n_envs
        self.single_action_space = mock.Mock(spec=["n"], n=A)
        self.single_observation_space = gym.spaces.Dict()
        sample = lambda: np.zeros(n_envs, np.int64)
        self.action_space = mock.Mock(shape=(n_envs,), sample=sample)

    def observation(self):
        return {"id": np.zeros((self.n_envs, 1), np.float32)}

    def reset(self, seed):
        return self.observation(), {}

    def step(self, actions):
        no = np.zeros(self.n_envs, bool)
        return self.observation(), np.zeros(self.n_envs), no, no.copy(), {}

    def close(self):
        pass


class FixedPlayer:
    """A player that always takes action 0."""

    def __init__(self, n_envs):
        self.n_envs = n_envs

    def init_states(self, reset_envs=None):
        pass

    def get_actions(self, obs, greedy=False, mask=None):
        return (torch.eye(A)[:1].repeat(self.n_envs, 1).unsqueeze(0),)


class Theta(nn.Module):
    """A critic of two tensors, 7 and 12 values."""

    def __init__(self, values):
        super().__init__()
        self.a, self.b = (nn.Parameter(t.clone()) for t in values.split((7, 12)))

    def flat(self):
        return torch.cat([self.a.detach(), self.b.detach()])

    def set(self, values):
        for parameter, value in zip((self.a, self.b), values.split((7, 12))):
            parameter.data = value.clone()


@fixture(
    "F40",
    "target_ema",
    "The target critic's updates in sheeprl's main loop, five gradient steps, every step and every second step.",
)
def f40(ref, fx):
    steps = 5
    theta, target0 = normal(4001, steps, 19), normal(4002, 19)
    fx.given(
        "theta", theta, "[g][19] critic when gradient step g begins; tensors of 7 and 12 values"
    )
    fx.given("target0", target0, "[19] target before step 0 (then overwritten: tau = 1 at g = 0)")
    for freq in (1, 2):
        critic, target, seen = Theta(theta[0]), Theta(target0), []
        object.__setattr__(critic, "module", critic)  # the wrapper sheeprl unwraps

        def train(*args):
            seen.append(target.flat())
            assert torch.equal(critic.flat(), theta[len(seen) - 1])
            critic.set(theta[min(len(seen), steps - 1)])

        agent = (nn.Module(), nn.Module(), critic, target, FixedPlayer(1))
        algo = {"learning_starts": 0, "replay_ratio": 1, "per_rank_pretrain_steps": 0}
        critic_cfg = {"per_rank_target_network_update_freq": freq}
        sampled = {"id": torch.zeros(1, 1, 1)}
        run_main(
            ref,
            EndlessEnvs(ref, 1),
            steps,
            n_envs=1,
            agent=agent,
            algo=algo,
            critic=critic_cfg,
            train=train,
            sampled=lambda n: {k: v.repeat(n, 1, 1) for k, v in sampled.items()},
        )
        assert len(seen) == steps
        fx.close(
            f"freq{freq}.target",
            torch.stack(seen),
            f"[g][19] after the update before step g, tau 0.02, if g mod {freq} = 0; [0] is a copy",
            abs=1e-7,
            rel=2e-7,
        )


RATIOS = (0.015625, 0.0625, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 3.0)
CALLS = 1000  # of which the first 64 are kept one by one

LOOPS = (  # replay_ratio, environments, learning_starts, pretrain steps
    (0.3, 1, 0, 0),
    (0.3, 1, 1, 0),
    (0.3, 1, 10, 0),
    (0.3, 4, 10, 0),
    (1.0, 4, 16, 0),
    (0.0625, 4, 65, 0),
    (0.5, 1, 7, 0),
    (0.5, 1, 7, 1),
    (1.5, 4, 33, 100),
    (1.0, 3, 10, 2),
    (0.0, 1, 4, 0),
)


@fixture(
    "F44",
    "ratio",
    "sheeprl's Ratio over 1000 calls, with and without pretraining, saved and restored; and its main loop's schedule.",
)
def f44(ref, fx):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pretraining longer than the first step: asked for
        put_ratio_calls(ref, fx)
        put_loop_steps(ref, fx)


def put_ratio_calls(ref, fx):
    cases, firsts, totals, previous = [], [], [], []
    for ratio in RATIOS:
        for stride in (1, 4):
            for pretrain in (0, 2, 100):
                scheduler = ref.utils.Ratio(ratio, pretrain_steps=pretrain)
                counts, prev = [], []
                for call in range(1, CALLS + 1):
                    if call == 500:  # as a checkpoint would
                        state = scheduler.state_dict()
                        scheduler = ref.utils.Ratio(ratio).load_state_dict(state)
                    counts.append(scheduler(call * stride))
                    prev.append(scheduler._prev)
                cases.append((stride, pretrain))
                firsts.append(counts[:64])
                totals.append(sum(counts))
                previous.append((prev[0], prev[63], prev[-1]))
    n = len(cases) // len(RATIOS)
    fx.put("input", "ratio", np.repeat(np.array(RATIOS), n), "[case] as double", wide=True)
    columns = np.array(cases, np.int32).T
    fx.given("stride", columns[0], "[case] the scheduler is called with stride, 2*stride, ...")
    fx.given("pretrain", columns[1], "[case] pretrain steps; 0 = none")
    fx.exact("steps", np.array(firsts, np.int32), "[case][64] results of the first 64 calls")
    fx.exact("total", np.array(totals, np.int32), "[case] sum of 1000 calls; state restored at 500")
    fx.put(
        "output",
        "prev",
        np.array(previous, np.float64),
        "[case][3] the scheduler's remembered step after calls 1, 64 and 1000, as double",
        wide=True,
        abs=0.0,
        rel=0.0,
    )


def put_loop_steps(ref, fx):
    iterations, rows = 48, []
    for ratio, n_envs, learning_starts, pretrain in LOOPS:
        counts = []

        def sampled(n):
            counts.append(n)
            return {"id": torch.zeros(n, 1, 1)}

        made = []
        player = FixedPlayer(n_envs)
        critic = Theta(torch.zeros(19))
        object.__setattr__(critic, "module", critic)
        agent = (nn.Module(), nn.Module(), critic, Theta(torch.zeros(19)), player)
        run_main(
            ref,
            EndlessEnvs(ref, n_envs),
            iterations,
            n_envs=n_envs,
            agent=agent,
            algo={
                "learning_starts": learning_starts,
                "replay_ratio": ratio,
                "per_rank_pretrain_steps": pretrain,
            },
            critic={"per_rank_target_network_update_freq": 1},
            train=lambda *args: None,
            sampled=sampled,
            each_iteration=lambda: made.append(sum(counts)),
        )
        rows.append(np.diff(np.array(made + [sum(counts)])))
    ratio, n_envs, learning_starts, pretrain = zip(*LOOPS)
    fx.put("input", "loop.ratio", np.array(ratio), "[case] replay_ratio as double", wide=True)
    fx.given("loop.n_envs", np.array(n_envs, np.int32), "[case] P, policy steps per iteration")
    fx.given("loop.learning_starts", np.array(learning_starts, np.int32), "[case] in policy steps")
    fx.given("loop.pretrain", np.array(pretrain, np.int32), "[case] per_rank_pretrain_steps")
    fx.exact(
        "loop.steps",
        np.array(rows, np.int32),
        "[case][48] gradient steps at the end of iteration 1, 2, ...",
    )
