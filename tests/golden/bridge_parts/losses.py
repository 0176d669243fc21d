"""Fixtures F26-F31: KL, reconstruction terms, the world-model loss and its gradients, Adam, entropies."""

import numpy as np
import torch
from torch.distributions import Independent, OneHotCategorical

from . import tiny
from .container import fixture
from .layers import TWO_CHANNELS, leaf, normal
from .reference import BridgeError
from .rssm import index_of, put_layers, spied, unimix, vector_rssm, watch
from .tiny import B, D, S, T


def nothing(ref, *shape):
    """A distribution and a target whose loss is zero, for the terms of reconstruction_loss that are not looked at."""
    return ref.distribution.MSEDistribution(torch.zeros(*shape, 1), dims=1), torch.zeros(*shape, 1)


def kl_only(ref, prior, post, free_nats):
    """sheeprl's reconstruction_loss with every other term zero: (total, mean K, K per row)."""
    dist, target = nothing(ref, *prior.shape[:2])
    with spied(ref.loss, "kl_divergence", []) as calls:
        total, kl, *_ = ref.loss.reconstruction_loss(
            {"x": dist}, {"x": target}, dist, target, prior, post, kl_free_nats=free_nats
        )
    return total, kl, calls[0][1]


@fixture(
    "F26",
    "kl_free_nats",
    "The KL part of reconstruction_loss: both directions, free nats per (t,b), weights 0.5 and 0.1.",
)
def f26(ref, fx):
    rssm = vector_rssm(ref, 26)
    shape = (2, 4, S, D)
    post = normal(2601, *shape, scale=1.5)
    distance = torch.tensor([0.05, 0.3, 1.0, 2.0]).reshape(1, 4, 1, 1)
    post, prior = leaf(post), leaf(post + distance * normal(2602, *shape))
    lam_post, lam_prior = (unimix(ref, rssm, x)[0].view(shape) for x in (post, prior))
    total, kl, k = kl_only(ref, lam_prior, lam_post, 1.0)
    total.backward()
    if float((k - 1).abs().min()) < 1e-3 or not 0 < int((k < 1).sum()) < 8:
        raise BridgeError("F26: choose another seed, K is too near 1 or all on one side of it")
    fx.given("post_logits", post, "[t][b][s][d], before unimix")
    fx.given("prior_logits", prior, "[t][b][s][d], before unimix")
    fx.close("lambda_post", lam_post, abs=1e-6)
    fx.close("lambda_prior", lam_prior, abs=1e-6)
    fx.close("k", k, "[t][b] KL summed over s and d, without free nats", abs=1e-6)
    fx.exact("below", (k < 1.0), "[t][b] 1 where K < 1: no gradient from there")
    fx.close("kl_mean", kl, "mean of k (State/kl)", abs=1e-6)
    fx.close("state_loss", total, "mean of 0.5*max(K,1) + 0.1*max(K,1) (Loss/state_loss)", abs=1e-6)
    fx.grad("dpost_logits", post.grad, "of state_loss, from the 0.1 term only")
    fx.grad("dprior_logits", prior.grad, "of state_loss, from the 0.5 term only")

    post_tie, prior_tie = leaf(post[:1, 3:].detach()), leaf(prior[:1, 3:].detach())
    lam_post, lam_prior = (unimix(ref, rssm, x)[0].view(1, 1, S, D) for x in (post_tie, prior_tie))
    free = float(k[0, 3])
    total, _, k_tie = kl_only(ref, lam_prior, lam_post, free)
    if float(k_tie) != free:
        raise BridgeError("F26: the tie is not exact")
    total.backward()
    fx.info(
        "tie.k",
        k_tie,
        "row [0][3] alone with free nats = its own K: give the code its own K as free nats",
    )
    fx.grad(
        "tie.dpost_logits",
        post_tie.grad,
        "half the gradient that it has without free nats, [1][1][s][d]",
    )
    fx.grad(
        "tie.dprior_logits",
        prior_tie.grad,
        "half the gradient that it has without free nats, [1][1][s][d]",
    )


