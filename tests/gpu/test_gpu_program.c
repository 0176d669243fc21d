// Programs: whole updates of DreamerV3 that stay on the device give the CPU's weights, run without
// the host, stop at the first bad number; what a captured graph cannot hold is refused.
#include "gpu/parity.h"

#include <math.h>

#include "base/philox.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/algo/dreamer_v3/profile.h"
#include "engine/graph/program.h"
#include "engine/nn/optim.h"
#include "support/config_of.h"

enum { ACTIONS = 5, UPDATES = 3 };

static const char *const SIZES[] = {"algo.per_rank_batch_size=2",
                                    "algo.per_rank_sequence_length=3",
                                    "algo.horizon=3",
                                    SMALLEST_SIZES,
                                    "algo.critic.per_rank_target_network_update_freq=2",
                                    NULL};

// LaProp divides by the gradient's own size: without a floor rounding would decide the sign of
// gradients that are 0.
static const char *const OFFICIAL[] = {"algo.profile=official",
                                       "algo.optimizer.warmup=2",
                                       "algo.world_model.optimizer.lr=1e-3",
                                       "algo.world_model.optimizer.eps=0.05",
                                       "algo.actor.optimizer.eps=0.05",
                                       "algo.critic.optimizer.eps=0.05",
                                       NULL};

static struct config small_config(const char *const *more) {
    struct config c = config_of("tiny", SIZES);
    config_take(&c, more);
    return c;
}

static void fill(const struct wm_batch *b, uint64_t step) {
    const int rows = b->length * b->batch;
    memset(b->prev_actions, 0, (size_t)(rows * b->n_actions) * sizeof(real));
    for (int row = 0; row < rows; row++) {
        const uint32_t action = rng_below(5, RNG_TEST, step, (uint32_t)row, ACTIONS);
        b->prev_actions[row * b->n_actions + (int)action] = row >= b->batch;
        b->is_first[row] = row < b->batch || row == 3;
        b->rewards[row] = (real)action;
        b->continues[row] = row != 4;
        for (int i = 0; i < WM_PACKED_BYTES; i++)
            b->packed[row * WM_PACKED_BYTES + i] =
                (uint8_t)(rng_u32(6, RNG_TEST, step, (uint32_t)(row * 8 + i / 200)) >> 9);
    }
}

struct twin {
    struct pool *pool;
    struct dreamer *cpu, *device;
};

static struct twin twin_of(const char *const *settings, int64_t read_every) {
    static struct config c;
    struct twin t = {.pool = pool_new(1)};
    c = small_config(settings);
    struct dreamer_opts o = {.config = &c, .n_actions = ACTIONS, .pool = t.pool};
    backend_choose(NULL);
    t.cpu = dreamer_new(&o);
    backend_choose(parity_backend());
    o.read_every = read_every;
    t.device = dreamer_new(&o);
    assert_true(dreamer_on_device(t.device) && !dreamer_on_device(t.cpu));
    return t;
}

static struct twin twin_new(int64_t read_every) { return twin_of(NULL, read_every); }

static void twin_free(struct twin *t) {
    dreamer_free(t->device);
    dreamer_free(t->cpu);
    pool_free(t->pool);
}

static void update(struct dreamer *d, uint64_t step) {
    struct dreamer_result r;
    fill(wm_batch(dreamer_world(d)), step);
    if (!dreamer_update(d, &r)) fail_msg("%s", r.bad_node);
}

// Relative to the largest of the set: 1e-4 is the bar (float sums in another order, three steps).
static void compare(const char *what, const real *a, const real *b, int64_t n) {
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)b[i]));
    for (int64_t i = 0; i < n; i++) worst = worse(worst, fabs((double)a[i] - (double)b[i]));
    if (!(worst <= 1e-4 * largest)) fail_msg("%s: apart by %g of %g", what, worst, largest);
}

static void compare_sets(const struct twin *t) {
    static const char *const names[] = {"world model", "actor", "critic", "target critic"};
    for (int i = 0; i < DREAMER_N_SETS; i++) {
        const struct params *a = dreamer_params(t->device, (enum dreamer_set)i),
                            *b = dreamer_params(t->cpu, (enum dreamer_set)i);
        compare(names[i], a->weights, b->weights, a->n_flat);
        if (i == DREAMER_TARGET) continue;
        compare(names[i], a->grads, b->grads, a->n_flat);
        compare(names[i], a->moment1, b->moment1, a->n_flat);
    }
    compare("range", dreamer_range(t->device), dreamer_range(t->cpu), 2);
}

