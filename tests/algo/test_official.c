// The official profile's losses against values computed apart: returns on replayed rows, continues
// as probabilities, which loss reaches which network.
#include "official_case.h"

// ---- the dream: probabilities, the discount in them, the start's predicted too

static void imagined_continues_are_probabilities_that_hold_the_discount(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    executor_run(k.executor);
    assert_int_equal(k.b.dream.continue_logits->n_elements, (HORIZON + 1) * N);
    for (int n = 0; n < N; n++) {
        double next = at(k.b.values, HORIZON * N + n), weight = 1, want[HORIZON];
        for (int tau = HORIZON - 1; tau >= 0; tau--) {
            int64_t row = (tau + 1) * N + n;
            double c = sigmoid(at(k.b.dream.continue_logits, row));
            next = at(k.b.dream.rewards, row) +
                   c * ((1 - LAMBDA) * at(k.b.values, row) + LAMBDA * next);
            want[tau] = next;
        }
        for (int tau = 0; tau < HORIZON; tau++) {
            weight *= sigmoid(at(k.b.dream.continue_logits, tau * N + n));
            assert_near("return", tau, at(k.b.returns, tau * N + n), want[tau]);
            assert_near("weight", tau, at(k.b.weights, tau * N + n), weight);
        }
    }
    joint_free(&k);
}

static void the_continue_head_learns_the_discount(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    executor_run(k.executor);
    for (int row = 0; row < N; row++) {
        double l = at(k.wm.continue_logits, row), target = GAMMA * at(k.wm.in.continues, row);
        assert_near("continue loss", row, at(k.wm.continue_rows, row),
                    -target * log(sigmoid(l)) - (1 - target) * log(1 - sigmoid(l)));
    }
    joint_free(&k);
}

static void pictures_lie_between_black_and_white(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    for (int64_t i = 0; i < k.sets[0].n_flat; i++) k.sets[0].weights[i] *= 5;
    executor_run(k.executor);
    double low = 0, high = 0;
    for (int64_t i = 0; i < k.wm.reconstruction->n_elements; i++) {
        low = fmin(low, at(k.wm.reconstruction, i));
        high = fmax(high, at(k.wm.reconstruction, i));
    }
    assert_true(low >= -0.5 && high <= 0.5 && high - low > 0.3);
    joint_free(&k);
}

// ---- the replayed rows

// Minus log-likelihood of `target` under a two-hot distribution whose bins lie in real space.
static double twohot_nll(const real *logits, const real *bins, int n, double target) {
    double sum = 0, q_high;
    int low = 0;
    for (int i = 0; i < n; i++) sum += exp((double)logits[i]);
    while (low < n - 2 && (double)bins[low + 1] <= target) low++;
    q_high = (target - (double)bins[low]) / (double)(bins[low + 1] - bins[low]);
    return log(sum) - (1 - q_high) * (double)logits[low] - q_high * (double)logits[low + 1];
}

static void replayed_returns_stop_at_the_end_of_an_episode(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    executor_run(k.executor);
    const struct wm_inputs *in = &k.wm.in;
    double loss = 0;
    for (int env = 0; env < B; env++) {
        double next = at(k.b.returns, (T - 1) * B + env);
        for (int t = T - 2; t >= 0; t--) {
            int64_t row = t * B + env, after = row + B;
            double boot = at(k.b.returns, after); // imagined from there: tau = 0
            bool ends = t + 2 < T && at(in->is_first, after + B) == 1;
            double mix = ends ? 0 : LAMBDA;
            next = at(in->rewards, after) +
                   GAMMA * at(in->continues, after) * ((1 - mix) * boot + mix * next);
            assert_near("replayed return", row, at(k.b.replayed.returns, row), next);
            double weight = at(in->is_first, after) == 1 ? 0 : 1;
            assert_true(at(k.b.replayed.weights, row) == weight);
            loss += weight * (at(k.b.replay.returns_nll, row) + at(k.b.replay.target_nll, row));
        }
    }
    // the terminated row's successor gives its reward alone, the cut-off row's its bootstrap too
    assert_near("terminated", 0, at(k.b.replayed.returns, 0), at(in->rewards, B));
    assert_near("cut off", 1, at(k.b.replayed.returns, B + 1),
                at(in->rewards, 2 * B + 1) + GAMMA * at(k.b.returns, 2 * B + 1));
    assert_near("replay loss", 0, at(k.b.replay.loss, 0), loss / REPLAYED);
    assert_near("critic's loss", 0, at(k.b.critic_total, 0),
                at(k.b.critic.loss, 0) + 0.3 * at(k.b.replay.loss, 0));
    joint_free(&k);
}

// ---- which loss reaches which network

static double distance(const struct params *p, const real *a, const real *b) {
    double sum = 0, norm = 0;
    (void)p;
    for (int64_t i = 0; i < p->n_flat; i++) {
        sum += pow((double)a[i] - (double)b[i], 2);
        norm += pow((double)b[i], 2);
    }
    return sqrt(sum / (norm > 0 ? norm : 1));
}

