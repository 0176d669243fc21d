// Runs of several ranks, whole: the records and weights of one process with the whole batch; each
// plays its own environments; all end together, and go on together.
//
// The ranks are threads of this program, and, where mpirun is installed, processes of the built
// one.
#define _GNU_SOURCE
#include <glob.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "engine/data/safetensors.h"
#include "engine/data/session.h"
#include "engine/run/reproduce.h"
#include "support/mpirun.h"
#include "support/small_run.h"
#include "support/thread_ranks.h"
#include "support/two_heads.h"

enum { RANKS = 2, MAX_KEYS = 16 };

struct rank_run {
    pthread_t thread;
    struct run_opts opts;
    struct feed *feed;
    int64_t stop_at; // this rank is told to stop after so many updates; 0: never
    enum status status;
    struct error error;
    struct worker_summary summary;
};

static void *run_rank(void *ctx) {
    struct rank_run *r = ctx;
    struct worker *w = worker_new(&r->opts, r->feed, &r->error);
    r->status = w ? STATUS_OK : r->error.status;
    if (!w) return NULL;
    worker_start(w);
    while (r->stop_at && feed_status(r->feed)->opt_steps < r->stop_at) clock_sleep_ns(100000);
    if (r->stop_at) control_stop(feed_control(r->feed));
    r->status = worker_join(w, &r->error);
    worker_summary(w, &r->summary);
    worker_free(w);
    return NULL;
}

// Both ranks of runs[]; what is not equal on them the caller has set.
static void run_both(struct rank_run runs[RANKS]) {
    struct thread_ranks ranks;
    thread_ranks_init(&ranks, RANKS);
    for (int k = 0; k < RANKS; k++) {
        runs[k].opts.ranks = &ranks.ranks[k];
        runs[k].feed = feed_new(0);
        assert_int_equal(pthread_create(&runs[k].thread, NULL, run_rank, &runs[k]), 0);
    }
    for (int k = 0; k < RANKS; k++) {
        pthread_join(runs[k].thread, NULL);
        feed_free(runs[k].feed);
    }
    thread_ranks_deinit(&ranks);
}

// The same options on both; the session's folder.
static void run_ranks_well(const struct run_opts *opts, char session[200]) {
    struct rank_run runs[RANKS] = {{.opts = *opts}, {.opts = *opts}};
    run_both(runs);
    for (int k = 0; k < RANKS; k++)
        if (runs[k].status != STATUS_OK) fail_msg("rank %d: %s", k, runs[k].error.message);
    assert_string_equal(runs[1].summary.session, ""); // rank 0 writes
    memcpy(session, runs[0].summary.session, 200);
}

struct keys {
    const char *list[MAX_KEYS];
    int n;
};

static struct run_opts with_keys(const struct keys *keys, const char *mode, const char *root) {
    return (struct run_opts){.task = "sprites",
                             .mode = mode,
                             .preset = "micro",
                             .device = "cpu",
                             .n_threads = 1,
                             .sessions_dir = root,
                             .no_media = true,
                             .settings = keys->list,
                             .n_settings = keys->n};
}

// ---- the same data: everybody stands still, so that all environments show the same

static const struct keys whole = {
    {"algo.per_rank_sequence_length=8", "algo.learning_starts=64", "metric.log_every=4",
     "buffer.size=400", "algo.per_rank_batch_size=4", "env.num_envs=2", "algo.replay_ratio=0.25"},
    7};
static const struct keys halves = {
    {"algo.per_rank_sequence_length=8", "algo.learning_starts=64", "metric.log_every=4",
     "buffer.size=400", "algo.per_rank_batch_size=2", "env.num_envs=1", "algo.replay_ratio=0.5"},
    7};

static bool is_near(double x, double y, double tolerance) {
    return fabs(x - y) <= tolerance * fmax(fabs(y), 1e-6);
}

