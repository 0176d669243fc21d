// PPO's arithmetic against the recorded numbers of data/ppo/fixtures.json (spec/ppo.md 6).
#include "ppo_fixtures.h"

#include "base/mem.h"
#include "engine/algo/ppo/gae.h"
#include "engine/algo/ppo/ppo.h"
#include "engine/algo/ppo/ppo_stats.h"
#include "engine/env/goal.h"
#include "engine/nn/optim.h"

// ---- advantages

static void flags_of(const cJSON *a, uint8_t *out) {
    double wide[64];
    const int n = flatten(a, wide);
    for (int i = 0; i < n; i++) out[i] = wide[i] != 0;
}

static void gae_of_three_steps_by_hand(void **state) {
    (void)state;
    const cJSON *f = fixture("gae_hand");
    real rewards[3], values[3], last[1], advantages[3], returns[3];
    uint8_t dones[3], truncs[3] = {0};
    reals_of(member(f, "rewards"), rewards);
    reals_of(member(f, "values"), values);
    reals_of(member(f, "last_value"), last);
    flags_of(member(f, "dones"), dones);
    gae(&(struct gae_in){.n_steps = 3,
                         .n_envs = 1,
                         .rewards = rewards,
                         .values = values,
                         .dones = dones,
                         .truncs = truncs,
                         .last_values = last,
                         .gamma = number(f, "gamma"),
                         .lambda = number(f, "lam")},
        advantages, returns);
    all_near("adv", advantages, member(f, "adv"), 1e-5);
    all_near("ret", returns, member(f, "ret"), 1e-5);
}

static struct gae_in wave_case(real *rewards, real *values, real *last, real *finals,
                               uint8_t *dones, uint8_t *truncs) {
    wave(rewards, 18, 1, 1);
    wave(values, 18, 2, 0.5);
    wave(last, 3, 3, 0.5);
    wave(finals, 18, 4, 0.5);
    return (struct gae_in){.n_steps = 6,
                           .n_envs = 3,
                           .rewards = rewards,
                           .values = values,
                           .dones = dones,
                           .truncs = truncs,
                           .last_values = last,
                           .final_values = finals,
                           .gamma = 0.99,
                           .lambda = 0.95};
}

static void gae_of_three_environments_with_ends_in_between(void **state) {
    (void)state;
    const cJSON *f = fixture("gae_wave");
    real rewards[18], values[18], last[3], finals[18], advantages[18], returns[18];
    uint8_t dones[18], truncs[18] = {0};
    flags_of(member(f, "dones"), dones);
    struct gae_in in = wave_case(rewards, values, last, finals, dones, truncs);
    gae(&in, advantages, returns);
    all_near("adv", advantages, member(f, "adv"), 1e-5);
    all_near("ret", returns, member(f, "ret"), 1e-5);
    // The reference's rule: a truncation counts as an end, wherever it is noted.
    memcpy(truncs, dones, sizeof truncs);
    memset(dones, 0, sizeof dones);
    gae(&in, advantages, returns);
    all_near("adv of truncations", advantages, member(f, "adv"), 1e-5);
}

static void gae_bootstraps_where_a_time_limit_cut_an_episode_off(void **state) {
    (void)state;
    const cJSON *f = fixture("gae_trunc_bootstrap");
    real rewards[18], values[18], last[3], finals[18], advantages[18], returns[18];
    uint8_t dones[18], truncs[18];
    flags_of(member(f, "dones"), dones);
    flags_of(member(f, "truncs"), truncs);
    struct gae_in in = wave_case(rewards, values, last, finals, dones, truncs);
    in.bootstrap = true;
    gae(&in, advantages, returns);
    all_near("adv", advantages, member(f, "adv"), 1e-5);
    all_near("ret", returns, member(f, "ret"), 1e-5);
    // An episode that reached its goal on its last step gets nothing from behind it.
    dones[6] = 1;
    gae(&in, advantages, returns);
    near("done and truncated", (double)advantages[6], (double)(rewards[6] - values[6]), 1e-6);
}

// ---- losses

