// bench env, replay, engine and train: what they report hangs together.
#include "engine/run/bench/bench.h"

#include <math.h>

#include "base/real.h"
#include "engine/algo/config.h"
#include "support/test.h"

static const char *const small[] = {"algo.per_rank_batch_size=2", "algo.per_rank_sequence_length=4",
                                    "algo.horizon=3"};

static struct bench_train_result measured(bool profile) {
    struct bench_train_result r;
    struct error e = {0};
    const struct bench_train_opts o = {.preset = "tiny",
                                       .n_threads = 2,
                                       .updates = 3,
                                       .profile = profile,
                                       .settings = small,
                                       .n_settings = sizeof small / sizeof *small};
    if (!bench_train(&o, &r, &e)) fail_msg("%s", e.message);
    return r;
}

static void a_full_update_is_world_model_and_behaviour(void **state) {
    (void)state;
    const struct bench_train_result r = measured(false);
    assert_true(r.world_model.min_ms > 0 && r.behaviour.min_ms > 0);
    assert_true(r.full.min_ms >= r.world_model.min_ms + r.behaviour.min_ms);
    assert_true(r.full.min_ms <= r.full.median_ms);
    assert_true(r.n_weights > 2000000 && r.n_nodes_slab_bytes > 0);
    assert_int_equal(r.n_parts, 0); // nothing is profiled unless asked for
}

static void the_parts_make_up_the_update(void **state) {
    (void)state;
    static const char *const wanted[] = {
        "encoder", "scan",  "decoder",        "heads, losses",        "imagination",
        "critic",  "actor", "weights packed", "noise, clipping, Adam"};
    const struct bench_train_result r = measured(true);
    double ms = 0, by_kind = 0;
    for (int i = 0; i < r.n_parts; i++) {
        const struct bench_part *p = &r.parts[i];
        ms += p->ms;
        assert_true(p->gflop >= 0 && p->product_ms <= p->ms);
        if (strcmp(p->name, "other") == 0)
            assert_true(p->ms < 0.2 * r.full.mean_ms); // names still give the parts
    }
    for (int i = 0; i < r.n_ops; i++) by_kind += r.ops[i].ms;
    assert_true(ms > 0.999 * r.full.mean_ms && ms < 1.001 * r.full.mean_ms);
    assert_true(by_kind > 0 && by_kind < r.full.mean_ms);
    for (size_t w = 0; w < sizeof wanted / sizeof *wanted; w++) {
        int found = 0;
        for (int i = 0; i < r.n_parts; i++) found += strcmp(r.parts[i].name, wanted[w]) == 0;
        if (found != 1) fail_msg("part '%s' is there %d times", wanted[w], found);
    }
    assert_true(r.peak_gflops > 0 && r.replay_ms > 0 && r.emulator_ms > 0);
}

// ---- bench engine

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static void every_kind_and_shape_of_an_update_has_its_work_and_time(void **state) {
    (void)state;
    struct bench_train_result r;
    struct error e = {0};
    const struct bench_train_opts o = {
        .n_threads = 2, .updates = 2, .shapes = true, .settings = small, .n_settings = 3};
    if (!bench_train(&o, &r, &e)) fail_msg("%s", e.message);
    const struct bench_kernels *k = &r.kernels;
    int linear = 0, conv = 0, norm = 0;
    double ms = 0;
    for (int i = 0; i < k->n; i++) {
        const struct bench_kernel *one = &k->list[i];
        long long m, in, rows, out;
        assert_true(one->count > 0 && one->ms > 0 && one->bytes > 0 && one->launches == 0);
        if (i) assert_true(k->list[i - 1].ms >= one->ms); // the dearest first
        if (sscanf(one->text, "linear %lldx%lld > %lldx%lld", &m, &in, &rows, &out) == 4) {
            assert_true(one->flop == 2. * (double)(m * in * out) * one->count);
            linear++;
        }
        conv += begins(one->text, "conv ") && one->flop > 0;
        norm += begins(one->text, "layer_norm ") && one->flop == 0;
        ms += one->ms;
    }
    assert_true(linear > 3 && conv > 2 && norm > 3);
    assert_true(ms <= r.full.mean_ms && ms > 0.3 * r.full.mean_ms);
    assert_true(k->rates.fma_flops > 1e9 && k->rates.copy_bytes_per_s > 1e8);
    bench_kernels_free(&r.kernels);
}

// ---- bench env

static struct bench_env_result stepped(const struct bench_env_opts *o) {
    struct bench_env_result r;
    struct error e = {0};
    if (!bench_env(o, &r, &e)) fail_msg("%s: %s", o->task, e.message);
    assert_int_equal(r.n_sizes, 1);
    assert_string_equal(r.task, o->task);
    return r;
}

