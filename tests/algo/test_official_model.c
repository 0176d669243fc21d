// The official profile's world model against values computed apart: the block core, the gradient of
// its loss, fresh weights.
#include "official_case.h"

// ---- the recurrent core

#define CORE "rssm.recurrent_model"

// h' of one row from z, a and h by spec 3.6; a new episode's are 0.
static void core_by_hand(const struct joint_case *k, const double *z, const double *a, double *h) {
    const struct params *p = &k->sets[0];
    const int width = (int)k->world.recurrent, units = (int)k->world.recurrent_units,
              blocks = (int)k->world.blocks, part = width / blocks, in = part + 3 * units,
              latent = (int)(k->world.stochastic * k->world.discrete);
    double x[3 * WIDTH], hidden[WIDTH], before[WIDTH];
    memcpy(before, h, (size_t)width * sizeof *h);
    hidden_by_hand(p, CORE ".state._model", 0, h, width, x, units);
    hidden_by_hand(p, CORE ".latent._model", 0, z, latent, x + units, units);
    hidden_by_hand(p, CORE ".action._model", 0, a, ACTIONS, x + 2 * units, units);
    const real *w = weights_of(p, CORE ".hidden", 0, "weight"),
               *b = weights_of(p, CORE ".hidden", 0, "bias"),
               *gates = params_weights(p, params_find(p, CORE ".gates.weight")),
               *gate_bias = params_weights(p, params_find(p, CORE ".gates.bias"));
    for (int j = 0; j < width; j++) { // row j lies in block j / part
        hidden[j] = (double)b[j];
        for (int i = 0; i < part; i++)
            hidden[j] += (double)w[j * in + i] * before[j / part * part + i];
        for (int i = 0; i < 3 * units; i++) hidden[j] += (double)w[j * in + part + i] * x[i];
    }
    norm_by_hand(hidden, weights_of(p, CORE ".hidden", 1, "weight"), width);
    for (int j = 0; j < width; j++) {
        double pre[3]; // reset, candidate, update: thirds of the block's rows
        for (int g = 0; g < 3; g++) {
            const int row = j / part * 3 * part + g * part + j % part;
            pre[g] = (double)gate_bias[row];
            for (int i = 0; i < part; i++)
                pre[g] += (double)gates[row * part + i] * hidden[j / part * part + i];
        }
        const double u = sigmoid(pre[2] - 1);
        h[j] = u * tanh(sigmoid(pre[0]) * pre[1]) + (1 - u) * before[j];
    }
}

static void the_core_takes_state_latent_and_action_block_by_block(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    executor_run(k.executor);
    const int width = (int)k.world.recurrent, latent = (int)(k.world.stochastic * k.world.discrete);
    assert_true(width <= WIDTH && k.world.recurrent_units <= WIDTH && k.world.blocks == 4);
    for (int row = 0; row < N; row++) {
        double h[WIDTH] = {0}, z[WIDTH] = {0}, a[ACTIONS];
        const bool first = at(k.wm.in.is_first, row) == 1;
        for (int i = 0; i < width && !first; i++) h[i] = at(k.wm.scan.h, (row - B) * width + i);
        for (int i = 0; i < latent && !first; i++) z[i] = at(k.wm.scan.z, (row - B) * latent + i);
        for (int i = 0; i < ACTIONS; i++)
            a[i] = first ? 0 : at(k.wm.in.prev_actions, row * ACTIONS + i);
        core_by_hand(&k, z, a, h);
        for (int i = 0; i < width; i++)
            assert_near("h", row * width + i, at(k.wm.scan.h, row * width + i), h[i]);
    }
    joint_free(&k);
}

// ---- the world model's gradient

// What the gradient is the derivative of: with even weights the KL's two terms, which hold one side
// each, are together one KL.
static double derived_loss(void *ctx) {
    struct joint_case *k = ctx;
    executor_run(k->executor);
    return at(k->wm.loss, 0) - 0.5 * at(k->wm.kl_raw, 0);
}