static void updates_give_the_weights_of_the_cpu(const char *const *settings) {
    struct twin t = twin_of(settings, 1);
    for (uint64_t step = 0; step < UPDATES; step++) { // enqueued, captured, replayed
        update(t.cpu, step);
        update(t.device, step);
        float a[METRIC_COUNT], b[METRIC_COUNT];
        const uint64_t present = dreamer_metrics(t.cpu, a);
        assert_true(present == dreamer_metrics(t.device, b));
        for (int m = 0; m < METRIC_COUNT && m < 64; m++)
            if (present >> m & 1 &&
                !(fabs((double)(a[m] - b[m])) <= 1e-4 * fmax(1, fabs((double)a[m]))))
                fail_msg("%s: %g on the device, %g on the CPU", metric_info[m].name, (double)b[m],
                         (double)a[m]);
    }
    dreamer_sync(t.device, true);
    compare_sets(&t);
    twin_free(&t);
}

static void updates_on_the_device_give_the_weights_of_the_cpu(void **state) {
    (void)state;
    updates_give_the_weights_of_the_cpu(NULL);
}

static void joint_updates_with_laprop_give_the_weights_of_the_cpu(void **state) {
    (void)state;
    updates_give_the_weights_of_the_cpu(OFFICIAL);
}

static void a_bad_number_in_a_joint_update_changes_nothing(void **state) {
    (void)state;
    struct twin t = twin_of(OFFICIAL, 1);
    const struct wm_batch *b = wm_batch(dreamer_world(t.device));
    struct params *actor = dreamer_params(t.device, DREAMER_ACTOR);
    const size_t bytes = (size_t)actor->n_flat * sizeof(real);
    struct dreamer_result r;
    update(t.device, 0);
    dreamer_sync(t.device, true);
    real *before = malloc(bytes);
    memcpy(before, actor->weights, bytes);
    fill(b, 1);
    b->rewards[3] = (real)NAN;
    assert_false(dreamer_update(t.device, &r));
    assert_int_equal(wm_opt_steps(dreamer_world(t.device)), 1);
    assert_non_null(strstr(r.bad_node, "rewards"));
    assert_memory_equal(before, actor->weights, bytes);
    free(before);
    twin_free(&t);
}

static void between_two_readings_only_the_batch_crosses_the_bus(void **state) {
    (void)state;
    struct twin t = twin_new(4);
    const struct backend *b = parity_backend();
    const struct wm_batch *batch = wm_batch(dreamer_world(t.device));
    for (uint64_t step = 0; step < 2; step++) update(t.device, step);
    const struct backend_bus before = b->bus();
    update(t.device, 2);
    const struct backend_bus after = b->bus();
    assert_int_equal(after.copies - before.copies, 1);
    // Frames and four floats a row and the actions, each rounded up to 256 bytes.
    const int64_t rows = batch->length * batch->batch;
    const int64_t bytes = rows * (WM_PACKED_BYTES + 4 * (3 + batch->n_actions));
    assert_in_range(after.bytes - before.bytes, bytes, bytes + 6 * 256);
    update(t.device, 3); // read: one transfer more
    assert_int_equal(b->bus().copies - after.copies, 2);
    twin_free(&t);
}

static void a_bad_number_stops_the_program_and_leaves_its_inputs_and_weights(void **state) {
    (void)state;
    struct twin t = twin_new(4);
    const struct wm_batch *b = wm_batch(dreamer_world(t.device));
    struct params *world = dreamer_params(t.device, DREAMER_WORLD);
    struct dreamer_result r;
    update(t.device, 0);
    dreamer_sync(t.device, true);
    real *before = malloc((size_t)world->n_flat * sizeof(real));
    memcpy(before, world->weights, (size_t)world->n_flat * sizeof(real));
    fill(b, 1);
    b->rewards[3] = (real)NAN;
    assert_true(dreamer_update(t.device, &r)); // nobody has looked yet
    fill(b, 2);
    assert_true(dreamer_update(t.device, &r));
    fill(b, 3);
    assert_false(dreamer_update(t.device, &r));
    assert_int_equal(wm_opt_steps(dreamer_world(t.device)), 1);
    assert_non_null(strstr(r.bad_node, "rewards"));
    assert_true(isnan((double)b->rewards[3]));
    assert_memory_equal(before, world->weights, (size_t)world->n_flat * sizeof(real));
    free(before);
    twin_free(&t);
}