// Rounding differs, so 1e-5 of each value; a share of drawn classes is the batch's own.
static void assert_same_records(const char *one, const char *two) {
    static const enum metric metrics[] = {
        METRIC_LOSS_MODEL,      METRIC_OBS_NLL,       METRIC_REWARD_NLL,        METRIC_CONTINUE_NLL,
        METRIC_KL_DYN,          METRIC_PRIOR_ENTROPY, METRIC_ENTROPY_RATIO,     METRIC_REPLAY_SIZE,
        METRIC_GRAD_NORM_MODEL, METRIC_READY_STEPS,   METRIC_UPDATE_RATIO_MODEL};
    struct error e = {0};
    struct session_data *a = session_read(one, &e), *b = session_read(two, &e);
    if (!a || !b) fail_msg("%s", e.message);
    assert_int_equal(a->n_records, b->n_records);
    assert_true(a->n_records > 4);
    for (int64_t i = 0; i < a->n_records; i++) {
        const struct record *p = &a->records[i], *q = &b->records[i];
        assert_int_equal(p->opt_steps, q->opt_steps);
        assert_int_equal(p->env_steps, q->env_steps);
        for (size_t k = 0; k < sizeof metrics / sizeof *metrics; k++) {
            const double x = (double)q->value[metrics[k]], y = (double)p->value[metrics[k]];
            if (!is_near(x, y, 1e-5))
                fail_msg("update %lld, %s: %.9g, alone %.9g", (long long)p->opt_steps,
                         metric_info[metrics[k]].name, x, y);
        }
        // Each rank makes a gradient step for its own policy steps, as sheeprl counts.
        assert_true(is_near((double)q->value[METRIC_REPLAY_RATIO],
                            2 * (double)p->value[METRIC_REPLAY_RATIO], 1e-5));
    }
    session_data_free(a);
    session_data_free(b);
}

static struct safetensors *newest(const char *session) {
    char path[PATH_SIZE];
    int64_t step;
    struct error e = {0};
    struct safetensors *s = NULL;
    if (!session_newest_checkpoint(session, path, &step, &e) || !(s = safetensors_open(path, &e)))
        fail_msg("%s: %s", session, e.message);
    return s;
}

// Distance of all weights, relative to their size.
static double weights_apart(const char *one, const char *two) {
    struct safetensors *a = newest(one), *b = newest(two);
    double apart = 0, size = 0;
    for (int i = 0; i < safetensors_count(a); i++) {
        const struct st_tensor *p = safetensors_at(a, i);
        if (strncmp(p->name, "weights/", 8) != 0) continue;
        const struct st_tensor *q = safetensors_find(b, p->name);
        assert_non_null(q);
        const real *x = p->data, *y = q->data;
        for (int64_t k = 0; k < p->n_elements; k++) {
            apart += pow((double)(x[k] - y[k]), 2);
            size += pow((double)x[k], 2);
        }
    }
    safetensors_free(a);
    safetensors_free(b);
    assert_true(size > 1);
    return sqrt(apart / size);
}

static void two_ranks_make_the_records_and_weights_of_one(void **state) {
    (void)state;
    char one[200], two[200], other[200];
    struct run_opts o = with_keys(&whole, "standing_still", test_folder());
    o.updates = 24;
    run_well(&o, one);
    o = with_keys(&halves, "standing_still", o.sessions_dir);
    o.updates = 24;
    run_ranks_well(&o, two);
    assert_same_records(one, two);
    assert_true(weights_apart(one, two) <= 1e-5);
    run_well(&o, other); // half a batch alone: the comparison sees the difference
    assert_true(weights_apart(one, other) > 1e-4);
}

// ---- each plays its own environments: those that one process numbers alike

static const uint8_t *ring(struct safetensors **file, const char *session, const char *rank,
                           const char *tensor, size_t *row_bytes, int64_t *rows, int n_envs) {
    char pattern[PATH_SIZE];
    glob_t found;
    struct error e = {0};
    snprintf(pattern, sizeof pattern, "%s/checkpoints/step_*.tick_?????????%s.replay", session,
             rank);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    *file = safetensors_open(found.gl_pathv[0], &e);
    globfree(&found);
    if (!*file) fail_msg("%s", e.message);
    const struct st_tensor *t = safetensors_find(*file, tensor);
    assert_non_null(t);
    assert_int_equal(t->shape[1], n_envs);
    *rows = t->shape[0];
    *row_bytes = t->n_bytes / (size_t)(t->shape[0] * n_envs);
    return t->data;
}

