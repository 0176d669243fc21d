"""Fixtures F35, F41, F42 and F49: array shapes, three whole training steps, the player, a fresh model's heads."""

from unittest import mock

import numpy as np
import torch

from . import tiny
from .behaviour import BehaviourStep, local_values
from .container import Fixture, fixture
from .data import run_main
from .layers import pack2, random_shades
from .losses import LOGGED, Aggregator, call_train
from .reference import BridgeError
from .rssm import index_of, spied, watch
from .schedule import FixedPlayer
from .tiny import A, B, D, H, HEADS, HORIZON, S, T

N = T * B
METRICS = (
    *LOGGED,
    *"Loss/policy_loss Loss/value_loss Grads/world_model Grads/actor Grads/critic".split(),
)


@fixture(
    "F35",
    "horizon_shapes",
    "Shapes of every array of sheeprl's train after the world model's step, for H_im = 1 and 5.",
)
def f35(ref, fx):
    arrays = {
        "imagined_trajectories": "[tau][n][z,h], tau = 0..H_im",
        "imagined_actions": "[tau][n][A]; the last is never used",
        "predicted_values": "[tau][n][1]",
        "predicted_rewards": "[tau][n][1]; tau = 0 is never used",
        "continues": "[tau][n][1]",
        "lambda_values": "[tau][n][1], tau = 0..H_im-1",
        "discount": "[tau][n][1]; the last is never used",
        "baseline": "[tau][n][1]",
        "advantage": "[tau][n][1]",
        "objective": "[tau][n][1]",
        "entropy": "[tau][n]; the last is never used",
        "predicted_target_values": "[tau][n][1]",
    }
    fx.given("sizes", np.array([T, B, A, S * D + H], np.int32), "T, B, A, width of [z,h]")
    for horizon in (1, HORIZON):
        step = BehaviourStep(ref, 35, horizon=horizon)
        for key, doc in arrays.items():
            shape = np.array(step.local[key].shape, np.int32)
            fx.exact(f"h{horizon}.{key}", shape, f"shape, H_im = {horizon}: {doc}")
        used = [i.size for _, i in step.draws[2 * T :]]
        dream = sum(used) - len(HEADS) * (horizon + 1) * N
        text = "uniforms of the dream: H_im priors of N*S, H_im+1 actions of N per head"
        fx.exact(f"h{horizon}.draws", np.array(dream, np.int32), text)


class ImageEnv:
    """One environment that never ends, with an image and two action heads, for one tick of sheeprl's main."""

    def __init__(self, ref):
        gym = ref.dv3.gym
        self.single_observation_space = gym.spaces.Dict()
        self.single_action_space = gym.spaces.MultiDiscrete()
        self.single_action_space.nvec = np.array(HEADS)
        self.action_space = mock.Mock(
            shape=(1, len(HEADS)), sample=lambda: np.zeros((1, len(HEADS)), np.int64)
        )
        self.observation = {"rgb": np.zeros((1, 1, 72, 80), np.uint8)}

    def reset(self, seed):
        return self.observation, {}

    def step(self, actions):
        no = np.zeros(1, bool)
        return self.observation, np.zeros(1), no, no.copy(), {}

    def close(self):
        pass