static void a_player_takes_the_weights_on_the_device(void **state) {
    (void)state;
    struct twin t = twin_new(4);
    struct params copy;
    const struct params *world = dreamer_params(t.device, DREAMER_WORLD);
    const struct backend *b = parity_backend();
    update(t.device, 0);
    params_copy_init(&copy, world);
    struct graph *g = graph_new();
    struct tensor *bias = g_param(g, &copy, copy.list[0].name), *y = g_affine(g, bias, 1, 0);
    graph_keep(g, y);
    graph_plan(g);
    struct executor *ex = executor_new(g, t.pool);
    const struct backend_bus before = b->bus();
    assert_true(b->copy_weights(&copy, world));
    assert_int_equal(b->bus().copies, before.copies);
    executor_run(ex);
    dreamer_sync(t.device, true);
    assert_memory_equal(y->data, params_weights(world, &world->list[0]),
                        (size_t)y->n_elements * sizeof(real));
    executor_free(ex);
    graph_free(g);
    params_deinit(&copy);
    twin_free(&t);
}

static void one_number_of_many_that_is_not_finite_stops_a_program(void **state) {
    (void)state;
    enum { MANY = 70000, WHERE = 69999 };
    struct pool *pool = pool_new(1);
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 1, (int64_t[]){MANY}), *y = g_affine(g, x, 1, 0);
    memset(x->data, 0, MANY * sizeof(real));
    graph_keep(g, y);
    graph_plan(g);
    backend_choose(parity_backend());
    struct executor *ex = executor_new(g, pool);
    struct program *p = program_new();
    struct backend_progress at;
    program_feed(p, ex, x);
    program_run(p, ex);
    program_finite(p, ex, y);
    program_advance(p);
    program_seal(p, 7);
    program_launch(p);
    program_read(p, &at);
    assert_int_equal(at.failed, -1);
    program_seek(p, 20, false);
    program_launch(p);
    ((real *)x->data)[WHERE] = (real)INFINITY;
    program_launch(p);
    ((real *)x->data)[WHERE] = 0;
    program_launch(p);
    program_read(p, &at);
    assert_int_equal(at.failed, 2);
    assert_int_equal(at.step, 21);
    assert_true(isinf(at.value));
    program_free(p);
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
}

// ---- what breaks a captured graph, done on purpose

// Three updates of a set of one weight and a reading; what was said, "" where it went well.
static void three_updates_on(const char *library, char *message, size_t size) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct backend *b = parity_choose(library);
    struct pool *pool = pool_new(1);
    struct params set;
    params_init(&set);
    params_add(&set, "w", 1, (int64_t[]){40});
    params_allocate(&set);
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 1, (int64_t[]){40});
    memset(x->data, 0, 40 * sizeof(real));
    struct tensor *loss = g_mean(g, g_mul(g, x, g_param(g, &set, "w")));
    graph_gradients(g, loss);
    graph_plan(g);
    struct executor *ex = executor_new(g, pool);
    struct backend_graph *on = executor_device(ex);
    const struct backend_command list[] = {
        {.kind = COMMAND_FEED, .graph = on, .to = x},
        {.kind = COMMAND_RUN, .graph = on},
        {.kind = COMMAND_NORM, .set = &set, .max_norm = 1},
        {.kind = COMMAND_ADAM, .set = &set, .learning_rate = 1, .beta1 = 0.9, .beta2 = 0.9},
        {.kind = COMMAND_ADVANCE},
    };
    struct backend_program *p = b->program_new(list, sizeof list / sizeof *list, why, sizeof why);
    if (!p) fail_msg("%s", why);
    struct backend_progress at = {0};
    bool fine = b->program_store(p, 0);
    for (int i = 0; i < 3 && fine; i++) {
        ((real *)x->data)[0] = (real)i;
        fine = b->program_launch(p);
    }
    fine = fine && b->program_read(p, &at);
    const char *said = at.step == 3 ? "" : "the reading is not there";
    snprintf(message, size, "%s", fine ? said : b->program_message(p));
    b->program_free(p);
    executor_free(ex);
    graph_free(g);
    params_deinit(&set);
    pool_free(pool);
}