static void check_terms(const cJSON *f, const double *terms, double tolerance) {
    static const struct {
        enum ppo_term term;
        const char *key;
    } keys[] = {{PPO_TOTAL, "loss_total"},  {PPO_POLICY, "loss_policy"},
                {PPO_VALUE, "loss_value"},  {PPO_ENTROPY_LOSS, "loss_entropy"},
                {PPO_ENTROPY, "entropy"},   {PPO_KL, "approx_kl"},
                {PPO_KL_K3, "approx_kl_k3"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (cJSON_HasObjectItem(f, keys[i].key))
            near(keys[i].key, terms[keys[i].term], number(f, keys[i].key), tolerance);
    if (cJSON_HasObjectItem(f, "clipfrac"))
        assert_true(terms[PPO_CLIP_FRACTION] == number(f, "clipfrac"));
}

static void actions_of(const cJSON *f, int32_t *actions) {
    double wide[64];
    const int n = flatten(member(f, "actions"), wide);
    for (int i = 0; i < n; i++) actions[i] = (int32_t)wide[i];
}

static void losses_of_four_equal_policies(void **state) {
    (void)state;
    const cJSON *f = fixture("ppo_basic");
    real logits[12] = {0}, values[4], old[4], advantages[4], returns[4], dlogits[12], dvalues[4];
    int32_t actions[4];
    double terms[PPO_N_TERMS];
    for (int i = 0; i < 4; i++) old[i] = (real)-log(3);
    actions_of(f, actions);
    reals_of(member(f, "values"), values);
    reals_of(member(f, "advantages"), advantages);
    reals_of(member(f, "returns"), returns);
    ppo_normalize(advantages, 4, false);
    const struct ppo_batch b = {4, 3, logits, values, actions, old, advantages, returns, NULL};
    const struct ppo_loss_opts o = {0.1, 0.5, 0.01, 0};
    ppo_loss(&b, &o, terms);
    ppo_loss_gradient(&b, &o, 1, dlogits, dvalues);
    check_terms(f, terms, 1e-5);
    all_near("dlogits", dlogits, member(f, "dlogits"), 1e-5);
    all_near("dvalues", dvalues, member(f, "dvalues"), 1e-5);
}

static void losses_of_eight_different_policies(void **state) {
    (void)state;
    const cJSON *f = fixture("ppo_wave"), *clipped = fixture("ppo_wave_vclip");
    real logits[56], values[8], old[8], advantages[8], returns[8], old_values[8], dlogits[56],
        dvalues[8];
    int32_t actions[8];
    double terms[PPO_N_TERMS];
    wave(logits, 56, 5, 1.5);
    wave(returns, 8, 7, 1);
    wave(advantages, 8, 8, 1);
    wave(values, 8, 9, 0.5);
    reals_of(member(f, "old_logprobs"), old);
    reals_of(member(clipped, "old_values"), old_values);
    actions_of(f, actions);
    ppo_normalize(advantages, 8, false);
    const struct ppo_batch b = {8,   7,          logits,  values,    actions,
                                old, advantages, returns, old_values};
    struct ppo_loss_opts o = {0.1, 0.5, 0.01, 0};
    ppo_loss(&b, &o, terms);
    ppo_loss_gradient(&b, &o, 1, dlogits, dvalues);
    check_terms(f, terms, 2e-5);
    all_near("dlogits", dlogits, member(f, "dlogits"), 2e-5);
    all_near("dvalues", dvalues, member(f, "dvalues"), 2e-5);
    o.value_clip = 0.1;
    ppo_loss(&b, &o, terms);
    ppo_loss_gradient(&b, &o, 1, dlogits, dvalues);
    check_terms(clipped, terms, 2e-5);
    all_near("dvalues", dvalues, member(clipped, "dvalues"), 2e-5);
}

// ---- the network

struct net_case {
    struct params params;
    struct graph *g;
    struct pool *pool;
    struct executor *ex;
    struct tensor *stacks, *terms;
    struct ppo_loss_in in;
    struct ppo_net net;
};

// fixture name -> ours, and the wave that fills it
static const struct {
    const char *ours, *theirs;
    int k;
    double scale;
} layers[] = {{"conv1.weight", "conv1.w", 20, 256},   {"conv1.bias", "conv1.b", 21, 512},
              {"conv2.weight", "conv2.w", 22, 512},   {"conv2.bias", "conv2.b", 23, 512},
              {"conv3.weight", "conv3.w", 24, 576},   {"conv3.bias", "conv3.b", 25, 512},
              {"fc.weight", "fc.w", 26, 1920},        {"fc.bias", "fc.b", 27, 512},
              {"policy.weight", "policy.w", 28, 512}, {"policy.bias", "policy.b", 29, 512},
              {"value.weight", "value.w", 30, 512},   {"value.bias", "value.b", 31, 512}};
enum { N_LAYERS = sizeof layers / sizeof *layers, SAMPLES = 3, FRAME = 72 * 80 };

static void fill_stacks(uint8_t *packed) {
    memset(packed, 0, SAMPLES * 4 * FRAME / 4);
    for (int64_t i = 0; i < SAMPLES * 4 * FRAME; i++) {
        const int64_t shade = (7 * i + 3 * (i / 80) + 5 * (i / FRAME) + i * i % 11) % 4;
        packed[i / 4] |= (uint8_t)(shade << i % 4 * 2);
    }
}

static void case_open(struct net_case *c) {
    const struct ppo_dims dims = {4, 7};
    params_init(&c->params);
    ppo_net_register(&c->params, &dims);
    params_allocate(&c->params);
    for (int i = 0; i < N_LAYERS; i++) {
        const struct param *q = params_find(&c->params, layers[i].ours);
        wave(params_weights(&c->params, q), (int)q->n_elements, layers[i].k,
             1 / sqrt(layers[i].scale));
    }
    c->g = graph_new();
    c->stacks = g_input(c->g, "stacks", DTYPE_U8, 3, (int64_t[]){SAMPLES, 4, FRAME / 4});
    c->net = ppo_net_build(c->g, &c->params, c->stacks);
    const int64_t n = SAMPLES;
    c->in = (struct ppo_loss_in){c->net.logits,
                                 c->net.values,
                                 g_input(c->g, "actions", DTYPE_I32, 1, &n),
                                 g_input(c->g, "old", DTYPE_REAL, 1, &n),
                                 g_input(c->g, "advantages", DTYPE_REAL, 1, &n),
                                 g_input(c->g, "returns", DTYPE_REAL, 1, &n),
                                 NULL};
    c->terms = g_ppo_loss(c->g, &c->in, &(struct ppo_loss_opts){0.1, 0.5, 0.01, 0});
    for (int i = 0; i < PPO_N_CONVS; i++) graph_keep(c->g, c->net.conv[i]);
    graph_keep(c->g, c->net.fc);
    graph_keep(c->g, c->net.logits);
    graph_keep(c->g, c->net.values);
    graph_keep(c->g, c->terms);
    graph_gradients(c->g, g_slice(c->g, c->terms, PPO_TOTAL, 1));
    graph_plan(c->g);
    c->pool = pool_new(1);
    c->ex = cpu_executor_new(c->g, c->pool);
    fill_stacks(c->stacks->data);
    const cJSON *f = fixture("cnn_update");
    actions_of(f, c->in.actions->data);
    reals_of(member(f, "old_logprobs"), c->in.old_log_probs->data);
    reals_of(member(f, "advantages"), c->in.advantages->data);
    reals_of(member(f, "returns"), c->in.returns->data);
    ppo_normalize(c->in.advantages->data, SAMPLES, false);
    executor_run(c->ex);
}

static void case_close(struct net_case *c) {
    executor_free(c->ex);
    pool_free(c->pool);
    graph_free(c->g);
    params_deinit(&c->params);
}

static double sum_of(const struct tensor *t) {
    double sum = 0;
    for (int64_t i = 0; i < t->n_elements; i++) sum += (double)((const real *)t->data)[i];
    return sum;
}

static void the_network_has_the_specified_number_of_weights(void **state) {
    (void)state;
    struct params p;
    params_init(&p);
    ppo_net_register(&p, &(struct ppo_dims){4, 7});
    params_allocate(&p);
    assert_int_equal(p.n_weights, 1065640);
    params_deinit(&p);
}

static void forward_pass_matches_the_reference(void **state) {
    (void)state;
    const cJSON *f = fixture("cnn_forward"), *shapes = member(f, "conv_out_shapes");
    struct net_case c;
    double sums[3];
    case_open(&c);
    all_near("logits", c.net.logits->data, member(f, "logits"), 1e-5);
    all_near("values", c.net.values->data, member(f, "values"), 1e-5);
    flatten(member(f, "conv_sums"), sums);
    for (int i = 0; i < PPO_N_CONVS; i++) {
        double want[4];
        const struct tensor *t = c.net.conv[i];
        flatten(cJSON_GetArrayItem(shapes, i), want); // [3, C, H, W]; ours is channels last
        assert_true(t->shape[1] == want[2] && t->shape[2] == want[3] && t->shape[3] == want[1]);
        near("sum of a convolution", sum_of(t), sums[i], 2e-4 * sums[i]);
    }
    near("sum of fc", sum_of(c.net.fc), number(f, "fc_relu_sum"), 2e-4 * number(f, "fc_relu_sum"));
    case_close(&c);
}

static double norm_of(const real *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void losses_and_gradients_of_every_layer_match_the_reference(void **state) {
    (void)state;
    const cJSON *f = fixture("cnn_update"), *norms = member(f, "grad_l2"),
                *first = member(f, "grad_first3");
    struct net_case c;
    case_open(&c);
    double terms[PPO_N_TERMS];
    for (int i = 0; i < PPO_N_TERMS; i++) terms[i] = (double)((real *)c.terms->data)[i];
    const float third = (float)(1.0 / 3);
    near("clip fraction", terms[PPO_CLIP_FRACTION], (double)third, 1e-7);
    terms[PPO_CLIP_FRACTION] = number(f, "clipfrac"); // not a number that float32 holds
    check_terms(f, terms, 2e-5);
    near("gradient norm", optim_norm(c.params.grads, c.params.n_flat, c.pool),
         number(f, "grad_norm"), 1.1e-4);
    for (int i = 0; i < N_LAYERS; i++) {
        const struct param *q = params_find(&c.params, layers[i].ours);
        const double want = number(norms, layers[i].theirs);
        near(layers[i].ours, norm_of(params_grads(&c.params, q), q->n_elements), want, 1e-4 * want);
        double three[3];
        const int n = flatten(member(first, layers[i].theirs), three);
        for (int k = 0; k < n; k++)
            near(layers[i].ours, (double)params_grads(&c.params, q)[k], three[k],
                 1e-4 * fabs(three[k]) + 1e-6);
    }
    case_close(&c);
}

static void three_optimiser_steps_match_the_reference(void **state) {
    (void)state;
    const cJSON *f = fixture("adam3"), *change = member(f, "param_delta_l2"),
                *first = member(f, "param_first3");
    struct net_case c;
    case_open(&c);
    const size_t bytes = (size_t)c.params.n_flat * sizeof(real);
    real *before = mem_alloc(bytes);
    memcpy(before, c.params.weights, bytes);
    struct optim_opts o = {
        .learning_rate = 2.5e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .max_norm = 0.5};
    for (int step = 1; step <= 3; step++) {
        const double norm = optim_step(&c.params, c.pool, &o, step);
        near("clip scale", optim_clip(norm, 0.5), number(f, "clip_scale"), 1e-4);
    }
    for (int i = 0; i < N_LAYERS; i++) {
        const struct param *q = params_find(&c.params, layers[i].ours);
        const real *w = params_weights(&c.params, q);
        double three[3], want = number(change, layers[i].theirs), sum = 0;
        for (int64_t k = 0; k < q->n_elements; k++)
            sum += pow((double)w[k] - (double)before[q->offset + k], 2);
        near(layers[i].ours, sqrt(sum), want, 1e-4 * want + 1e-6);
        const int n = flatten(member(first, layers[i].theirs), three);
        for (int k = 0; k < n; k++)
            near(layers[i].ours, (double)w[k], three[k], 1e-4 * fabs(three[k]) + 1e-6);
    }
    free(before);
    case_close(&c);
}

// ---- goals, packing, statistics

static void packed_frames_and_their_distance_match_the_reference(void **state) {
    (void)state;
    const cJSON *f = fixture("dist_l1"), *p = fixture("pack2");
    uint8_t frame[FRAME / 4] = {0}, goal[FRAME / 4] = {0};
    for (int i = 0; i < FRAME; i++) {
        frame[i / 4] |= (uint8_t)((5 * i + 1) % 4 << i % 4 * 2);
        goal[i / 4] |= (uint8_t)((3 * i + i / 80) % 4 << i % 4 * 2);
    }
    assert_int_equal(goal_frame_sum(frame, goal), (int)number(f, "abs_sum"));
    near("dist", (float)goal_frame_sum(frame, goal) / (float)GOAL_MAX_FRAME_SUM, number(f, "dist"),
         1e-7);
    double pixels[16], bytes[4];
    flatten(member(p, "pixels"), pixels);
    flatten(member(p, "bytes"), bytes);
    for (int b = 0; b < 4; b++) {
        int byte = 0;
        for (int i = 0; i < 4; i++) byte |= (int)pixels[4 * b + i] << 2 * i;
        assert_int_equal(byte, (int)bytes[b]);
    }
    // The table's entries, as sums over frames that differ in one byte only.
    memset(frame, 0, sizeof frame);
    memset(goal, 0, sizeof goal);
    goal[77] = 0xFF;
    assert_int_equal(goal_frame_sum(frame, goal), (int)number(member(p, "diff_lut"), "0x00,0xFF"));
    frame[77] = 0x1B;
    goal[77] = 0xE4;
    assert_int_equal(goal_frame_sum(frame, goal), (int)number(member(p, "diff_lut"), "0x1B,0xE4"));
}

static void rewards_ends_and_counters_of_ten_steps_match_the_reference(void **state) {
    (void)state;
    const cJSON *f = fixture("goal_scenario");
    const struct goal_rules rules = {.tau = (float)number(f, "tau"),
                                     .k_consecutive = (int)number(f, "k"),
                                     .max_steps = (int)number(f, "max_steps"),
                                     .alpha = (float)number(f, "alpha"),
                                     .goal_bonus = (float)number(f, "goal_bonus"),
                                     .step_cost = (float)number(f, "step_cost")};
    const float start = (float)number(f, "start_dist");
    struct goal_progress p = {.distance = start};
    int rows = 0;
    for (const cJSON *row = member(f, "rows")->child; row; row = row->next, rows++) {
        double want[6];
        struct env_step_result r;
        flatten(row, want);
        goal_judge(&p, &rules, (float)want[0], &r);
        near("reward", (double)r.reward, want[1], 1e-6);
        assert_true(r.terminated == (want[2] != 0) && r.truncated == (want[3] != 0));
        assert_true(p.consecutive == (int)want[4] && p.step == (int)want[5] &&
                    r.distance == (float)want[0]);
        if (r.terminated || r.truncated) p = (struct goal_progress){.distance = start};
    }
    assert_int_equal(rows, 10);
}

static void quantiles_and_lower_medians_match_the_reference(void **state) {
    (void)state;
    const cJSON *q = fixture("quantile_linear"), *m = fixture("lower_median");
    double wide[8];
    const char *keys[] = {"p10", "p50", "p90"};
    const double at[] = {0.1, 0.5, 0.9};
    for (int i = 0; i < 3; i++) {
        float x[8];
        const int n = flatten(member(q, "data"), wide);
        for (int k = 0; k < n; k++) x[n - 1 - k] = (float)wide[k]; // unsorted
        near(keys[i], stats_quantile(x, n, at[i]), number(q, keys[i]), 1e-6);
    }
    for (const cJSON *c = member(m, "cases")->child; c; c = c->next) {
        const int n = flatten(cJSON_GetArrayItem(c, 0), wide);
        const cJSON *want = cJSON_GetArrayItem(c, 1);
        const double got = stats_lower_median(wide, n);
        if (cJSON_IsNull(want))
            assert_true(isnan(got));
        else
            assert_true(got == want->valuedouble);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gae_of_three_steps_by_hand),
        cmocka_unit_test(gae_of_three_environments_with_ends_in_between),
        cmocka_unit_test(gae_bootstraps_where_a_time_limit_cut_an_episode_off),
        cmocka_unit_test(losses_of_four_equal_policies),
        cmocka_unit_test(losses_of_eight_different_policies),
        cmocka_unit_test(the_network_has_the_specified_number_of_weights),
        cmocka_unit_test(forward_pass_matches_the_reference),
        cmocka_unit_test(losses_and_gradients_of_every_layer_match_the_reference),
        cmocka_unit_test(three_optimiser_steps_match_the_reference),
        cmocka_unit_test(packed_frames_and_their_distance_match_the_reference),
        cmocka_unit_test(rewards_ends_and_counters_of_ten_steps_match_the_reference),
        cmocka_unit_test(quantiles_and_lower_medians_match_the_reference),
    };
    return cmocka_run_group_tests(tests, fixtures_load, fixtures_free);
}