class ThreeSteps:
    """sheeprl's main loop, one environment step and then three gradient steps on given batches."""

    N_STEPS = 3
    MARGIN = 2e-3  # of uniforms: weights of later steps may differ by a step of Adam

    def __init__(self, ref, seed, double=None):
        torch.manual_seed(seed)
        self.agent = agent = tiny.Agent(ref, seed)
        agent.world_model.continue_model.model[-1].bias.data += BehaviourStep.CONTINUE_BIAS
        self.networks = {
            "": agent.world_model,
            "actor.": agent.actor,
            "critic.": agent.critic,
            "target_critic.": agent.target_critic,
        }
        batches = [tiny.batch([seed, i]) for i in range(self.N_STEPS)]
        self.packed = np.stack([packed for _, packed in batches])
        self.data = {k: torch.stack([d[k] for d, _ in batches]) for k in batches[0][0]}
        if double:
            torch.set_default_dtype(torch.float64)
            for network in self.networks.values():
                network.double()
        self.before = self.snapshot()
        self.locals, self.states, self.draws, self.moments, self.metrics = [], [], [], [], []
        self.prior_logits = watch(agent.world_model.rssm).setdefault("prior_logits", [])
        self.continue_logits = []
        agent.world_model.continue_model.register_forward_hook(
            lambda m, i, o: self.continue_logits.append(o.detach())
        )
        queue = [u for draws in double.draws for u, _ in draws] if double else ()
        ref.sampler.start(seed, queue=queue, margin=self.MARGIN)
        original = ref.dv3.train

        def train(*args):
            args = list(args)
            if double:  # main has just made the batch float
                args[8] = {k: v.double() for k, v in args[8].items()}
            drawn = len(ref.sampler.draws)
            with spied(ref.loss, "kl_divergence", []) as kls:
                with local_values(original, self.locals):
                    original(*args)
            self.locals[-1]["k"] = kls[0][1].detach()
            self.draws.append(ref.sampler.draws[drawn:])
            self.states.append(self.snapshot())
            self.moments.append(torch.stack([args[-1].low.float(), args[-1].high.float()]))
            self.metrics.append(dict(aggregator.values))

        aggregator = Aggregator()
        aggregator.to = lambda device: aggregator
        keys = lambda *names: ref.utils.dotdict({"encoder": list(names), "decoder": list(names)})
        adam = lambda lr, eps: {
            "optimizer": {"lr": lr, "eps": eps, "weight_decay": 0, "betas": [0.9, 0.999]}
        }
        run_main(
            ref,
            ImageEnv(ref),
            1,
            n_envs=1,
            agent=(*self.networks.values(), FixedPlayer(1)),
            sampled=self.give,
            fabric=agent.fabric,
            train=train,
            aggregator=aggregator,
            instantiate=lambda config, params=None, **rest: (
                aggregator if params is None else torch.optim.Adam(params, **config)
            ),
            algo={
                "learning_starts": 1,  # the one action is random
                "replay_ratio": self.N_STEPS,
                "cnn_keys": keys("rgb"),
                "mlp_keys": keys(),
            },
            world_model=adam(1e-4, 1e-8),
            actor=adam(8e-5, 1e-5),
            critic={**adam(8e-5, 1e-5), "per_rank_target_network_update_freq": 1},
        )
        torch.set_default_dtype(torch.float32)
        clips = agent.fabric.clips
        self.clips = [clips[3 * i : 3 * i + 3] for i in range(self.N_STEPS)]

    def give(self, n):
        assert n == self.N_STEPS
        return self.data

    def snapshot(self):
        return {
            prefix + k: p.detach().clone()
            for prefix, network in self.networks.items()
            for k, p in network.named_parameters()
        }

    def gradients(self, i):
        prefixes = ("", "actor.", "critic.")
        return {p + k: g for p, c in zip(prefixes, self.clips[i]) for k, g in c["grads"].items()}

    def problems(self):
        k = torch.stack([local["k"] for local in self.locals])
        dreamt = torch.stack(self.continue_logits[1::2])
        w = torch.stack([local["discount"][-2] for local in self.locals])
        starts = self.prior_logits[:: 2 * T + HORIZON]
        return {
            "K too near 1": float((k - 1).abs().min()) < 2e-3,
            "K not on both sides of 1": not 0 < int((k < 1).sum()) < k.numel(),
            "continue logit near 0": float(dreamt.abs().min()) < 5e-3,
            "no dream ends": bool((dreamt[:, 1:] > 0).all()),
            "all dreams end early": float(w.sum(1).min()) < 4,
            "z0 nearly a tie": min(tiny.argmax_margin(x) for x in starts) < 1e-2,
        }


