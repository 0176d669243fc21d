// Gradients of PPO's loss and of its whole network against central differences (closely in a
// -DREAL=double build).
#include "support/grad_check.h"

#include "engine/algo/ppo/ppo_net.h"
#include "engine/graph/ppo_loss.h"

enum { B = 12, A = 5 };

// What the loss is given beside logits and values: ratios on both sides of the clip range, away
// from its edges.
static struct tensor *loss_of(struct graph *g, struct tensor *logits, struct tensor *values,
                              double value_clip) {
    const int64_t n = logits->shape[0], actions = logits->shape[1];
    struct ppo_loss_in in = {logits,
                             values,
                             g_input(g, "actions", DTYPE_I32, 1, &n),
                             g_input(g, "old", DTYPE_REAL, 1, &n),
                             g_input(g, "advantages", DTYPE_REAL, 1, &n),
                             g_input(g, "returns", DTYPE_REAL, 1, &n),
                             g_input(g, "old_values", DTYPE_REAL, 1, &n)};
    for (int64_t i = 0; i < n; i++) {
        ((int32_t *)in.actions->data)[i] = (int32_t)(i % actions);
        ((real *)in.old_log_probs->data)[i] = (real)(-log((double)actions) + (i % 4 - 1.5) * 0.8);
        ((real *)in.advantages->data)[i] = (real)(grad_random(50, i) * 2 - 1);
        ((real *)in.returns->data)[i] = (real)(grad_random(51, i) * 2 - 1);
        ((real *)in.old_values->data)[i] = (real)(i % 3 == 0 ? 0.9 : grad_random(52, i) * 0.1);
    }
    return g_slice(g, g_ppo_loss(g, &in, &(struct ppo_loss_opts){0.1, 0.5, 0.3, value_clip}),
                   PPO_TOTAL, 1);
}

static struct tensor *plain_build(struct graph *g, struct tensor **leaf) {
    return loss_of(g, leaf[0], leaf[1], 0);
}
static struct tensor *clipped_build(struct graph *g, struct tensor **leaf) {
    return loss_of(g, leaf[0], leaf[1], 0.2);
}

static void the_loss_has_the_gradient_of_its_formula(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"logits", 2, {B, A}, -0.3, 0.3, false},
                                         {"values", 2, {B, 1}, -0.4, 0.4, false}};
    grad_check(&(struct grad_case){leaves, 2, plain_build, NULL, 0, 1e-6, false});
    grad_check(&(struct grad_case){leaves, 2, clipped_build, NULL, 0, 1e-6, false});
}

// A clipped sample has no policy gradient; the entropy's remains.
static void a_clipped_sample_moves_only_the_entropy(void **state) {
    (void)state;
    const real logits[A] = {(real)0.3, 0, 0, 0, 0}, value = 0, advantage = 1, ret = 0;
    const int32_t action = 0;
    real log_probs[A], dlogits[A], dvalue;
    ppo_log_softmax(logits, A, log_probs);
    const real far = log_probs[0] - 1, near = log_probs[0];
    struct ppo_batch b = {1, A, logits, &value, &action, &far, &advantage, &ret, NULL};
    const struct ppo_loss_opts no_entropy = {0.1, 0.5, 0, 0};
    ppo_loss_gradient(&b, &no_entropy, 1, dlogits, &dvalue);
    for (int a = 0; a < A; a++) assert_true(dlogits[a] == 0);
    b.old_log_probs = &near;
    ppo_loss_gradient(&b, &no_entropy, 1, dlogits, &dvalue);
    assert_true(dlogits[0] < 0 && dlogits[1] > 0);
}

// The whole network: probes of every parameter tensor, largest gradients first would hide the small
// ones, so even steps.
static void every_layer_of_the_network_has_the_gradient_of_the_loss(void **state) {
    (void)state;
    if (sizeof(real) != sizeof(double)) skip(); // central differences of float sums mean little
    enum { N = 2, PROBES = 6 };
    struct params p;
    params_init(&p);
    ppo_net_register(&p, &(struct ppo_dims){4, A});
    params_allocate(&p);
    ppo_net_init(&p, 5, PPO_INIT_UNIFORM);
    struct graph *g = graph_new();
    struct tensor *stacks = g_input(g, "stacks", DTYPE_U8, 3, (int64_t[]){N, 4, PPO_FRAME_BYTES});
    for (int64_t i = 0; i < stacks->n_elements; i++)
        ((uint8_t *)stacks->data)[i] = (uint8_t)rng_u32(9, RNG_TEST, 0, (uint32_t)i);
    struct ppo_net net = ppo_net_build(g, &p, stacks);
    struct tensor *loss = loss_of(g, net.logits, net.values, 0);
    graph_keep(g, loss);
    graph_gradients(g, loss);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    executor_run(ex);
    real *grads = mem_alloc((size_t)p.n_flat * sizeof(real));
    memcpy(grads, p.grads, (size_t)p.n_flat * sizeof(real));
    for (int t = 0; t < p.n; t++) {
        const struct param *q = &p.list[t];
        double error = 0, norm = 1e-16;
        for (int k = 0; k < PROBES; k++) {
            real *w = params_weights(&p, q) + (q->n_elements - 1) * k / (PROBES - 1), before = *w;
            const double step = 1e-6;
            *w = before + (real)step;
            executor_run(ex);
            const double up = (double)*reals(loss);
            *w = before - (real)step;
            executor_run(ex);
            const double difference = (up - (double)*reals(loss)) / (2 * step);
            *w = before;
            error += pow((double)grads[w - p.weights] - difference, 2);
            norm += difference * difference;
        }
        if (!(sqrt(error / norm) < 1e-5))
            fail_msg("gradient of %s: relative error %.3g against central differences", q->name,
                     sqrt(error / norm));
    }
    free(grads);
    executor_free(ex);
    pool_free(pool);
    graph_free(g);
    params_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_has_the_gradient_of_its_formula),
        cmocka_unit_test(a_clipped_sample_moves_only_the_entropy),
        cmocka_unit_test(every_layer_of_the_network_has_the_gradient_of_the_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