static void the_world_models_gradient_is_its_losss_derivative(void **state) {
    (void)state;
    if (sizeof(real) == 4) skip(); // central differences mean nothing there
    struct joint_case k;
    joint_build(&k, true, 0, MODEL_EVENLY);
    struct params *p = &k.sets[0];
    executor_run(k.executor);
    real *grads = calloc((size_t)p->n_flat, sizeof *grads);
    memcpy(grads, p->grads, (size_t)p->n_flat * sizeof *grads);
    int n_probes = 0;
    for (int q = 0; q < p->n; q++) {
        double error = 0, norm = 0;
        for (int64_t i = 0; i < p->list[q].n_elements; i += 1 + p->list[q].n_elements / 5) {
            const int64_t place = p->list[q].offset + i;
            double want = slope(p, place, derived_loss, &k), got = (double)grads[place];
            error += (got - want) * (got - want);
            norm += want * want;
            n_probes++;
        }
        // the loss is some thousands: differences of it are good to 1e-6 or so
        if (!(sqrt(error) < 1e-6 * (1 + sqrt(norm))))
            fail_msg("%s: off by %.3g of %.3g", p->list[q].name, sqrt(error), sqrt(norm));
    }
    assert_true(n_probes > 100);
    free(grads);
    joint_free(&k);
}

// ---- fresh weights

static double deviation(const struct params *p, const char *name) {
    const struct param *q = params_find(p, name);
    if (!q) fail_msg("no %s", name);
    const real *w = params_weights(p, q);
    double sum = 0;
    for (int64_t i = 0; i < q->n_elements; i++) sum += (double)w[i] * (double)w[i];
    return sqrt(sum / (double)q->n_elements);
}

static void assert_deviation(const struct params *p, const char *name, double want) {
    const double got = deviation(p, name);
    if (!(fabs(got - want) <= 0.03 * want)) fail_msg("%s: %g, not %g", name, got, want);
}

// By the fan-in; of a block's matrices by that of all blocks together.
static void fresh_weights_follow_the_fan_in(void **state) {
    (void)state;
    const struct config c = config_of("tiny", (const char *const[]){"algo.profile=official", NULL});
    const struct wm_dims world = wm_dims_from_config(&c, ACTIONS);
    const struct ac_dims nets = ac_dims_from_config(&c, &world, NULL);
    struct params p[3]; // world, actor, critic
    for (int i = 0; i < 3; i++) params_init(&p[i]);
    wm_register(&p[0], &world);
    ac_register_actor(&p[1], &nets);
    ac_register_critic(&p[2], &nets, CRITIC_NAME);
    for (int i = 0; i < 3; i++) params_allocate(&p[i]);
    wm_init_weights(&p[0], &world, 1, true, NULL);
    ac_init_actor(&p[1], &nets, 1, true, NULL);
    ac_init_critic(&p[2], &nets, CRITIC_NAME, 1, true, NULL);
    const double h = (double)world.recurrent, units = (double)world.recurrent_units,
                 g = (double)world.blocks;
    assert_true(g == 8);
    assert_deviation(&p[0], CORE ".state._model.0.weight", 1 / sqrt(h));
    assert_deviation(&p[0], CORE ".gates.weight", 1 / sqrt(h));
    assert_deviation(&p[0], CORE ".hidden.0.weight", 1 / sqrt(g * (h / g + 3 * units)));
    assert_deviation(&p[1], "actor.model._model.0.weight", 1 / sqrt((double)nets.state));
    const double head = deviation(&p[1], "actor.mlp_heads.0.weight") * sqrt((double)c.dense_units);
    assert_true(head > 0.009 && head < 0.011); // a hundredth
    assert_true(deviation(&p[0], "reward_model._model.3.weight") == 0);
    assert_true(deviation(&p[0], "continue_model._model.3.weight") > 0);
    assert_true(deviation(&p[2], "critic._model.9.weight") == 0);
    for (int i = 0; i < 3; i++) params_deinit(&p[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_core_takes_state_latent_and_action_block_by_block),
        cmocka_unit_test(the_world_models_gradient_is_its_losss_derivative),
        cmocka_unit_test(fresh_weights_follow_the_fan_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