static void what_a_captured_graph_or_pinned_memory_cannot_do_is_noticed(void **state) {
    (void)state;
    static const struct {
        const char *library, *message;
    } cases[] = {
        {"harness", ""},
        {"broken_captured_copy", "a copy to the host while a graph is captured"},
        {"broken_captured_alloc", "device memory is allocated while a graph is captured"},
        {"broken_captured_wait", "the host waits while a graph is captured"},
        {"broken_captured_event", "an event is recorded while a graph is captured"},
        {"broken_captured_free", "device memory is given back while a graph is captured"},
        {"broken_early_look", "the reading is not there"},
        {"broken_no_slot_wait", "pinned memory was written before a copy of it was over"},
    };
    // Without a graph nothing is captured, so nothing can be refused.
    setenv("WORKBENCH_CUDA_GRAPH", "0", 1);
    char said[BACKEND_MESSAGE_SIZE];
    three_updates_on("broken_captured_wait", said, sizeof said);
    unsetenv("WORKBENCH_CUDA_GRAPH");
    assert_string_equal(said, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char message[BACKEND_MESSAGE_SIZE];
        three_updates_on(cases[i].library, message, sizeof message);
        assert_string_equal(message, cases[i].message);
    }
}

// ---- LaProp alone, with its own eps: a matrix of several pieces and a short tensor

static void laprop_of_a_program_is_that_of_the_cpu(void **state) {
    (void)state;
    static const struct optim_opts o = {.learning_rate = 1e-2,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .eps = OPTIM_LAPROP_EPS,
                                        .kind = OPTIM_LAPROP,
                                        .agc = 0.3,
                                        .warmup = 3};
    enum { LARGE = 40000, SMALL = 10, STEPS = 5 };
    struct params set, cpu;
    struct pool *pool = pool_new(1);
    params_init(&set);
    params_add(&set, "large", 1, (int64_t[]){LARGE});
    params_add(&set, "small", 1, (int64_t[]){SMALL});
    params_allocate(&set);
    params_init(&cpu);
    params_add(&cpu, "large", 1, (int64_t[]){LARGE});
    params_add(&cpu, "small", 1, (int64_t[]){SMALL});
    params_allocate(&cpu);
    for (int64_t i = 0; i < set.n_flat; i++)
        cpu.weights[i] = set.weights[i] = (real)(grad_random(3, (int)i) - 0.5);
    backend_choose(parity_backend());
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 1, (int64_t[]){LARGE});
    struct tensor *y = g_input(g, "y", DTYPE_REAL, 1, (int64_t[]){SMALL});
    struct tensor *loss = g_add(g, g_mean(g, g_mul(g, x, g_param(g, &set, "large"))),
                                g_mean(g, g_mul(g, y, g_param(g, &set, "small"))));
    graph_gradients(g, loss);
    graph_keep(g, loss);
    graph_plan(g);
    struct executor *ex = executor_new(g, pool);
    struct program *p = program_new();
    const struct program_adam numbers = profile_program(&o);
    program_feed(p, ex, x);
    program_feed(p, ex, y);
    program_run(p, ex);
    program_norm(p, &set, 0, NULL);
    program_check(p, ex, loss, &set);
    program_adam(p, &set, &numbers);
    program_advance(p);
    program_seal(p, 0);
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < LARGE; i++) ((real *)x->data)[i] = (real)grad_random(step, i);
        for (int i = 0; i < SMALL; i++)
            ((real *)y->data)[i] = (real)(9 * grad_random(step, -1 - i));
        program_launch(p);
        program_fetch(p); // with the gradients
        memcpy(cpu.grads, set.grads, (size_t)set.n_flat * sizeof(real));
        optim_step(&cpu, pool, &o, step + 1);
    }
    const real *const pairs[][2] = {
        {set.weights, cpu.weights}, {set.moment1, cpu.moment1}, {set.moment2, cpu.moment2}};
    for (int k = 0; k < 3; k++) {
        double largest = 0;
        for (int64_t i = 0; i < set.n_flat; i++)
            largest = fmax(largest, fabs((double)pairs[k][1][i]));
        for (int64_t i = 0; i < set.n_flat; i++)
            if (!(fabs((double)(pairs[k][0][i] - pairs[k][1][i])) <=
                  1e-5 * fabs((double)pairs[k][1][i]) + 1e-7 * largest))
                fail_msg("buffer %d, element %lld: %g, not %g", k, (long long)i,
                         (double)pairs[k][0][i], (double)pairs[k][1][i]);
    }
    assert_true(fabs((double)(set.weights[5] + 0.5 - (double)grad_random(3, 5))) >
                1e-3); // it moved
    program_free(p);
    executor_free(ex);
    graph_free(g);
    params_deinit(&set);
    params_deinit(&cpu);
    pool_free(pool);
}

