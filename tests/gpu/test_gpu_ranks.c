// Ranks on devices: the programs of two ranks give the weights of one with the whole batch,
// enqueued, captured and replayed; a bad number on one stops both; what is missing is said.
//
// The devices are two of the harness, NCCL is a library of the tests' own over threads.
#include "gpu/device_run.h"

#include <math.h>
#include <pthread.h>

#include "engine/algo/dreamer_v3/dreamer.h"
#include "support/config_of.h"
#include "support/rank_share.h"
#include "support/thread_ranks.h"

enum { ACTIONS = 5, BATCH = 2, UPDATES = 3, RANKS = 2 };
static const char *const SMALL[] = {"algo.per_rank_sequence_length=3",
                                    "algo.horizon=2",
                                    "algo.dense_units=8",
                                    "algo.world_model.stochastic_size=4",
                                    "algo.world_model.discrete_size=5",
                                    "algo.world_model.recurrent_model.recurrent_state_size=8",
                                    "algo.world_model.transition_model.hidden_size=8",
                                    "algo.world_model.representation_model.hidden_size=8",
                                    "algo.world_model.encoder.cnn_channels_multiplier=1",
                                    "algo.critic.per_rank_target_network_update_freq=2",
                                    NULL};

static struct config small_config(int batch) {
    char size[64];
    snprintf(size, sizeof size, "algo.per_rank_batch_size=%d", batch);
    struct config c = config_of("tiny", SMALL);
    config_take(&c, (const char *const[]){size, NULL});
    return c;
}

struct rank_thread {
    pthread_t thread;
    struct ranks *ranks;
    int poison; // the update at which rank 1's reward is not a number; -1: never
    struct dreamer *d;
    bool joined;
    char why[512];
};

static struct dreamer *train(int batch, struct ranks *ranks, int poison) {
    const struct config c = small_config(batch);
    struct pool *pool = pool_new(1);
    struct dreamer *d = dreamer_new(&(struct dreamer_opts){
        .config = &c, .n_actions = ACTIONS, .pool = pool, .read_every = 1, .ranks = ranks});
    struct dreamer_result r;
    assert_true(dreamer_on_device(d));
    for (int i = 0; i < UPDATES; i++) {
        const struct wm_batch *b = wm_batch(dreamer_world(d));
        fill_share(b, (uint64_t)i, ranks_share(ranks, BATCH).first, BATCH);
        if (i == poison && ranks->rank == 1) b->rewards[0] = (real)NAN;
        const bool fine = dreamer_update(d, &r);
        if (fine != (i != poison)) fail_msg("update %d: %s", i, r.bad_node);
        if (!fine) break;
    }
    dreamer_sync(d, true);
    pool_free(pool);
    return d;
}

static void *run_rank(void *ctx) {
    struct rank_thread *t = ctx;
    t->joined = ranks_join_device(t->ranks, parity_backend(), t->why, sizeof t->why);
    if (t->joined) t->d = train(BATCH / RANKS, t->ranks, t->poison);
    return NULL;
}

static void run_ranks(struct rank_thread t[RANKS], struct thread_ranks *ranks, int poison) {
    thread_ranks_init(ranks, RANKS);
    parity_backend();
    for (int k = 0; k < RANKS; k++) {
        t[k] = (struct rank_thread){.ranks = &ranks->ranks[k], .poison = poison};
        assert_int_equal(pthread_create(&t[k].thread, NULL, run_rank, &t[k]), 0);
    }
    for (int k = 0; k < RANKS; k++) pthread_join(t[k].thread, NULL);
}

static void end_ranks(struct rank_thread t[RANKS], struct thread_ranks *ranks) {
    for (int k = 0; k < RANKS; k++) dreamer_free(t[k].d);
    thread_ranks_deinit(ranks);
}

// Largest distance of a parameter set or of the range, relative to its size.
static double distance(struct dreamer *a, struct dreamer *b) {
    double worst = 0;
    for (int s = 0; s < DREAMER_N_SETS; s++) {
        const struct params *p = dreamer_params(a, (enum dreamer_set)s),
                            *q = dreamer_params(b, (enum dreamer_set)s);
        double apart = 0, size = 0;
        for (int64_t i = 0; i < q->n_flat; i++) {
            apart += pow((double)(p->weights[i] - q->weights[i]), 2);
            size += pow((double)q->weights[i], 2);
        }
        worst = worse(worst, sqrt(apart / size));
    }
    for (int k = 0; k < 2; k++) {
        const double x = (double)dreamer_range(a)[k], y = (double)dreamer_range(b)[k];
        worst = worse(worst, fabs(x - y) / fabs(y));
    }
    return worst;
}

// Made once.
static struct dreamer *of_the_whole_batch(void) {
    static struct dreamer *one;
    parity_backend();
    if (!one) one = train(BATCH, NULL, -1);
    return one;
}