static void dreams_teach_the_world_model_nothing(void **state) {
    (void)state;
    struct joint_case k, alone;
    joint_build(&k, false, 0, ALL);
    joint_build(&alone, false, 0, MODEL_ALONE);
    executor_run(k.executor);
    executor_run(alone.executor);
    double off = distance(&k.sets[0], k.sets[0].grads, alone.sets[0].grads);
    if (off > (sizeof(real) == 8 ? 1e-13 : 1e-6)) fail_msg("the gradients differ by %g", off);
    for (int64_t i = 0; i < k.sets[3].n_flat; i++) assert_true(k.sets[3].grads[i] == 0);
    for (int s = 1; s < 3; s++)
        assert_true(distance(&k.sets[s], alone.sets[s].grads, k.sets[s].grads) > 0.99);
    joint_free(&k);
    joint_free(&alone);
}

struct held { // what the loss's targets are
    struct joint_case *k;
    double returns[REPLAYED], targets[REPLAYED], weights[REPLAYED];
};

// The critic's loss on the replayed rows as a function of world model and critic, its targets held:
// by hand, from the states that a run leaves.
static double replay_loss(const struct held *held) {
    const struct joint_case *k = held->k;
    const struct tensor *h = k->wm.scan.h;
    const struct params *c = &k->sets[2];
    const int units = (int)k->nets.dense_units, bins = (int)k->nets.bins, n = (int)k->nets.n_layers,
              latent = (int)(k->nets.state - k->world.recurrent);
    double sum = 0;
    for (int row = 0; row < REPLAYED; row++) {
        double x[WIDTH] = {0};
        real logits[512];
        int width = (int)k->nets.state;
        for (int i = 0; i < (int)k->world.recurrent; i++)
            x[latent + i] = at(h, row * k->world.recurrent + i);
        for (int layer = 0; layer < n; layer++) {
            double y[WIDTH];
            hidden_by_hand(c, "critic._model", layer, x, width, y, units);
            memcpy(x, y, sizeof x);
            width = units;
        }
        const real *w = weights_of(c, "critic._model", 3 * n, "weight"),
                   *bias = weights_of(c, "critic._model", 3 * n, "bias");
        for (int j = 0; j < bins; j++) {
            double y = (double)bias[j];
            for (int i = 0; i < width; i++) y += (double)w[j * width + i] * x[i];
            logits[j] = (real)y;
        }
        const real *b = k->b.in.value_bins->data;
        sum += held->weights[row] * (twohot_nll(logits, b, bins, held->returns[row]) +
                                     twohot_nll(logits, b, bins, held->targets[row]));
    }
    return sum / REPLAYED;
}

static double replay_loss_again(void *ctx) {
    struct held *held = ctx;
    executor_run(held->k->executor);
    return replay_loss(held);
}

// What the replay loss adds to the gradients of world model and critic is its derivative.
static void the_replay_loss_reaches_critic_and_world_model(void **state) {
    (void)state;
    struct joint_case with, without;
    joint_build(&with, true, 0.3, ALL);
    joint_build(&without, true, 0, ALL);
    executor_run(with.executor);
    executor_run(without.executor);
    struct held held = {.k = &with};
    for (int row = 0; row < REPLAYED; row++) {
        held.returns[row] = at(with.b.replayed.returns, row);
        held.targets[row] = at(with.b.target_values, row);
        held.weights[row] = at(with.b.replayed.weights, row);
    }
    assert_near("replay loss", 0, replay_loss(&held), at(with.b.replay.loss, 0));
    if (sizeof(real) == 4) { // central differences mean nothing there
        joint_free(&with);
        joint_free(&without);
        return;
    }
    for (int s = 0; s < 3; s += 2) {
        struct params *p = &with.sets[s];
        real *grads = calloc((size_t)p->n_flat, sizeof *grads);
        executor_run(with.executor); // not those of the last probe
        memcpy(grads, p->grads, (size_t)p->n_flat * sizeof *grads);
        double error = 0, norm = 0;
        int n_probes = 0;
        for (int q = 0; q < p->n; q++)
            for (int64_t i = 0; i < p->list[q].n_elements; i += 1 + p->list[q].n_elements / 5) {
                const int64_t place = p->list[q].offset + i;
                double want = 0.3 * slope(p, place, replay_loss_again, &held);
                double got = (double)grads[place] - (double)without.sets[s].grads[place];
                error += (got - want) * (got - want);
                norm += want * want;
                n_probes++;
            }
        free(grads);
        assert_true(n_probes > 20 && norm > 1e-8);
        if (!(sqrt(error / norm) < 1e-7))
            fail_msg("set %d: relative error %.3g over %d probes", s, sqrt(error / norm), n_probes);
    }
    joint_free(&with);
    joint_free(&without);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imagined_continues_are_probabilities_that_hold_the_discount),
        cmocka_unit_test(the_continue_head_learns_the_discount),
        cmocka_unit_test(pictures_lie_between_black_and_white),
        cmocka_unit_test(replayed_returns_stop_at_the_end_of_an_episode),
        cmocka_unit_test(dreams_teach_the_world_model_nothing),
        cmocka_unit_test(the_replay_loss_reaches_critic_and_world_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