// An episode of 4 steps costs 5 ticks: its first observation comes with a reset.
static void a_reset_is_a_tick_and_no_step(void **state) {
    (void)state;
    static const char *const short_episodes[] = {"env.max_episode_steps=4"};
    const struct bench_env_result r = stepped(&(struct bench_env_opts){.task = "sprites",
                                                                       .n_envs = 3,
                                                                       .n_threads = 2,
                                                                       .steps = 50,
                                                                       .settings = short_episodes,
                                                                       .n_settings = 1});
    const struct bench_env_size *s = &r.size[0];
    assert_int_equal(r.frames_per_step, 24);
    assert_int_equal(r.obs_bytes, 1440);
    assert_int_equal(s->n_envs, 3);
    assert_int_equal(s->ticks, 50);
    assert_int_equal(s->episodes, 3 * 50 / 5);
    assert_int_equal(s->steps, 3 * 50 - s->episodes);
    assert_true(s->seconds > 0 && s->steps_per_second > 0);
    assert_int_equal(s->n_checked, 0);
}

static void every_kind_of_task_is_stepped(void **state) {
    (void)state;
    static const char *const both[] = {"env.observation=both"};
    assert_int_equal(stepped(&(struct bench_env_opts){.task = "toy", .steps = 10}).obs_bytes, 1440);
    assert_int_equal(stepped(&(struct bench_env_opts){.task = "exit_lab", .n_envs = 2, .steps = 10})
                         .frames_per_step,
                     24);
    const struct bench_env_result r = stepped(&(struct bench_env_opts){
        .task = "pendulum", .steps = 1000, .settings = both, .n_settings = 1});
    assert_int_equal(r.obs_bytes, 1440 + 12);
    assert_int_equal(r.frames_per_step, 0);
    assert_int_equal(r.size[0].n_envs, 16);
    assert_int_equal(r.size[0].episodes, 16 * 4); // of 200 steps, 4 ticks before the clock
}

// ---- bench replay

static struct bench_replay_result remembered(const char *const *settings, int n, int64_t n_envs) {
    struct bench_replay_result r;
    struct error e = {0};
    const struct bench_replay_opts o = {
        .n_envs = n_envs, .n_threads = 2, .steps = 10, .settings = settings, .n_settings = n};
    if (!bench_replay(&o, &r, &e)) fail_msg("%s", e.message);
    return r;
}

static void rows_are_written_drawn_gathered_and_unpacked(void **state) {
    (void)state;
    static const char *const sizes[] = {"algo.per_rank_batch_size=3",
                                        "algo.per_rank_sequence_length=5", "buffer.size=1000"};
    static const char *const parts[] = {"written", "drawn", "drawn, gathered", "unpacked"};
    // Of a row, read and written: picture, action, episode, reward, flags in the ring; as one-hot
    // of 8, reward, continue and first in a batch; its pixels.
    const double reals = sizeof(real),
                 bytes[] = {2 * (1440 + 15), 0, 2 * 1440 + 15 + 11 * reals, 1440 + 5760 * reals};
    const struct bench_replay_result r = remembered(sizes, 3, 2);
    assert_int_equal(r.length, 5);
    assert_int_equal(r.batch, 3);
    assert_int_equal(r.n_envs, 2);
    assert_int_equal(r.rows, 500);
    assert_int_equal(r.n_parts, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(r.part[i].name, parts[i]);
        assert_true(r.part[i].rows_per_second > 0);
        assert_true(fabs(r.part[i].bytes_per_second / r.part[i].rows_per_second - bytes[i]) < 1e-6);
    }
    assert_true(r.memory_bytes_per_s > 1e8);
}

static void the_ring_of_the_benchmark_is_no_larger_than_needed(void **state) {
    (void)state;
    static const char *const large[] = {"buffer.size=100000000", "env.num_envs=4"};
    const struct bench_replay_result r = remembered(large, 2, 0);
    assert_int_equal(r.n_envs, 4);
    assert_int_equal(r.rows, (1 << 17) / 4);
}

// The ring beside an update has one environment, also where the run's have no room in it.
static void a_batch_beside_an_update_comes_from_one_environment(void **state) {
    (void)state;
    static const char *const many[] = {"env.num_envs=4096", "algo.per_rank_sequence_length=64"};
    struct error e = {0};
    struct bench_replay_result r;
    const struct bench_replay_opts o = {.settings = many, .n_settings = 2};
    struct config c;
    double ms = 0;
    assert_true(config_init(&c, "tiny", &e));
    for (int i = 0; i < 2; i++) assert_true(config_set(&c, many[i], &e));
    assert_false(bench_replay(&o, &r, &e));
    assert_int_equal(e.status, STATUS_USAGE);
    if (!bench_replay_batch(&c, &ms, &e)) fail_msg("%s", e.message);
    assert_true(ms > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_update_is_world_model_and_behaviour),
        cmocka_unit_test(the_parts_make_up_the_update),
        cmocka_unit_test(every_kind_and_shape_of_an_update_has_its_work_and_time),
        cmocka_unit_test(a_reset_is_a_tick_and_no_step),
        cmocka_unit_test(every_kind_of_task_is_stepped),
        cmocka_unit_test(rows_are_written_drawn_gathered_and_unpacked),
        cmocka_unit_test(the_ring_of_the_benchmark_is_no_larger_than_needed),
        cmocka_unit_test(a_batch_beside_an_update_comes_from_one_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