static void two_devices_of_half_a_batch_give_the_weights_of_one(void **state) {
    (void)state;
    struct rank_thread t[RANKS];
    struct thread_ranks ranks;
    struct dreamer *one = of_the_whole_batch();
    run_ranks(t, &ranks, -1);
    for (int k = 0; k < RANKS; k++)
        if (!t[k].joined) fail_msg("%s", t[k].why);
    const double apart = distance(t[0].d, one);
    if (!(apart <= 1e-5)) fail_msg("apart by %g", apart);
    assert_true(distance(t[0].d, t[1].d) == 0); // to the bit
    end_ranks(t, &ranks);
}

static void a_sum_that_leaves_a_rank_out_is_noticed(void **state) {
    (void)state;
    struct rank_thread t[RANKS];
    struct thread_ranks ranks;
    struct dreamer *one = of_the_whole_batch();
    setenv("FAKE_NCCL", "broken", 1);
    run_ranks(t, &ranks, -1);
    unsetenv("FAKE_NCCL");
    assert_true(distance(t[0].d, one) > 1e-5);
    end_ranks(t, &ranks);
}

static void a_bad_number_on_one_device_stops_both(void **state) {
    (void)state;
    struct rank_thread t[RANKS];
    struct thread_ranks ranks;
    run_ranks(t, &ranks, 1); // in a captured graph
    for (int k = 0; k < RANKS; k++) assert_int_equal(wm_opt_steps(dreamer_world(t[k].d)), 1);
    assert_true(distance(t[0].d, t[1].d) == 0);
    end_ranks(t, &ranks);
}

static void what_nccl_refuses_is_said_on_all(void **state) {
    (void)state;
    struct rank_thread t[RANKS];
    struct thread_ranks ranks;
    setenv("FAKE_NCCL", "refuses", 1);
    run_ranks(t, &ranks, -1);
    unsetenv("FAKE_NCCL");
    for (int k = 0; k < RANKS; k++) {
        assert_false(t[k].joined);
        assert_string_equal(t[k].why, "ncclCommInitRank: unhandled system error");
    }
    thread_ranks_deinit(&ranks);
}

static void *join_cpu(void *ctx) {
    struct rank_thread *t = ctx;
    t->joined = ranks_join_device(t->ranks, NULL, t->why, sizeof t->why);
    return NULL;
}

// Nobody waits for a rank that has no GPU.
static void a_rank_without_a_gpu_is_named(void **state) {
    (void)state;
    struct rank_thread t[RANKS];
    struct thread_ranks ranks;
    thread_ranks_init(&ranks, RANKS);
    for (int k = 0; k < RANKS; k++) {
        t[k] = (struct rank_thread){.ranks = &ranks.ranks[k], .poison = -1};
        pthread_create(&t[k].thread, NULL, k ? join_cpu : run_rank, &t[k]);
    }
    for (int k = 0; k < RANKS; k++) {
        pthread_join(t[k].thread, NULL);
        assert_false(t[k].joined);
        assert_non_null(strstr(t[k].why, "rank 1 has no GPU"));
    }
    thread_ranks_deinit(&ranks);
}

// ---- whole runs

struct run_thread {
    pthread_t thread;
    struct run_opts opts;
    struct feed *feed;
    struct error error;
};

static void *run_worker_of_rank(void *ctx) {
    struct run_thread *t = ctx;
    struct worker *w = worker_new(&t->opts, t->feed, &t->error);
    if (w) worker_run(w, &t->error);
    worker_free(w);
    return NULL;
}

// The records of rank 0.
static struct feed *run_both(const char *device, const char *const *more, char why[600]) {
    struct run_thread t[RANKS];
    struct thread_ranks ranks;
    thread_ranks_init(&ranks, RANKS);
    for (int k = 0; k < RANKS; k++) {
        t[k] = (struct run_thread){.opts = device_run(device, more, 2), .feed = feed_new(0)};
        t[k].opts.ranks = &ranks.ranks[k];
        assert_int_equal(pthread_create(&t[k].thread, NULL, run_worker_of_rank, &t[k]), 0);
    }
    for (int k = 0; k < RANKS; k++) pthread_join(t[k].thread, NULL);
    snprintf(why, 600, "%s", t[0].error.message);
    assert_true(!t[0].error.message[0] == !t[1].error.message[0]);
    feed_free(t[1].feed);
    thread_ranks_deinit(&ranks);
    return t[0].feed;
}

static void runs_of_two_ranks_on_devices_have_the_records_of_those_on_cpus(void **state) {
    (void)state;
    static const char *const more[] = {"algo.per_rank_batch_size=1", "metric.log_every=1",
                                       "algo.per_rank_sequence_length=2", "algo.replay_ratio=1",
                                       NULL};
    char why[600];
    struct feed *cpu = run_both("cpu", more, why);
    assert_string_equal(why, "");
    struct feed *device = run_both("cuda", more, why);
    assert_string_equal(why, "");
    assert_int_equal(feed_n_records(cpu), 2);
    assert_int_equal(feed_n_records(device), 2);
    for (int64_t i = 0; i < 2; i++) {
        const struct record *a = feed_record(device, i), *b = feed_record(cpu, i);
        assert_int_equal(a->env_steps, b->env_steps);
        int n = 0;
        for (int m = 0; m < METRIC_COUNT; m++) {
            if (metric_info[m].timed || !(a->present & b->present & METRIC_BIT(m))) continue;
            const double x = (double)a->value[m], y = (double)b->value[m];
            if (!(fabs(x - y) <= 1e-4 * fmax(1, fabs(y))))
                fail_msg("%s: %.9g on devices, %.9g on CPUs", metric_info[m].name, x, y);
            n++;
        }
        assert_true(n > 25);
    }
    feed_free(cpu);
    feed_free(device);
}

