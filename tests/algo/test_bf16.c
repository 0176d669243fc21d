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

// Products of the training step by precision: those of the recurrent model, convolutions of one
// channel, all others.
enum { RECURRENT, ONE_CHANNEL, OTHER, N_KINDS };

static void count_products(bool autocast, int in_bf16[N_KINDS], int in_float32[N_KINDS]) {
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
        const bool one = n->kind != OP_LINEAR && n->src[1]->shape[1] == 1;
        const bool recurrent = strstr(n->src[1]->name, "rssm.recurrent_model") != NULL;
        (n->at.bf16 ? in_bf16 : in_float32)[recurrent ? RECURRENT : one ? ONE_CHANNEL : OTHER]++;
    }
    graph_free(g);
    params_deinit(&p);
}

// Spec G57. Whatever is no product has no bf16 kernel at all (kernels_bf16_get).
static void the_recurrent_model_and_the_pixels_stay_in_float32(void **state) {
    (void)state;
    if (!cpu_kernels_bf16_name()) skip();
    int mixed16[N_KINDS] = {0}, mixed32[N_KINDS] = {0}, plain16[N_KINDS] = {0},
        plain32[N_KINDS] = {0};
    count_products(true, mixed16, mixed32);
    count_products(false, plain16, plain32);
    assert_int_equal(mixed16[RECURRENT], 0);
    assert_true(mixed32[RECURRENT] >= 3); // one a time step at least
    assert_int_equal(mixed16[ONE_CHANNEL], 0);
    assert_int_equal(mixed32[ONE_CHANNEL], 2); // what sees and what draws the pixels
    assert_int_equal(mixed32[OTHER], 0);
    assert_true(mixed16[OTHER] > 10);
    for (int i = 0; i < N_KINDS; i++) {
        assert_int_equal(plain16[i], 0);
        assert_int_equal(plain32[i], mixed16[i] + mixed32[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_in_bf16_are_near_the_float32_reference),
        cmocka_unit_test(the_recurrent_model_and_the_pixels_stay_in_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
