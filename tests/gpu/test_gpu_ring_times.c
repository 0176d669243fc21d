// How long a rollout took the device, by its own clock: waiting for the learner does not count.
#include "gpu/parity.h"

#include "base/clock.h"
#include "base/pool.h"
#include "engine/env/builtin.h"
#include "engine/env/device_env.h"
#include "engine/env/gameboy.h"
#include "engine/graph/program.h"

enum { N = 2, T = 3, WAIT_MS = 200 };

struct field {
    const struct device_play *play;
    struct env *env;
    struct device_env *machines;
    struct device_ring *ring;
    struct pool *pool;
    struct graph *graph;
    struct executor *ex;
    struct program *policy, *learner;
};

// The policy: pictures in, the first action out. It is enqueued, and captured at its second launch.
static void make_programs(struct field *f) {
    const int a = f->env->n_actions;
    struct graph *g = f->graph = graph_new();
    struct tensor *packed = g_input(g, "packed", DTYPE_U8, 2, (int64_t[]){N, GB_OBS_BYTES}),
                  *acts = g_input(g, "acts", DTYPE_REAL, 2, (int64_t[]){N, a});
    graph_keep(g, g_unpack2(g, packed, 72, 80));
    struct tensor *chosen = g_affine(g, acts, 1, 0);
    graph_keep(g, chosen);
    graph_plan(g);
    memset(packed->data, 0, N * GB_OBS_BYTES);
    memset(acts->data, 0, N * (size_t)a * sizeof(real));
    f->pool = pool_new(1);
    f->ex = executor_new(g, f->pool);
    f->policy = program_new();
    program_pictures(f->policy, f->ex, packed, f->ring);
    program_run(f->policy, f->ex);
    program_act(f->policy, f->ex, chosen, f->ring);
    program_advance(f->policy);
    program_seal(f->policy, 0);
    f->learner = program_new();
    program_sample(f->learner, f->ring, &(struct program_sample){5, T, 1, 0});
    program_advance(f->learner);
    const struct device_batch_at nowhere = {0};
    if (!f->play->ring_batch_into(f->ring, &nowhere, T, 1))
        fail_msg("%s", f->play->ring_message(f->ring));
    program_seal(f->learner, 0);
}

static void field_open(struct field *f) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    struct error e = {0};
    const struct builtin_task *task = builtin_task_find("static");
    const struct backend *b = parity_choose(NULL);
    f->env = env_gameboy_new(
        &(struct env_gameboy_opts){.rom = task->rom, .rom_bytes = task->rom_bytes, .n_envs = N},
        &e);
    if (!f->env) fail_msg("%s", e.message);
    const struct device_ring_opts o = {.rows = 40,
                                       .n_envs = N,
                                       .n_actions = f->env->n_actions,
                                       .commit_stride = 1,
                                       .max_length = T,
                                       .max_batch = 1};
    if (!(f->play = device_play_of(b, why, sizeof why)) ||
        !(f->machines = device_env_new(b, f->env, why, sizeof why)) ||
        !(f->ring = f->play->ring_new(&o, device_env_machines(f->machines), why, sizeof why)))
        fail_msg("%s", why);
    make_programs(f);
}

static void field_close(struct field *f) {
    program_free(f->policy);
    program_free(f->learner);
    executor_free(f->ex);
    graph_free(f->graph);
    pool_free(f->pool);
    f->play->ring_free(f->ring);
    device_env_free(f->machines);
    env_free(f->env);
}

static void check(const struct field *f, bool fine) {
    if (!fine) fail_msg("%s", f->play->ring_message(f->ring));
}

// A row, its policy beginning `wait_ms` after the machines are done.
static void play_row(struct field *f, int wait_ms) {
    check(f, f->play->ring_tick(f->ring));
    clock_sleep_ns((int64_t)wait_ms * 1000000);
    program_launch(f->policy);
    check(f, f->play->ring_commit(f->ring));
}

static void learn(struct field *f) {
    struct backend_progress at;
    int64_t first, end;
    f->play->ring_window(f->ring, &first, &end);
    f->play->ring_aim(f->ring, first, end);
    program_launch(f->learner);
    program_read(f->learner, &at);
}

static void what_the_policy_waits_for_its_weights_is_not_the_actors(void **state) {
    (void)state;
    struct field f = {0};
    struct device_times t;
    if (!parity_on_harness()) skip(); // there a launch is over when it is enqueued
    field_open(&f);
    for (int i = 0; i < T; i++) play_row(&f, 0);
    check(&f, f.play->ring_fence(f.ring));
    const int64_t t0 = clock_now_ns();
    play_row(&f, WAIT_MS); // as after the fence, where the weights come
    play_row(&f, 0);
    const double ms = (double)(clock_now_ns() - t0) * 1e-6;
    learn(&f);
    check(&f, f.play->ring_times(f.ring, &t));
    assert_true(t.actor_ms > 0 && t.actor_ms <= ms - WAIT_MS);
    assert_true(t.learner_ms > 0 && t.both_ms == 0);
    field_close(&f);
}

// The learner has the time in which the policy waits for itself.
static void learning_beside_a_wait_is_beside_nothing(void **state) {
    (void)state;
    struct field f = {0};
    struct device_times t;
    if (!parity_on_harness()) skip();
    field_open(&f);
    for (int i = 0; i < T; i++) play_row(&f, 0);
    check(&f, f.play->ring_fence(f.ring));
    check(&f, f.play->ring_tick(f.ring));
    learn(&f);
    program_launch(f.policy);
    check(&f, f.play->ring_commit(f.ring));
    check(&f, f.play->ring_times(f.ring, &t));
    assert_true(t.actor_ms > 0 && t.learner_ms > 0 && t.both_ms < 0.01 * t.learner_ms);
    field_close(&f);
}

// Where nobody has a policy, all between the first row and the last is playing.
static void rows_without_a_policy_wait_for_nobody(void **state) {
    (void)state;
    struct field f = {0};
    struct device_times t;
    const int32_t actions[N] = {0};
    field_open(&f);
    for (int i = 0; i < 2 * T; i++) {
        if (i == T) check(&f, f.play->ring_fence(f.ring));
        check(&f, f.play->ring_tick(f.ring) && f.play->ring_act(f.ring, actions, false) &&
                      f.play->ring_commit(f.ring));
    }
    learn(&f);
    check(&f, f.play->ring_times(f.ring, &t));
    assert_true(t.actor_ms > 0 && t.learner_ms > 0 && t.both_ms >= 0);
    field_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_policy_waits_for_its_weights_is_not_the_actors),
        cmocka_unit_test(learning_beside_a_wait_is_beside_nothing),
        cmocka_unit_test(rows_without_a_policy_wait_for_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