static void assert_same_play(const char *one, const char *two, const char *tensor) {
    static const char *const names[RANKS] = {"", ".rank_1"};
    struct safetensors *a, *b;
    size_t bytes, same;
    int64_t rows, n;
    const uint8_t *both = ring(&a, one, "", tensor, &bytes, &rows, RANKS);
    assert_true(rows > 50);
    for (int k = 0; k < RANKS; k++) {
        const uint8_t *own = ring(&b, two, names[k], tensor, &same, &n, 1);
        assert_int_equal(n, rows);
        assert_int_equal(same, bytes);
        for (int64_t t = 0; t < n; t++)
            if (memcmp(own + (size_t)t * bytes, both + (size_t)(RANKS * t + k) * bytes, bytes) != 0)
                fail_msg("rank %d, row %lld of %s", k, (long long)t, tensor);
        safetensors_free(b);
    }
    assert_true(memcmp(both, both + bytes, bytes) != 0 || strcmp(tensor, "replay/obs") != 0);
    safetensors_free(a);
}

// Random starts, random actions, then the policy's own with the first weights.
static void ranks_play_the_environments_of_one(void **state) {
    (void)state;
    static const struct keys two = {{"algo.replay_ratio=0", "algo.learning_starts=40",
                                     "buffer.size=400", "env.num_envs=2",
                                     "env.max_episode_steps=13", "algo.per_rank_sequence_length=8",
                                     "algo.per_rank_batch_size=2"},
                                    7};
    struct keys each = two;
    each.list[3] = "env.num_envs=1";
    char a[200], b[200];
    const char *const root = test_folder();
    static const char *const tasks[] = {"pendulum", "exit_lab"};
    for (int k = 0; k < 2; k++) {
        struct run_opts o = with_keys(&two, "full", root);
        o.task = tasks[k];
        o.env_steps = 120;
        run_well(&o, a);
        o.settings = each.list;
        run_ranks_well(&o, b);
        assert_same_play(a, b, k ? "replay/action" : "replay/values");
        if (!k) assert_same_play(a, b, "replay/obs");
    }
}

// ---- the end, and going on

static const struct keys agents = {
    {"algo.per_rank_sequence_length=8", "algo.learning_starts=40", "metric.log_every=3",
     "buffer.size=200", "algo.per_rank_batch_size=2", "env.num_envs=1", "algo.replay_ratio=0.5",
     "algo.horizon=4", "env.max_episode_steps=9", "checkpoint.every=5"},
    10};

static struct run_opts agent_run(int64_t updates) {
    struct run_opts o = with_keys(&agents, "full", test_folder());
    o.task = "exit_lab";
    o.updates = updates;
    return o;
}

static void a_run_that_goes_on_gives_the_bytes_of_one_that_never_stopped(void **state) {
    (void)state;
    char straight[200], parts[200];
    struct error e = {0};
    struct run_opts o = agent_run(20);
    run_ranks_well(&o, straight);
    o = agent_run(8);
    run_ranks_well(&o, parts);
    struct run_opts on = {
        .resume = parts, .device = "cpu", .updates = 20, .n_threads = 2, .no_media = true};
    run_ranks_well(&on, parts);
    const char *const files[] = {"metrics.jsonl", "checkpoints/step_000000020.safetensors",
                                 "checkpoints/step_000000015.safetensors"};
    for (int i = 0; i < 3; i++) assert_same_file(straight, parts, files[i]);
    // Alone it cannot go on, and says how it can.
    on.updates = 30;
    assert_int_equal(run_worker(&on, NULL, &e), STATUS_USAGE);
    assert_non_null(strstr(e.message, "by 2 ranks, not 1"));
}

static void a_rank_without_its_file_is_refused_on_all(void **state) {
    (void)state;
    char session[200], command[400];
    struct run_opts o = agent_run(8);
    run_ranks_well(&o, session);
    snprintf(command, sizeof command, "rm '%s'/checkpoints/*.rank_1.replay", session);
    assert_int_equal(system(command), 0);
    const struct run_opts on = {
        .resume = session, .device = "cpu", .updates = 12, .n_threads = 1, .no_media = true};
    struct rank_run runs[RANKS] = {{.opts = on}, {.opts = on}};
    run_both(runs);
    assert_non_null(strstr(runs[1].error.message, "rank_1.replay"));
    assert_non_null(strstr(runs[0].error.message, "with rank 1"));
}

static void one_rank_that_is_told_to_stop_stops_all(void **state) {
    (void)state;
    struct run_opts o = agent_run(0);
    struct rank_run runs[RANKS] = {{.opts = o}, {.opts = o, .stop_at = 6}};
    run_both(runs);
    for (int k = 0; k < RANKS; k++) assert_int_equal(runs[k].status, STATUS_OK);
    const int64_t updates = runs[0].summary.opt_steps;
    assert_true(updates >= 6);
    assert_int_equal(updates, runs[1].summary.opt_steps);
    struct safetensors *s = newest(runs[0].summary.session);
    const struct st_tensor *t = safetensors_find(s, "state/opt_steps");
    assert_true(t && *(const int64_t *)t->data == updates);
    safetensors_free(s);
}