@fixture(
    "F27",
    "recon_terms",
    "Observation and continue terms of reconstruction_loss with their gradients.",
)
def f27(ref, fx):
    image = leaf(normal(2701, 2, 3, 1, 8, 12))
    target = normal(2702, 2, 3, 1, 8, 12, scale=0.3)
    vector = normal(2703, 2, 3, 5, scale=8.0)
    offset = normal(2704, 2, 3, 5)
    offset[0, 0], offset[1, 2, :3] = 5e-5, 5e-5  # squared: 2.5e-9, below 1e-8
    offset[0, 1, 0] = 2e-4  # squared: 4e-8, above
    head = leaf(ref.utils.symlog(vector) + offset)
    logit = leaf(torch.tensor([[-30.0, -2.0, -0.3], [0.4, 3.0, 30.0]]).reshape(2, 3, 1))
    con = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]).reshape(2, 3, 1)
    po = {
        "rgb": ref.distribution.MSEDistribution(image, dims=3),
        "vec": ref.distribution.SymlogDistribution(head, dims=1),
    }
    pc = Independent(ref.distribution.BernoulliSafeMode(logits=logit), 1)
    dist, zero = nothing(ref, 2, 3)
    same = torch.zeros(2, 3, S, D)
    total, _, _, _, observation, continue_ = ref.loss.reconstruction_loss(
        po, {"rgb": target, "vec": vector}, dist, zero, same, same, pc=pc, continue_targets=con
    )
    total.backward()
    fx.given("image", image, "[t][b][1][8][12] prediction")
    fx.given("image_target", target)
    fx.given("vector", head, "[t][b][5] prediction, in symlog space")
    fx.given("vector_target", vector, "raw values")
    fx.given("continue_logit", logit, "[t][b][1]")
    fx.given("continue_target", con, "1 - terminated")
    fx.close(
        "l_image", -po["rgb"].log_prob(target), "[t][b] sum of squares, no half, no mean", abs=1e-5
    )
    fx.close(
        "l_vector", -po["vec"].log_prob(vector), "[t][b], squares below 1e-8 count 0", abs=1e-6
    )
    fx.close("l_con", -pc.log_prob(con), "[t][b]", abs=1e-6)
    fx.close("observation_loss", observation, "mean of l_image + l_vector", abs=1e-5)
    fx.close("continue_loss", continue_, "mean of l_con", abs=1e-6)
    fx.grad("dimage", image.grad, "of the means")
    fx.close(
        "dvector", head.grad, "of the means; exactly 0 where the square is below 1e-8", abs=1e-6
    )
    fx.grad("dcontinue_logit", logit.grad, "of the means")


# Chosen among clean seeds for little rounding noise (against the same run in float64: gradients within 1.3e-5 relative L2,
# a seventh of the tolerance), with K on both sides of the free nats and a norm that is clipped.
IMAGE_SEED, VECTOR_SEED = 2860, 2935


class Aggregator:
    disabled = False

    def __init__(self):
        self.values = {}

    def update(self, name, value):
        self.values[name] = value


LOGGED = (
    "Loss/world_model_loss Loss/observation_loss Loss/reward_loss Loss/continue_loss Loss/state_loss "
    "State/kl State/post_entropy State/prior_entropy"
).split()


def call_train(ref, agent, data):
    """sheeprl's train, once, with its optimisers; returns the arguments of reconstruction_loss and the aggregator."""
    world, actor, critic = (
        torch.optim.Adam(module.parameters(), lr=lr, eps=eps, weight_decay=0, betas=[0.9, 0.999])
        for module, lr, eps in (
            (agent.world_model, 1e-4, 1e-8),
            (agent.actor, 8e-5, 1e-5),
            (agent.critic, 8e-5, 1e-5),
        )
    )
    aggregator = Aggregator()
    moments = ref.dv3_utils.Moments(0.99, 1.0, 0.05, 0.95)
    networks = (agent.world_model, agent.actor, agent.critic, agent.target_critic)
    rest = (
        world,
        actor,
        critic,
        data,
        aggregator,
        agent.cfg,
        agent.continuous,
        agent.heads,
        moments,
    )
    with spied(ref.dv3, "reconstruction_loss", []) as losses:
        ref.dv3.train(agent.fabric, *networks, *rest)
    assert len(losses) == 1
    return losses[0][0], aggregator