def put_step_inputs(fx, steps, i):
    name = f"step{i + 1}."
    fx.given(name + "packed", steps.packed[i], "[t][b][1][y][byte] frames, packed2")
    for key in ("actions", "rewards", "terminated", "truncated", "is_first"):
        fx.given(name + key, steps.data[key][i], "[t][b][..] rows as stored")
    draws = [u for u, _ in steps.draws[i]]
    text = "order of drawing: at every t u_prior (not used) then u_post; "
    fx.given(name + "u_prior", np.concatenate(draws[0 : 2 * T : 2]), "[t][b][s]; " + text)
    fx.given(name + "u_post", np.concatenate(draws[1 : 2 * T : 2]), "[t][b][s]")
    dream, heads = draws[2 * T :], len(HEADS)
    action = [dream[:heads]] + [
        dream[heads + tau * (1 + heads) + 1 :][:heads] for tau in range(HORIZON)
    ]
    prior = [dream[heads + tau * (1 + heads)] for tau in range(HORIZON)]
    text = "[tau][n][head], tau = 0..H_im; from tau = 1 on after u_dream of that tau"
    fx.given(name + "u_action", np.array(action)[:, :, 0].transpose(0, 2, 1), text)
    fx.given(name + "u_dream", np.concatenate(prior), "[tau-1][n][s]")


def put_step_outputs(fx, steps, i):
    name, tolerance = f"step{i + 1}.", 1e-5 if i == 0 else 1e-4
    for key in METRICS:
        rel = 1e-4 if key.startswith("Grads") else tolerance
        fx.close(name + key, steps.metrics[i][key], "as sheeprl logs it", abs=tolerance, rel=rel)
    fx.close(name + "moments", steps.moments[i], "low, high after the step", abs=1e-6, rel=1e-4)
    gradients = steps.gradients(i)
    if i == 0:
        for key, value in gradients.items():
            later = key.startswith(("actor.", "critic."))
            doc = "before clipping"
            fx.grad(f"{name}grad.{key}", value, doc, l2=2e-4 if later else 1e-4)
    norms = torch.stack([g.norm() for g in gradients.values()])
    text = "L2 norm of each gradient before clipping, in the order of param.* without target_critic"
    fx.close(name + "grad_norms", norms, text, abs=1e-6, rel=1e-3)
    was = steps.states[i - 1] if i else steps.before
    trained = [k for k in was if not k.startswith("target_critic.")]
    moved = torch.stack([(steps.states[i][k] - was[k]).norm() for k in trained])
    text = "L2 norm of each tensor's change in this step, same order"
    fx.close(name + "change_norms", moved, text, abs=1e-6, rel=2e-2)


def put_three_steps(fx, steps):
    for key, value in steps.before.items():
        fx.given("param." + key, value, "before step 1; target_critic.* is overwritten at once")
    for i in range(steps.N_STEPS):
        put_step_inputs(fx, steps, i)
        put_step_outputs(fx, steps, i)
    for key, value in steps.states[-1].items():
        if key.startswith("target_critic."):
            fx.close("after." + key, value, "after step 3", abs=1e-5)
        else:
            doc = "after step 3, minus param.*"
            fx.grad("change." + key, value - steps.before[key], doc, l2=5e-2)


@fixture(
    "F41",
    "train_step_x3",
    "Three consecutive whole steps of sheeprl's main and train, image only, a batch each: target update, "
    "world model, dream, actor, critic.",
)
def f41(ref, fx):
    bad = []
    for seed in range(4100, 4400):
        steps = ThreeSteps(ref, seed)
        bad = [k for k, is_bad in steps.problems().items() if is_bad]
        if bad:
            continue
        made = Fixture(fx.code, fx.name, fx.about)
        put_three_steps(made, steps)
        wide = Fixture(fx.code, fx.name, fx.about, narrow=True)
        put_three_steps(wide, ThreeSteps(ref, seed, double=steps))
        bad = [f"{name} uses {used:.2g}" for name, used in made.departures(wide, 0.2)]
        if not bad:
            fx.tensors = made.tensors
            return
    raise BridgeError(f"F41: no clean seed, last: {', '.join(bad)}")


