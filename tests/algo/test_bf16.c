// precision.autocast=true: three training steps near the float32 reference's, and what stays in
// float32.
#include "engine/algo/dreamer_v3/golden_checks.h"
#include "engine/algo/dreamer_v3/golden_tiny.h"
#include "engine/algo/dreamer_v3/wm_graph.h"
#include "engine/graph/node.h"
#include "support/test.h"

static void losses_in_bf16_are_near_the_float32_reference(void **state) {
    (void)state;
    struct error e = {0};
    if (!cpu_kernels_bf16_name()) skip();
    struct golden *g = golden_open("tests/golden/dreamer_v3", &e);
    if (!g) fail_msg("%s", e.message);
    struct pool *pool = pool_new(2);
    bool ok = golden_check_run(&golden_check_bf16, g, pool, &e);
    pool_free(pool);
    golden_free(g);
    if (!ok) fail_msg("%s", e.message);
}

// Products of the training step by precision: [0] those of the recurrent model, [1] all others.
static void count_products(bool autocast, int in_bf16[2], int in_float32[2]) {
    struct golden_tiny t = golden_tiny();
    struct params p;
    t.config.autocast = autocast;
    t.world = wm_dims_from_config(&t.config, (int)t.world.n_actions);
    params_init(&p);
    wm_register(&p, &t.world);
    params_allocate(&p);
    struct graph *g = graph_new();
    struct wm_net net = wm_net_make(g, &p, &t.world);
    struct wm_loss_weights weights = wm_loss_weights_from_config(&t.config);
    struct wm_train train = wm_train_build(&net, &weights, 3, 2, NULL);
    graph_gradients(g, train.loss);
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = g->nodes[i];
        if (n->kind != OP_LINEAR && n->kind != OP_CONV && n->kind != OP_DECONV) continue;
        const bool recurrent = strstr(n->src[1]->name, "rssm.recurrent_model") != NULL;
        (n->at.bf16 ? in_bf16 : in_float32)[!recurrent]++;
    }
    graph_free(g);
    params_deinit(&p);
}

// Spec G57. Whatever is no product has no bf16 kernel at all (kernels_bf16_get).
static void the_recurrent_model_stays_in_float32(void **state) {
    (void)state;
    if (!cpu_kernels_bf16_name()) skip();
    int mixed_bf16[2] = {0}, mixed_float32[2] = {0}, plain_bf16[2] = {0}, plain_float32[2] = {0};
    count_products(true, mixed_bf16, mixed_float32);
    count_products(false, plain_bf16, plain_float32);
    assert_int_equal(mixed_bf16[0], 0);
    assert_true(mixed_float32[0] >= 3); // one a time step at least
    assert_int_equal(mixed_float32[1], 0);
    assert_true(mixed_bf16[1] > 10);
    assert_int_equal(plain_bf16[0] + plain_bf16[1], 0);
    assert_int_equal(plain_float32[0], mixed_float32[0]);
    assert_int_equal(plain_float32[1], mixed_bf16[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_in_bf16_are_near_the_float32_reference),
        cmocka_unit_test(the_recurrent_model_stays_in_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