class WorldModelStep:
    """One call of sheeprl's train on a tiny agent, with everything of its world-model half kept."""

    def __init__(self, ref, seed, vector):
        torch.manual_seed(seed)
        self.agent = agent = tiny.Agent(ref, seed, image=True, vector=vector)
        wm = self.wm = agent.world_model
        self.before = {k: p.detach().clone() for k, p in wm.named_parameters()}
        data, self.packed = tiny.batch(seed, vector)
        self.data = {k: v.clone() for k, v in data.items()}
        self.layers, self.encoded, self.hidden = watch(wm.rssm), [], {}
        wm.encoder.register_forward_hook(lambda m, i, o: self.encoded.append(o.detach()))
        for name, head in (
            ("reward_hidden", wm.reward_model),
            ("continue_hidden", wm.continue_model),
        ):
            head._model[5].register_forward_hook(
                lambda m, i, o, name=name: self.hidden.setdefault(name, []).append(o.detach())
            )
        ref.sampler.start(seed)
        with spied(ref.loss, "kl_divergence", []) as kls:
            losses, aggregator = call_train(ref, agent, data)
        self.after = {
            k: p.detach().clone() for k, p in wm.named_parameters()
        }  # only that one step touches them
        self.metrics = aggregator.values
        self.po, self.observed, self.pr, self.rewards, self.prior, self.post = losses[:6]
        self.pc, self.continues = losses[10:12]
        self.k = kls[0][1].detach()
        clip = agent.fabric.clips[0]
        assert clip["module"] is wm
        self.grads, self.norm = clip["grads"], clip["norm"]
        draws = ref.sampler.draws[: 2 * T]
        self.u_prior = np.concatenate([u for u, _ in draws[0::2]])
        self.u_post = np.concatenate([u for u, _ in draws[1::2]])
        self.post_index = np.concatenate([i for _, i in draws[1::2]])

    def problems(self, ref):
        """Decision points that rounding could flip."""
        away = self.rewards[self.rewards != 0]
        distance = (
            (ref.utils.symlog(away).reshape(-1, 1) - self.pr.bins).abs().min()
            if away.numel()
            else 1
        )
        return {
            "K too near 1": float((self.k - 1).abs().min()) < 1e-3,
            "K not on both sides of 1": not 0 < int((self.k < 1).sum()) < T * B,
            "continue logit near 0": float(self.pc.base_dist.logits.abs().min()) < 1e-3,
            "reward near a bin": float(distance) < 1e-4,
            "z0 nearly a tie": tiny.argmax_margin(self.layers["prior_logits"][0]) < 1e-3,
        }


def world_model_step(ref, seed, vector=False):
    """The first seed from the given one on whose batch keeps away from decision points."""
    for candidate in range(seed, seed + 200):
        step = WorldModelStep(ref, candidate, vector)
        problems = [k for k, bad in step.problems(ref).items() if bad]
        if not problems:
            assert set(step.before) == set(step.grads)
            return step
    raise BridgeError(f"no seed from {seed} on is clean, last: {', '.join(problems)}")


def put_step_inputs(fx, step, vector):
    for key, value in step.before.items():
        fx.given("param." + key, value, "before the step, sheeprl's name")
    fx.given("packed", step.packed, "[t][b][1][y][byte] frames, packed2")
    for key, doc in {
        "actions": "[t][b][A] as stored, one-hot per head; 0 on ended rows",
        "rewards": "[t][b][1]",
        "terminated": "[t][b][1], 1 at t=1 b=1",
        "truncated": "[t][b][1], 1 at t=3 b=2; not used by the loss",
        "is_first": "[t][b][1] as stored; step 0 is forced to 1",
    }.items():
        fx.given(key, step.data[key], doc)
    if vector:
        fx.given("senses", step.data["senses"], "[t][b][4] raw values of the vector key")
    fx.given(
        "u_prior", step.u_prior, "[t][b][s], drawn before u_post at every t; its sample is not used"
    )
    fx.given("u_post", step.u_post, "[t][b][s]")