def play(ref, agent, frames, greedy):
    """Eight steps of sheeprl's player in two environments; environment 1 begins a new episode at step 5."""
    player, seen = agent.player, []
    player.num_envs = 2
    ref.sampler.start(4203 + greedy)
    rows = {"embedding": [], "h": [], "z": [], "actions": [], "h_before": [], "za_before": []}

    def keep_inputs(module, inputs, output):
        rows["za_before"].append(inputs[0].clone())
        rows["h_before"].append(inputs[1].clone())

    hooks = [
        player.encoder.register_forward_hook(lambda m, i, o: rows["embedding"].append(o)),
        player.rssm.recurrent_model.register_forward_hook(keep_inputs),
    ]
    for i, head in enumerate(player.actor.mlp_heads):
        keep = rows.setdefault(f"logits{i}", [])
        hooks.append(head.register_forward_hook(lambda m, i, o, keep=keep: keep.append(o)))
    with torch.inference_mode():
        player.init_states()
        for t in range(len(frames)):
            if t == 5:
                player.init_states([1])
            obs = {"rgb": (85 * frames[t]).astype(np.uint8)}
            obs = ref.dv3_utils.prepare_obs(agent.fabric, obs, cnn_keys=["rgb"], num_envs=2)
            drawn = len(ref.sampler.draws)
            seen.append(player.get_actions(obs, greedy=greedy))
            rows["h"].append(player.recurrent_state.clone())
            rows["z"].append(player.stochastic_state.clone())
            rows["actions"].append(player.actions.clone())
            assert len(ref.sampler.draws) - drawn == (1 if greedy else 1 + len(HEADS))
    for hook in hooks:
        hook.remove()
    rows = {k: torch.cat(v) for k, v in rows.items()}
    rows["index"] = torch.stack(
        [torch.stack([index_of(head[0]) for head in step], -1) for step in seen]
    )
    return rows, list(ref.sampler.draws)


def put_player(fx, agent, frames, sampled, draws, greedy, greedy_draws):
    for prefix, module in (
        ("encoder.", agent.world_model.encoder),
        ("rssm.", agent.world_model.rssm),
        ("actor.", agent.actor),
    ):
        fx.params(module, names=prefix, doc="sheeprl's names")
    fx.given("packed", pack2(frames), "[t][env][1][y][byte]")
    fx.given("reset", reset_mask(), "[t][env] 1 = h, z and action start anew")
    per = 1 + len(HEADS)
    fx.given("u_post", np.concatenate([u for u, _ in draws[0::per]]), "[t][env][s]; drawn first")
    heads = [np.concatenate([u for u, _ in draws[1 + i :: per]]) for i in range(len(HEADS))]
    fx.given("u_action", np.stack(heads, -1), "[t][env][head]")
    fx.close("za_before", sampled["za_before"], "[t][env] z, a that the recurrent model gets")
    fx.close("h_before", sampled["h_before"], "[t][env][H] that it gets", abs=1e-5)
    fx.close("embedding", sampled["embedding"], "[t][env][E]", abs=1e-5)
    fx.close("h", sampled["h"], "[t][env][H] after the step", abs=1e-5)
    fx.exact("z", index_of(sampled["z"].reshape(8, 2, S, D)), "[t][env][s] class")
    for i in range(len(HEADS)):
        fx.close(f"logits{i}", sampled[f"logits{i}"], "[t][env], before unimix", abs=1e-5)
    fx.exact("action", sampled["index"], "[t][env][head] class, sampled (also in evaluation)")
    u = np.concatenate([u for u, _ in greedy_draws])
    fx.given("greedy.u_post", u, "[t][env][s]; the same frames again, actions are the mode")
    fx.exact("greedy.z", index_of(greedy["z"].reshape(8, 2, S, D)), "[t][env][s] class")
    fx.close("greedy.h", greedy["h"], "[t][env][H]", abs=1e-5)
    fx.exact("greedy.action", greedy["index"], "[t][env][head] the likeliest class")