static void spoiled_step(struct env *env, const uint8_t *mask, const int32_t *actions,
                         uint8_t *const *obs, struct env_step_result *out) {
    static int calls;
    const float bad[2] = {NAN, NAN};
    two_heads_step(env, mask, actions, obs, out);
    if (++calls == 80) memcpy(obs[0], bad, sizeof bad);
}

static struct env *spoiled_new(const struct control_opts *o) {
    static struct env_vtable table;
    struct env *env = two_heads_new(o);
    if (o->first == 0) return env;
    table = two_heads_vtable; // the other rank's alone
    table.step = spoiled_step;
    env->vtable = &table;
    return env;
}

static void a_rank_that_fails_ends_all_and_says_why(void **state) {
    (void)state;
    struct control_task task = two_heads_task;
    task.make = spoiled_new;
    struct run_opts o = with_keys(&agents, "full", test_folder());
    o.task = NULL;
    o.control = &task;
    o.updates = 100000;
    struct rank_run runs[RANKS] = {{.opts = o}, {.opts = o}};
    run_both(runs);
    for (int k = 0; k < RANKS; k++) assert_int_equal(runs[k].status, STATUS_FAILED);
    assert_non_null(strstr(runs[1].error.message, "is not finite"));
    assert_non_null(strstr(runs[0].error.message, "rank 1"));
}

// Each rank's bundle is that update again, by itself.
static void a_bundle_of_each_rank_reproduces_its_update(void **state) {
    (void)state;
    char session[200], bundle[300];
    struct error e = {0};
    struct reproduction r;
    static const char *const key = "algo.world_model.kl_dynamic=1e39";
    struct run_opts o = agent_run(6);
    run_ranks_well(&o, session);
    const struct run_opts on = {.resume = session,
                                .device = "cpu",
                                .updates = 12,
                                .n_threads = 1,
                                .no_media = true,
                                .settings = &key,
                                .n_settings = 1};
    struct rank_run runs[RANKS] = {{.opts = on}, {.opts = on}};
    run_both(runs);
    for (int k = 0; k < RANKS; k++) {
        assert_int_equal(runs[k].status, STATUS_FAILED);
        snprintf(bundle, sizeof bundle, "%s/failures/step_000000007%s", session,
                 k ? ".rank_1" : "");
        if (!reproduce_run(bundle, 1, &r, &e)) fail_msg("%s", e.message);
        assert_int_equal(r.update, 7);
        assert_string_equal(r.found, r.recorded);
        assert_non_null(strstr(runs[k].error.message, r.found));
    }
}

// How many there are; of the first its size.
static int count_files(const char *folder, const char *pattern, off_t *size) {
    char path[PATH_SIZE];
    struct stat s = {0};
    glob_t found;
    snprintf(path, sizeof path, "%s/%s", folder, pattern);
    const int n = glob(path, 0, NULL, &found) == 0 ? (int)found.gl_pathc : 0;
    if (size && n && stat(found.gl_pathv[0], &s) == 0) *size = s.st_size;
    globfree(&found);
    return n;
}

// The disk has room for rings, not for rank 0's weights.
static void rings_of_a_checkpoint_that_cannot_be_written_go_away(void **state) {
    (void)state;
    char session[200];
    off_t ring = 0, weights = 0;
    struct rlimit before, small;
    struct run_opts o = agent_run(8);
    run_ranks_well(&o, session);
    count_files(session, "checkpoints/*.rank_1.replay", &ring);
    count_files(session, "checkpoints/*.safetensors", &weights);
    assert_true(ring > 0 && 2 * ring < weights);
    o.sessions_dir = test_folder();
    struct rank_run runs[RANKS] = {{.opts = o}, {.opts = o}};
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = (rlim_t)(2 * ring);
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    run_both(runs);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, old);
    for (int k = 0; k < RANKS; k++) assert_int_equal(runs[k].status, STATUS_FAILED);
    assert_int_equal(runs[0].summary.opt_steps, 8); // past the one that was due at 5
    assert_int_equal(count_files(runs[0].summary.session, "metrics.jsonl", NULL), 1);
    assert_int_equal(count_files(runs[0].summary.session, "checkpoints/*", NULL), 0);
}