// No record is due, none is written: both look when they end.
static void a_run_of_two_ranks_fails_with_its_last_update(void **state) {
    (void)state;
    static const char *const more[] = {"algo.per_rank_batch_size=1",
                                       "metric.log_every=1000",
                                       "algo.per_rank_sequence_length=2",
                                       "algo.replay_ratio=1",
                                       "checkpoint.every=0",
                                       "algo.world_model.kl_dynamic=1e39",
                                       NULL};
    char why[600];
    struct feed *feed = run_both("cuda", more, why);
    if (!strstr(why, "update 1: the loss is not finite")) fail_msg("\"%s\"", why);
    assert_int_equal(feed_n_records(feed), 0);
    feed_free(feed);
}

static void the_official_profile_stays_on_cpus(void **state) {
    (void)state;
    static const char *const more[] = {"algo.profile=official", "algo.per_rank_sequence_length=2",
                                       NULL};
    char why[600];
    feed_free(run_both("cuda", more, why));
    if (!strstr(why, "--device cpu")) fail_msg("%s", why);
}

// Each rank of a machine sees one of its GPUs.
static void ranks_of_a_machine_take_a_gpu_each(void **state) {
    (void)state;
    static const struct {
        const char *given;
        int local, n_local;
        const char *own;
    } list[] = {{NULL, 2, 4, "2"},      {"4,5,6,7", 0, 4, "4"},
                {"4,5,6,7", 3, 4, "7"}, {"4,5", 2, 4, ""},
                {"3", 1, 2, "3"},       {"", 1, 2, ""},
                {"4,5", 0, 1, "4,5"},   {"GPU-a,GPU-b", 1, 2, "GPU-b"}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const struct ranks r = {.local = list[i].local, .n_local = list[i].n_local, .n = 4};
        unsetenv("CUDA_VISIBLE_DEVICES");
        if (list[i].given) setenv("CUDA_VISIBLE_DEVICES", list[i].given, 1);
        device_of_rank(&r);
        assert_string_equal(getenv("CUDA_VISIBLE_DEVICES"), list[i].own);
    }
    unsetenv("CUDA_VISIBLE_DEVICES");
}

// The library is looked for once a process, so these two ask another one.
static int joins_with(const char *library) {
    struct rank_thread t[RANKS];
    struct thread_ranks ranks;
    setenv("WORKBENCH_NCCL_LIBRARY", library, 1);
    run_ranks(t, &ranks, -1);
    for (int k = 0; k < RANKS; k++) printf("%s\n", t[k].why);
    return t[0].joined || t[1].joined;
}

static void a_library_that_is_missing_or_another_is_one_line(void **state) {
    (void)state;
    static const struct {
        const char *library, *says;
    } list[] = {{"nowhere/libnccl.so.2", "no NCCL here (nowhere/libnccl.so.2: cannot open"},
                {"libm.so.6", "libm.so.6 has no ncclGetUniqueId: it is not NCCL"}};
    char self[4096], command[9000], line[600];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n] = 0;
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof command, "'%s' %s", self, list[i].library);
        FILE *p = popen(command, "r");
        assert_non_null(p);
        for (int k = 0; k < RANKS; k++) {
            assert_non_null(fgets(line, sizeof line, p));
            if (strncmp(line, list[i].says, strlen(list[i].says)) != 0) fail_msg("%s", line);
        }
        assert_int_equal(pclose(p), 0);
    }
}

int main(int argc, char **argv) {
    if (argc > 1) return joins_with(argv[1]);
    if (!parity_on_harness()) // one process a GPU there: mpirun, docs/gpu.md
        return parity_skip_all("two ranks need two GPUs and two processes");
    parity_for_runs();
    setenv("WORKBENCH_NCCL_LIBRARY", harness_path("fake_nccl"), 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_devices_of_half_a_batch_give_the_weights_of_one),
        cmocka_unit_test(a_sum_that_leaves_a_rank_out_is_noticed),
        cmocka_unit_test(a_bad_number_on_one_device_stops_both),
        cmocka_unit_test(what_nccl_refuses_is_said_on_all),
        cmocka_unit_test(a_rank_without_a_gpu_is_named),
        cmocka_unit_test(runs_of_two_ranks_on_devices_have_the_records_of_those_on_cpus),
        cmocka_unit_test(a_run_of_two_ranks_fails_with_its_last_update),
        cmocka_unit_test(the_official_profile_stays_on_cpus),
        cmocka_unit_test(ranks_of_a_machine_take_a_gpu_each),
        cmocka_unit_test(a_library_that_is_missing_or_another_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