def reset_mask():
    mask = np.zeros((8, 2), np.uint8)
    mask[0], mask[5, 1] = 1, 1
    return mask


@fixture(
    "F42",
    "player_episode",
    "sheeprl's PlayerDV3 for 8 steps in two environments, the second one reset before step 5; sampled and greedy.",
)
def f42(ref, fx):
    for seed in range(4200, 4300):
        torch.manual_seed(seed)
        agent = tiny.Agent(ref, seed)
        frames = random_shades([seed, 1], 8, 2, 1, 72, 80)
        starts = []
        hook = agent.player.rssm.transition_model.register_forward_hook(
            lambda m, i, o: starts.append(o.detach())
        )
        sampled, draws = play(ref, agent, frames, False)
        greedy, greedy_draws = play(ref, agent, frames, True)
        hook.remove()
        top = [greedy[f"logits{i}"].topk(2, -1).values for i in range(len(HEADS))]
        gap = min(float((x[..., 0] - x[..., 1]).min()) for x in top)
        if tiny.argmax_margin(starts[0]) > 1e-2 and gap > 1e-3:
            put_player(fx, agent, frames, sampled, draws, greedy, greedy_draws)
            return
    raise BridgeError("F42: no clean seed")


@fixture(
    "F49",
    "zero_heads",
    "sheeprl's train on a fresh model: reward and critic heads are zero, so their losses do not depend on the weights.",
)
def f49(ref, fx):
    agent = tiny.Agent(ref, 49, fresh=True)
    data, _ = tiny.batch(4901)
    data["terminated"][:] = 0
    # every dream goes on: how many do, otherwise depends on the random continue head
    agent.world_model.continue_model.model[-1].bias.data += 20.0
    ref.sampler.start(4902)
    with local_values(ref.dv3.train, []) as calls:
        _, aggregator = call_train(ref, agent, data)
    local = calls[0]
    reward, clips = local["pr"], agent.fabric.clips
    assert not reward.logits.any() and not local["qv"].logits.any()
    fx.given("rewards", data["rewards"].squeeze(-1), "[t][b]")
    fx.close("l_rew", -reward.log_prob(data["rewards"]), "[t][b], all ln 255", abs=1e-5)
    fx.close("Loss/reward_loss", aggregator.values["Loss/reward_loss"], "ln 255", abs=1e-5)
    fx.close("reward_mean", reward.mean.squeeze(-1), "[t][b], rounding noise", abs=1e-6, rel=0)
    bias = clips[0]["grads"]["reward_model._model.6.bias"]
    fx.grad("dreward_bias", bias, "[255] gradient of the reward head's bias: 1/255 - mean of q")
    value = local["predicted_values"][:1, :, 0]
    fx.close("value", value, "[1][n] of the start states, rounding noise", abs=1e-6, rel=0)
    target = local["predicted_target_values"][0, :, 0]
    fx.close("target_value", target, "[n] of the start states, rounding noise", abs=1e-6, rel=0)
    loss = -local["qv"].log_prob(local["lambda_values"].detach())
    fx.close("l_return", loss, "[tau][n], all ln 255 whatever the return", abs=1e-5)
    w = local["discount"][:-1].mean()
    fx.close("w_mean", w, "where no dream ends: mean of gamma^tau, tau = 0..4", abs=1e-6)
    text = "2 ln 255 times w_mean where no dream ends"
    fx.close("Loss/value_loss", aggregator.values["Loss/value_loss"], text, abs=1e-4)
