// Resume: a run that was killed at any moment and goes on gives the bytes of one that was not; what
// is refused.
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/data/session.h"
#include "support/small_run.h"

enum { UPDATES = 36 };

// Three updates a tick, so that checkpoints fall inside a batch; short episodes, so that some end
// between two records; the agent's task answers to its buttons.
static const char *const busy[] = {
    "algo.per_rank_sequence_length=16",
    "algo.per_rank_batch_size=4",
    "algo.learning_starts=40",
    "algo.horizon=4",
    "algo.replay_ratio=1.55",
    "env.num_envs=2",
    "env.max_episode_steps=5",
    "checkpoint.every=7",
    "buffer.size=60",
    "metric.log_every=5",
    "checkpoint.keep_last=3",
};

// Rollouts of eleven steps and episodes of nine: some end within a rollout, and every checkpoint
// lies within one. Evaluations between, with environments of their own.
static const char *const ppo[] = {
    "env.num_envs=4",     "algo.rollout_steps=11",  "algo.minibatches=2", "env.max_episode_steps=9",
    "checkpoint.every=7", "checkpoint.keep_last=3", "eval.every=5",       "eval.episodes=2",
};

// One joint update, whose rate still grows.
static const char *const official[] = {
    "algo.profile=official",      "algo.optimizer.warmup=20", "algo.per_rank_sequence_length=16",
    "algo.per_rank_batch_size=4", "algo.learning_starts=40",  "algo.horizon=4",
    "algo.replay_ratio=1.55",     "env.num_envs=2",           "env.max_episode_steps=5",
    "checkpoint.every=7",         "buffer.size=60",           "metric.log_every=5",
    "checkpoint.keep_last=3",
};

static struct run_opts ppo_options(const char *root) {
    return (struct run_opts){.algo = "ppo",
                             .task = "exit_lab",
                             .updates = UPDATES,
                             .n_threads = 2,
                             .sessions_dir = root,
                             .no_media = true,
                             .settings = ppo,
                             .n_settings = sizeof ppo / sizeof *ppo};
}

// `mode` of DreamerV3, "ppo", or, in mode full, "pendulum": vectors and continuous actions, or
// "official": that profile.
static struct run_opts options(const char *mode, const char *root) {
    if (strcmp(mode, "ppo") == 0) return ppo_options(root);
    const bool control = strcmp(mode, "pendulum") == 0;
    const bool is_official = strcmp(mode, "official") == 0;
    struct run_opts o = small_run(control || is_official ? "full" : mode, root, UPDATES);
    if (strcmp(o.mode, "full") == 0) {
        o.task = control ? "pendulum" : "exit_lab";
        o.settings = busy;
        o.n_settings = sizeof busy / sizeof *busy;
    }
    if (is_official) {
        o.settings = official;
        o.n_settings = sizeof official / sizeof *official;
    }
    return o;
}

// The only folder in `root`.
static void only_session(const char *root, char out[200]) {
    DIR *dir = opendir(root);
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *d; (d = readdir(dir));)
        if (d->d_name[0] != '.') n++, snprintf(out, 200, "%.80s/%.110s", root, d->d_name);
    closedir(dir);
    assert_int_equal(n, 1);
}

static int64_t file_bytes(const char *folder, const char *name) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) return -1;
    fseek(f, 0, SEEK_END);
    int64_t n = ftell(f);
    fclose(f);
    return n;
}