// Nothing is begun, and nothing of a session is cut, before all agree.
static void ranks_that_were_given_other_keys_are_refused(void **state) {
    (void)state;
    struct run_opts o = agent_run(8);
    struct rank_run runs[RANKS] = {{.opts = o}, {.opts = o}};
    runs[1].opts.seed = "7";
    run_both(runs);
    for (int k = 0; k < RANKS; k++) {
        assert_int_equal(runs[k].status, STATUS_USAGE);
        assert_non_null(strstr(runs[k].error.message, "other keys"));
    }
    assert_int_equal(count_files(o.sessions_dir, "*", NULL), 0);
}

static void ppo_runs_alone(void **state) {
    (void)state;
    struct run_opts o = {.algo = "ppo", .task = "toy", .sessions_dir = test_folder()};
    struct rank_run runs[RANKS] = {{.opts = o}, {.opts = o}};
    run_both(runs);
    for (int k = 0; k < RANKS; k++) assert_non_null(strstr(runs[k].error.message, "runs alone"));
}

static void a_rank_that_runs_another_algorithm_is_refused_on_all(void **state) {
    (void)state;
    const struct run_opts o = agent_run(8);
    struct rank_run runs[RANKS] = {{.opts = o}, {.opts = o}};
    runs[1].opts.algo = "ppo";
    run_both(runs);
    assert_non_null(strstr(runs[1].error.message, "runs alone"));
    assert_non_null(strstr(runs[0].error.message, "with rank 1"));
}

// ---- processes

#define MPIRUN "timeout 100 mpirun --oversubscribe -n 2 "
#define TRAIN                                                                                      \
    "\"$W\"/workbench train --ranks mpi --headless --task exit_lab --preset micro --threads 1 "    \
    "--sessions \"$T\" algo.per_rank_sequence_length=8 algo.learning_starts=40 "                   \
    "metric.log_every=3 buffer.size=200 algo.per_rank_batch_size=2 env.num_envs=1 "                \
    "algo.replay_ratio=0.5 algo.horizon=4 env.max_episode_steps=9 checkpoint.every=5 "