def put_step_values(fx, step, vector, keep_image=True):
    layers = {k: (v[: 2 * T] if k.startswith("prior") else v[:T]) for k, v in step.layers.items()}
    rows = lambda key: torch.cat(layers[key]).reshape(T, B, -1)
    fx.close(
        "embedding",
        step.encoded[0],
        "[t][b][E] encoder output" + (", [cnn, mlp]" if vector else ""),
        abs=1e-5,
    )
    fx.close(
        "z_bar_a_bar",
        rows("za"),
        "[t][b][S*D+A], input of the recurrent model after is_first",
        abs=1e-6,
    )
    fx.close("h_bar", rows("hbar"), "[t][b][H], state before the step after is_first", abs=1e-5)
    put_layers(fx, layers, (T, B))
    fx.close("h", rows("h"), "[t][b][H]", abs=1e-5)
    fx.exact("post_index", step.post_index, "[t][b][s] sampled class")
    fx.close("lambda_prior", step.prior, "[t][b][s][d]", abs=1e-5)
    fx.close("lambda_post", step.post, "[t][b][s][d]", abs=1e-5)
    fx.close(
        "layer.reward_hidden",
        step.hidden["reward_hidden"][0],
        "last hidden layer of the reward head",
        abs=1e-5,
    )
    fx.close(
        "layer.continue_hidden",
        step.hidden["continue_hidden"][0],
        "last hidden layer of the continue head",
        abs=1e-5,
    )
    if keep_image:
        fx.close("reconstruction", step.po["rgb"]._mode, "[t][b][1][y][x]", abs=TWO_CHANNELS)
    if vector:
        fx.close("vector_out", step.po["senses"]._mode, "[t][b][4], in symlog space", abs=1e-5)
        fx.close("l_image", -step.po["rgb"].log_prob(step.observed["rgb"]), "[t][b]", abs=1e-4)
        fx.close(
            "l_vector", -step.po["senses"].log_prob(step.observed["senses"]), "[t][b]", abs=1e-5
        )
    fx.close("reward_logits", step.pr.logits, "[t][b][255]", abs=1e-5)
    fx.close("continue_logits", step.pc.base_dist.logits, "[t][b][1]", abs=1e-5)
    l_obs = -sum(step.po[k].log_prob(step.observed[k]) for k in step.po)
    fx.close("l_obs", l_obs, "[t][b] sum over pixels" + (" and vector" if vector else ""), abs=1e-4)
    fx.close("l_rew", -step.pr.log_prob(step.rewards), "[t][b]", abs=1e-5)
    fx.close("l_con", -step.pc.log_prob(step.continues), "[t][b]", abs=1e-5)
    fx.close("k", step.k, "[t][b] KL(post || prior), raw", abs=1e-5)
    for name in LOGGED:
        fx.close(name, step.metrics[name], "as sheeprl logs it", abs=1e-5)


def put_step_gradients(fx, step):
    for key, value in step.grads.items():
        fx.grad("grad." + key, value, "before clipping")
    fx.close("Grads/world_model", step.norm, "global L2 norm before clipping", abs=0, rel=1e-4)
    coefficient = torch.clamp(1000.0 / (step.norm + 1e-6), max=1.0)
    fx.close("clip_coefficient", coefficient, "min(1, 1000/(norm + 1e-6))", abs=0, rel=1e-4)
    for key, value in step.after.items():
        fx.put(
            "output",
            "after." + key,
            value,
            "after Adam (lr 1e-4, eps 1e-8); compare only where |grad| >= 1e-6 of its tensor's RMS",
            abs=2e-6,
            rel=1e-6,
        )


@fixture(
    "F28",
    "wm_loss",
    "World-model half of sheeprl's train on the tiny image-only batch: inputs, intermediates, logged values.",
)
def f28(ref, fx):
    step = world_model_step(ref, IMAGE_SEED)
    put_step_inputs(fx, step, False)
    put_step_values(fx, step, False)


@fixture(
    "F28V",
    "wm_loss_vector",
    "As F28 with a vector observation of width 4 beside the image (no reconstruction kept).",
)
def f28v(ref, fx):
    step = world_model_step(ref, VECTOR_SEED, vector=True)
    put_step_inputs(fx, step, True)
    put_step_values(fx, step, True, keep_image=False)