// ---- nodes that are one launch

// A chain whose last tensor takes the place of its first where the plan is followed to the letter;
// what the library says, "" where it went well. out [40 * 32].
static void chain_on(const char *library, real *out, char *message, size_t size) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct backend *b = parity_choose(library);
    struct params set;
    params_init(&set);
    params_add(&set, "w", 2, (int64_t[]){32, 64});
    params_add(&set, "scale", 1, (int64_t[]){64});
    params_add(&set, "gamma", 1, (int64_t[]){32});
    params_add(&set, "beta", 1, (int64_t[]){32});
    params_allocate(&set);
    for (int64_t i = 0; i < set.n_flat; i++) set.weights[i] = (real)(grad_random(1, (int)i) - 0.5);
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 2, (int64_t[]){40, 64});
    for (int64_t i = 0; i < x->n_elements; i++) ((real *)x->data)[i] = (real)grad_random(2, (int)i);
    struct tensor *y =
        g_layer_norm(g, g_tanh(g, x), g_param(g, &set, "scale"), NULL, (real)1e-3, ACT_NONE);
    y = g_linear(g, y, g_param(g, &set, "w"), NULL, NULL, 0);
    y = g_sigmoid(g, g_affine(g, y, 2, 0));
    y = g_layer_norm(g, y, g_param(g, &set, "gamma"), g_param(g, &set, "beta"), (real)1e-3,
                     ACT_SILU);
    graph_keep(g, y);
    graph_plan(g);
    struct backend_graph *on = b->graph_new(g, why, sizeof why);
    if (!on) fail_msg("%s", why);
    const bool fine = b->begin(on) && b->run_all(on) && b->wait(on) && b->fetch(on, y);
    snprintf(message, size, "%s", fine ? "" : b->message(on));
    if (fine && out) memcpy(out, y->data, (size_t)y->n_elements * sizeof(real));
    b->graph_free(on);
    graph_free(g);
    params_deinit(&set);
}

static void a_chain_that_does_not_wait_or_make_room_is_noticed(void **state) {
    (void)state;
    static real y[40 * 32];
    char message[BACKEND_MESSAGE_SIZE];
    chain_on(NULL, y, message, sizeof message);
    assert_string_equal(message, "");
    assert_true(y[0] != 0 && isfinite((double)y[40 * 32 - 1]));
    if (!parity_on_harness()) skip(); // the harness sees races, a GPU has them
    static const char *const broken[] = {"broken_chain_barrier", "broken_chain_memory"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        chain_on(broken[i], NULL, message, sizeof message);
        if (!strstr(message, "chain_kernel") || !strstr(message, "race"))
            fail_msg("%s: \"%s\"", broken[i], message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_on_the_device_give_the_weights_of_the_cpu),
        cmocka_unit_test(joint_updates_with_laprop_give_the_weights_of_the_cpu),
        cmocka_unit_test(laprop_of_a_program_is_that_of_the_cpu),
        cmocka_unit_test(a_bad_number_in_a_joint_update_changes_nothing),
        cmocka_unit_test(between_two_readings_only_the_batch_crosses_the_bus),
        cmocka_unit_test(a_bad_number_stops_the_program_and_leaves_its_inputs_and_weights),
        cmocka_unit_test(a_chain_that_does_not_wait_or_make_room_is_noticed),
        cmocka_unit_test(what_a_captured_graph_or_pinned_memory_cannot_do_is_noticed),
        cmocka_unit_test(a_player_takes_the_weights_on_the_device),
        cmocka_unit_test(one_number_of_many_that_is_not_finite_stops_a_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