// Skipped where there is no mpirun; its exit code, what was printed in `out`.
static int shell(char out[16384], const char *command) {
    skip_without_mpirun();
    const char *build = getenv("WORKBENCH_BUILD");
    setenv("W", build ? build : "build", 1);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    const size_t n = fread(out, 1, 16383, p);
    out[n] = 0;
    const int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_session(const char *root, char session[200]) {
    char pattern[PATH_SIZE];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*__exit_lab__*", root);
    assert_int_equal(glob(pattern, GLOB_ONLYDIR, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    snprintf(session, 200, "%s", found.gl_pathv[0]);
    globfree(&found);
}

static void processes_give_the_bytes_of_threads(void **state) {
    (void)state;
    char out[16384], threads[200], processes[200];
    const char *root = test_folder();
    setenv("T", root, 1);
    const int code = shell(out, MPIRUN TRAIN "--updates 12 2>&1");
    if (code != 0) fail_msg("%d: %s", code, out);
    the_session(root, processes);
    struct run_opts o = agent_run(12);
    run_ranks_well(&o, threads);
    assert_same_file(threads, processes, "metrics.jsonl");
    assert_same_file(threads, processes, "checkpoints/step_000000012.safetensors");
    const int more = shell(out, MPIRUN "\"$W\"/workbench train --ranks mpi --headless --resume "
                                       "\"$T\"/*__exit_lab__* --updates 20 2>&1");
    if (more != 0) fail_msg("%d: %s", more, out);
    o = agent_run(20);
    run_ranks_well(&o, threads);
    assert_same_file(threads, processes, "metrics.jsonl");
}

// Rank 1 is given `signal` once rank 0 has written records; both tell their exit codes. mpirun's
// own SIGTERM must not end the shells before they have.
#define SIGNALLED(signal)                                                                          \
    MPIRUN "sh -c 'trap : TERM; " TRAIN "--updates 1000000 & p=$!; "                               \
           "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then "                                               \
           "while ! [ -s \"$T\"/*/metrics.jsonl ]; do sleep 0.1; done; kill -" signal " $p; fi; "  \
           "wait $p; c=$?; [ $c = 143 ] && { wait $p; c=$?; }; "                                   \
           "echo $c >\"$T\"/code.$OMPI_COMM_WORLD_RANK; exit $c' 2>&1"

static int code_of(const char *root, int rank) {
    char path[PATH_SIZE];
    int code = -1;
    snprintf(path, sizeof path, "%s/code.%d", root, rank);
    FILE *f = fopen(path, "r");
    if (!f) return -1;
    if (fscanf(f, "%d", &code) != 1) code = -1;
    fclose(f);
    return code;
}

static void a_rank_that_is_killed_ends_the_other_with_one_line(void **state) {
    (void)state;
    char out[16384];
    const char *root = test_folder();
    setenv("T", root, 1);
    const int code = shell(out, SIGNALLED("KILL"));
    assert_true(code != 0 && code != 124); // 124: it hung
    if (!strstr(out, "workbench: rank 1 (process ")) fail_msg("%s", out);
    if (code_of(root, 0) != 1) fail_msg("rank 0's code: %d\n%s", code_of(root, 0), out);
}

static void sigterm_to_one_rank_is_a_checkpoint_and_the_end_of_all(void **state) {
    (void)state;
    char out[16384], session[200];
    const char *root = test_folder();
    setenv("T", root, 1);
    const int code = shell(out, SIGNALLED("TERM"));
    if (code != 0) fail_msg("%d: %s", code, out);
    for (int k = 0; k < RANKS; k++) assert_int_equal(code_of(root, k), 0);
    the_session(root, session);
    safetensors_free(newest(session));
}

// Told by their environment, as a launcher does, or not.
static void processes_that_open_mpi_does_not_know_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *told, *says;
    } list[] = {{"PMI_RANK=0 PMI_SIZE=2", "2 processes were started, but Open MPI sees one"},
                {"PMI_RANK=0 SLURM_STEP_NUM_TASKS=3", "3 processes were started, but"},
                {"X=0", "several ranks are started with mpirun -n N"}};
    char out[16384], command[2000];
    setenv("T", test_folder(), 1);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        snprintf(command, sizeof command, "%s timeout 100 " TRAIN "--updates 1 2>&1", list[i].told);
        assert_int_equal(shell(out, command), 1);
        if (!strstr(out, list[i].says)) fail_msg("%s: %s", list[i].told, out);
    }
}

// Jobs that share an allocation stay apart, and say once that they could be one.
static void processes_that_are_not_asked_to_join_train_alone(void **state) {
    (void)state;
    char out[16384];
#define ALONE(ranks)                                                                               \
    "SLURM_STEP_NUM_TASKS=3 timeout 100 \"$W\"/workbench train --headless --task static "          \
    "--preset micro --no-session --threads 1 --updates 1 " ranks " 2>&1"
    assert_true(shell(out, ALONE("")) == 0 && strstr(out, "3 processes were started together"));
    assert_true(shell(out, ALONE("--ranks off")) == 0 && !strstr(out, "started together"));
}

int main(void) {
    // Root in a container is fine.
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_ranks_make_the_records_and_weights_of_one),
        cmocka_unit_test(ranks_play_the_environments_of_one),
        cmocka_unit_test(a_run_that_goes_on_gives_the_bytes_of_one_that_never_stopped),
        cmocka_unit_test(a_rank_without_its_file_is_refused_on_all),
        cmocka_unit_test(one_rank_that_is_told_to_stop_stops_all),
        cmocka_unit_test(a_rank_that_fails_ends_all_and_says_why),
        cmocka_unit_test(a_bundle_of_each_rank_reproduces_its_update),
        cmocka_unit_test(rings_of_a_checkpoint_that_cannot_be_written_go_away),
        cmocka_unit_test(ranks_that_were_given_other_keys_are_refused),
        cmocka_unit_test(ppo_runs_alone),
        cmocka_unit_test(a_rank_that_runs_another_algorithm_is_refused_on_all),
        cmocka_unit_test(processes_give_the_bytes_of_threads),
        cmocka_unit_test(a_rank_that_is_killed_ends_the_other_with_one_line),
        cmocka_unit_test(sigterm_to_one_rank_is_a_checkpoint_and_the_end_of_all),
        cmocka_unit_test(processes_that_open_mpi_does_not_know_are_refused),
        cmocka_unit_test(processes_that_are_not_asked_to_join_train_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