@fixture(
    "F29",
    "wm_grads",
    "Gradients, norm, clipping and one Adam step for the inputs and parameters of F28.",
)
def f29(ref, fx):
    put_step_gradients(fx, world_model_step(ref, IMAGE_SEED))


@fixture(
    "F29V",
    "wm_grads_vector",
    "Gradients, norm, clipping and one Adam step for the inputs and parameters of F28V.",
)
def f29v(ref, fx):
    put_step_gradients(fx, world_model_step(ref, VECTOR_SEED, vector=True))


@fixture(
    "F30",
    "adam",
    "torch.optim.Adam with sheeprl's settings over five given gradients; and clip_grad_norm_.",
)
def f30(ref, fx):
    sizes = (7, 12, 5)
    start = normal(3001, sum(sizes))
    grads = normal(3002, 5, sum(sizes)) * torch.logspace(-7, 2, sum(sizes))
    grads[:, -5:] = 0.0
    fx.given(
        "theta0", start, "24 values: tensors of 7, 12 and 5; the last one's gradient is always 0"
    )
    fx.given("grad", grads, "[k][24], k = 1..5")
    for name, lr, eps in (("world", 1e-4, 1e-8), ("actor", 8e-5, 1e-5)):
        tensors = [torch.nn.Parameter(t.clone()) for t in start.split(sizes)]
        optimizer = torch.optim.Adam(tensors, lr=lr, eps=eps, weight_decay=0, betas=[0.9, 0.999])
        theta, mu, nu = [], [], []
        for row in grads:
            for tensor, grad in zip(tensors, row.split(sizes)):
                tensor.grad = grad.clone()
            optimizer.step()
            states = [optimizer.state[t] for t in tensors]
            theta.append(torch.cat([t.detach().clone() for t in tensors]))
            mu.append(torch.cat([s["exp_avg"].clone() for s in states]))
            nu.append(torch.cat([s["exp_avg_sq"].clone() for s in states]))
        text = f"[k][24] after step k, lr {lr:g}, eps {eps:g}"
        fx.close(name + ".theta", torch.stack(theta), text, abs=2e-7, rel=1e-6)
        fx.close(
            name + ".mu",
            torch.stack(mu),
            "first moment (terms of either sign cancel)",
            abs=1e-12,
            rel=1e-5,
        )
        fx.close(name + ".nu", torch.stack(nu), "second moment", abs=1e-20, rel=2e-6)
    for name, values, limit in (("above", [3000.0, 4000.0], 1000.0), ("below", [3.0, 4.0], 1000.0)):
        parameter = torch.nn.Parameter(torch.zeros(2))
        parameter.grad = torch.tensor(values)
        norm = torch.nn.utils.clip_grad_norm_(
            [parameter], limit, norm_type=2.0, error_if_nonfinite=False
        )
        fx.given(f"clip_{name}.grad", values_array(values), f"limit {limit:g}")
        fx.close(f"clip_{name}.norm", norm, "L2 norm before clipping", abs=0, rel=1e-6)
        fx.close(
            f"clip_{name}.clipped",
            parameter.grad,
            "grad*min(1, limit/(norm + 1e-6))",
            abs=0,
            rel=1e-6,
        )


def values_array(values):
    return np.array(values, dtype=np.float32)


@fixture(
    "F31",
    "entropies",
    "Entropies as sheeprl's train logs them: per (t,b) summed over categoricals, after unimix, then the mean.",
)
def f31(ref, fx):
    rssm = vector_rssm(ref, 31)
    for name, seed, scale in (("post", 3101, 3.0), ("prior", 3102, 0.5)):
        logits = normal(seed, T, B, S, D, scale=scale)
        lam = unimix(ref, rssm, logits)[0].view(T, B, S, D)
        entropy = Independent(OneHotCategorical(logits=lam), 1).entropy()
        fx.given(name + "_logits", logits, "[t][b][s][d], before unimix")
        fx.close(name + "_lambda", lam, abs=1e-6)
        fx.close(name + "_entropy_rows", entropy, "[t][b] nats", abs=1e-6)
        fx.close(name + "_entropy", entropy.mean(), "mean over T*B", abs=1e-6, rel=1e-6)