// A child process runs; it is killed once metrics.jsonl has `bytes` bytes and `wait_us` more are
// over.
static void run_and_kill(const struct run_opts *opts, const char *root, int64_t bytes,
                         int wait_us) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct error e = {0};
        _exit((int)run_worker(opts, NULL, &e));
    }
    char session[200];
    int64_t deadline = clock_now_ns() + 60000000000;
    for (bool there = false; !there && clock_now_ns() < deadline; clock_sleep_ns(200000)) {
        if (opts->resume)
            snprintf(session, sizeof session, "%s", opts->resume);
        else if (access(root, F_OK) != 0)
            continue;
        else {
            DIR *dir = opendir(root);
            int n = 0;
            for (struct dirent *d; dir && (d = readdir(dir));) n += d->d_name[0] != '.';
            if (dir) closedir(dir);
            if (n != 1) continue;
            only_session(root, session);
        }
        there =
            file_bytes(session, "metrics.jsonl") >= bytes && file_bytes(session, "meta.json") > 0;
        if (waitpid(child, NULL, WNOHANG) == child)
            return; // done before: a resume of a finished run
    }
    clock_sleep_ns((int64_t)wait_us * 1000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void folder_in(char out[PATH_SIZE], const char *root, const char *name) {
    struct error e = {0};
    assert_true(path_join(out, root, name, &e));
}

static void assert_same_run(const char *a, const char *b) {
    static const char *const files[] = {
        "metrics.jsonl", "config.json", "checkpoints/step_000000036.safetensors",
        "checkpoints/step_000000028.safetensors", "checkpoints/step_000000035.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) assert_same_file(a, b, files[i]);
    struct error e = {0};
    struct session_data *d = session_read(b, &e);
    if (!d) fail_msg("%s", e.message);
    assert_string_equal(cJSON_GetObjectItem(d->heartbeat, "state")->valuestring, "done");
    assert_true(d->n_records >= UPDATES / 5);
    session_data_free(d);
}

static void kill_and_compare(const char *mode, const int64_t *bytes, const int *wait_us,
                             int n_kills) {
    char base[PATH_SIZE], root[PATH_SIZE], straight[200], session[200];
    snprintf(base, sizeof base, "%s", test_folder());
    folder_in(root, base, "straight");
    struct run_opts o = options(mode, root);
    run_well(&o, straight);
    for (int i = 0; i < n_kills; i++) {
        char name[32];
        snprintf(name, sizeof name, "killed%d", i);
        folder_in(root, base, name);
        o = options(mode, root);
        run_and_kill(&o, root, bytes[i], wait_us[i]);
        only_session(root, session);
        struct run_opts again = {
            .resume = session, .updates = UPDATES, .n_threads = 1 + i % 3, .no_media = true};
        if (i % 2) run_and_kill(&again, root, bytes[i] + 2500, wait_us[i]); // killed a second time
        run_well(&again, session);
        assert_same_run(straight, session);
    }
}

static void an_agents_run_killed_at_any_moment_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    const int64_t bytes[] = {0, 1, 1500};
    const int wait_us[] = {1000, 0, 3000};
    kill_and_compare("full", bytes, wait_us, SANITIZED ? 1 : 3);
}

static void
a_run_of_vectors_and_torques_killed_at_any_moment_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    const int64_t bytes[] = {1, 1500};
    const int wait_us[] = {0, 4000};
    kill_and_compare("pendulum", bytes, wait_us, SANITIZED ? 1 : 2);
}

static void an_official_agents_run_killed_at_any_moment_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    const int64_t bytes[] = {1, 1500};
    const int wait_us[] = {2000, 5000};
    kill_and_compare("official", bytes, wait_us, SANITIZED ? 1 : 2);
}

static void a_world_models_run_killed_at_any_moment_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    const int64_t bytes[] = {1500};
    const int wait_us[] = {9000};
    kill_and_compare("standing_still", bytes, wait_us, 1);
}

static void a_ppo_run_killed_at_any_moment_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    const int64_t bytes[] = {0, 2000, 9000};
    const int wait_us[] = {1000, 3000, 40000};
    kill_and_compare("ppo", bytes, wait_us, SANITIZED ? 1 : 3);
}

// How often the log says since `from` that this checkpoint was written.
static int times_said(int64_t from, const char *name) {
    struct log_line line;
    char wanted[LOG_LINE_SIZE];
    int n = 0;
    snprintf(wanted, sizeof wanted, "checkpoint %s", name);
    for (int64_t i = from; i < log_count(); i++)
        n += log_read(i, &line) && strcmp(line.text, wanted) == 0;
    return n;
}

// The first part ends after so many updates.
static void end_and_go_on(const char *const *settings, int64_t first) {
    char base[PATH_SIZE], root[PATH_SIZE], straight[200], session[200];
    snprintf(base, sizeof base, "%s", test_folder());
    folder_in(root, base, "straight");
    struct run_opts o = options("full", root);
    o.settings = settings;
    run_well(&o, straight);
    folder_in(root, base, "parts");
    o.sessions_dir = root;
    o.updates = first;
    const int64_t from = log_count();
    char last[40];
    run_well(&o, session);
    snprintf(last, sizeof last, "step_%09d.safetensors", (int)first);
    assert_int_equal(times_said(from, last), 1);
    struct run_opts again = {
        .resume = session, .updates = UPDATES, .n_threads = 1, .no_media = true};
    run_well(&again, session);
    assert_same_file(straight, session, "metrics.jsonl");
    assert_same_file(straight, session, "checkpoints/step_000000036.safetensors");
}

static void a_run_that_ended_goes_on_like_one_that_never_did(void **state) {
    (void)state;
    const char *shorter[sizeof busy / sizeof *busy];
    memcpy(shorter, busy, sizeof busy);
    shorter[6] = "env.max_episode_steps=1";
    end_and_go_on(busy, 17);
    if (!SANITIZED) end_and_go_on(shorter, 17);
}

static void a_checkpoint_due_at_the_last_update_is_written_once(void **state) {
    (void)state;
    end_and_go_on(busy, 14); // one is due every seventh update
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_ended_goes_on_like_one_that_never_did),
        cmocka_unit_test(a_checkpoint_due_at_the_last_update_is_written_once),
        cmocka_unit_test(an_agents_run_killed_at_any_moment_goes_on_to_the_same_bytes),
        cmocka_unit_test(
            a_run_of_vectors_and_torques_killed_at_any_moment_goes_on_to_the_same_bytes),
        cmocka_unit_test(an_official_agents_run_killed_at_any_moment_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_world_models_run_killed_at_any_moment_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_ppo_run_killed_at_any_moment_goes_on_to_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
