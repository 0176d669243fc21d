// PPO runs end to end: determinism, stop and resume, failure folder, refusals, memory.
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "ppo_small_run.h"

static void read_all(const char *folder, const char *name, uint8_t **data, size_t *n) {
    struct error e = {0};
    char path[PATH_SIZE];
    if (!path_join(path, folder, name, &e) || !file_read(path, 1 << 28, data, n, &e))
        fail_msg("%s", e.message);
}

static void the_same_seed_gives_the_same_bytes_whatever_the_threads(void **state) {
    (void)state;
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s[2];
    for (int i = 0; i < 2; i++) {
        struct run_opts o = options(root, 4);
        o.n_threads = i ? 3 : 1;
        must_run(&o, &s[i]);
    }
    assert_same_file(s[0].session, s[1].session, "metrics.jsonl");
    assert_same_file(s[0].session, s[1].session, "checkpoints/step_000000004.safetensors");
    assert_int_equal(s[0].opt_steps, 4);
    assert_int_equal(s[0].env_steps, 4 * 48);
    assert_true(s[0].all_finite && s[0].episodes > 0 && strcmp(s[0].algo, "ppo") == 0);
}

// Resumed at update 2 of 6, in an episode and with a rollout cut off.
static void resume_equals_an_uninterrupted_run(const char *task) {
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary whole, part;
    struct run_opts o = options(root, 6);
    o.task = task;
    must_run(&o, &whole);
    o.updates = 2;
    must_run(&o, &part);
    struct run_opts again = {
        .resume = part.session, .updates = 6, .n_threads = 1, .no_media = true};
    struct worker_summary resumed;
    must_run(&again, &resumed);
    assert_string_equal(resumed.session, part.session);
    assert_int_equal(resumed.opt_steps, 6);
    assert_same_file(whole.session, part.session, "metrics.jsonl");
    assert_same_file(whole.session, part.session, "checkpoints/step_000000006.safetensors");
}

static void a_resumed_toy_run_equals_an_uninterrupted_one(void **state) {
    (void)state;
    resume_equals_an_uninterrupted_run("toy");
}

static void a_resumed_game_boy_run_equals_an_uninterrupted_one(void **state) {
    (void)state;
    if (SANITIZED) skip();
    resume_equals_an_uninterrupted_run("exit_lab");
}

// More environments than a checkpoint takes: their episodes begin anew, the count of steps goes on.
static void a_resumed_run_of_many_environments_counts_on(void **state) {
    (void)state;
    const char *settings[MORE];
    memcpy(settings, small, sizeof small);
    settings[N_SMALL] = "env.num_envs=258";
    settings[N_SMALL + 1] = "algo.rollout_steps=2";
    struct run_opts o = options(test_folder(), 2);
    o.settings = settings;
    o.n_settings = N_SMALL + 2;
    struct worker_summary first, resumed;
    must_run(&o, &first);
    assert_int_equal(first.env_steps, 2 * 2 * 258);
    struct run_opts again = {
        .resume = first.session, .updates = 3, .n_threads = 1, .no_media = true};
    must_run(&again, &resumed);
    assert_int_equal(resumed.opt_steps, 3);
    assert_int_equal(resumed.env_steps, 3 * 2 * 258);
}

// Going back to an older checkpoint cuts the records after it off.
static void resume_from_an_older_checkpoint_plays_the_same_again(void **state) {
    (void)state;
    char root[PATH_SIZE], checkpoint[PATH_SIZE];
    struct error e = {0};
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s;
    struct run_opts o = options(root, 6);
    must_run(&o, &s);
    uint8_t *before, *after;
    size_t n, m;
    read_all(s.session, "metrics.jsonl", &before, &n);
    assert_true(path_join(checkpoint, s.session, "checkpoints/step_000000004.safetensors", &e));
    struct run_opts again = {.resume = checkpoint, .updates = 6, .n_threads = 1, .no_media = true};
    must_run(&again, NULL);
    read_all(s.session, "metrics.jsonl", &after, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
}

static void refuse(const struct run_opts *o, const char *word) {
    struct error e = {0};
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(o, feed, &e);
    if (w) fail_msg("accepted; expected \"%s\"", word);
    assert_int_equal(e.status, STATUS_USAGE);
    if (!strstr(e.message, word)) fail_msg("'%s' has no '%s'", e.message, word);
    feed_free(feed);
}

static void a_resume_with_another_network_or_game_is_refused(void **state) {
    (void)state;
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s;
    struct run_opts o = options(root, 1);
    must_run(&o, &s);
    static const char *const stack[] = {"env.frame_stack=2"},
                             *const codec[] = {"env.action_codec=v1"},
                             *const envs[] = {"env.num_envs=12"};
    struct run_opts again = {.resume = s.session, .updates = 2, .n_threads = 1, .n_settings = 1};
    again.settings = stack, refuse(&again, "env.frame_stack is 4 there, not 2");
    again.settings = codec, refuse(&again, "env.action_codec is v0 there, not v1");
    again.settings = envs, refuse(&again, "env.num_envs is 6 there, not 12");
    again.n_settings = 0;
    again.task = "exit_lab";
    refuse(&again, "cannot change");
}

static void options_that_ppo_cannot_honour_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"algo.horizon=10"}, *const odd[] = {"algo.minibatches=7"};
    struct run_opts o = {.algo = "ppo", .updates = 1, .no_session = true, .n_threads = 1};
    o.mode = "standing_still", refuse(&o, "--mode standing_still"), o.mode = NULL;
    o.preset = "tiny", refuse(&o, "--preset tiny"), o.preset = NULL;
    o.task = "sprites", refuse(&o, "scene without a goal"), o.task = NULL;
    o.task = "nowhere", refuse(&o, "no such task; known: toy"), o.task = NULL;
    o.rom_path = "game.gb", refuse(&o, "PPO needs a goal"), o.rom_path = NULL;
    o.resume = "x", refuse(&o, "--resume and --no-session exclude each other"), o.resume = NULL;
    o.settings = wrong, o.n_settings = 1, refuse(&o, "unknown config key 'algo.horizon'");
    o.settings = odd, refuse(&o, "algo.minibatches=7 does not divide");
    o.algo = "sarsa", o.n_settings = 0, refuse(&o, "no such algorithm; known: dreamer_v3, ppo");
}

static void a_loss_that_is_not_finite_leaves_a_failure_folder_and_an_error(void **state) {
    (void)state;
    char root[PATH_SIZE], path[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    const char *settings[MORE];
    memcpy(settings, small, sizeof small);
    settings[N_SMALL] = "algo.vf_coef=1e300"; // the value loss overflows a float
    struct run_opts o = options(root, 3);
    o.settings = settings;
    o.n_settings = N_SMALL + 1;
    struct worker_summary s;
    struct error e = {0};
    assert_int_equal(run(&o, &s, &e), STATUS_FAILED);
    assert_non_null(strstr(e.message, "not finite"));
    assert_false(s.all_finite);
    static const char *const files[] = {"failure.json", "before.safetensors",
                                        "minibatch.safetensors", "config.json",
                                        "last_metrics.jsonl"};
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/failures/step_000000001/%s", s.session, files[i]);
        if (!file_exists(path)) fail_msg("%s is missing", path);
    }
    snprintf(path, sizeof path, "%s/failures/step_000000001/failure.json", s.session);
    cJSON *report = json_read_file(path, 1 << 20, &e);
    const char *command;
    assert_non_null(report);
    assert_true(json_get_string(report, "command", path, &command, &e));
    assert_non_null(strstr(command, "--algo ppo --task toy"));
    assert_non_null(strstr(command, "algo.vf_coef="));
    cJSON_Delete(report);
}

// Whether a line with these words was written since.
static bool was_said(int64_t from, const char *words, struct log_line *out) {
    for (int64_t i = from; i < log_count(); i++)
        if (log_read(i, out) && strstr(out->text, words)) return true;
    return false;
}

// A full disk, played by a limit on the size of files.
static void when_the_disk_is_full_the_old_checkpoints_stay_and_the_run_goes_on(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct rlimit before, tiny;
    struct error e = {0};
    struct worker_summary s;
    struct log_line line;
    struct run_opts o = options(test_folder(), 2);
    must_run(&o, &s);
    getrlimit(RLIMIT_FSIZE, &before);
    tiny = before;
    tiny.rlim_cur = 1 << 20;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    const int64_t from = log_count();
    struct run_opts again = {.resume = s.session, .updates = 6, .n_threads = 1, .no_media = true};
    setrlimit(RLIMIT_FSIZE, &tiny);
    const enum status status = run(&again, &s, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, old);
    assert_true(was_said(from, "no checkpoint at update 4", &line));
    assert_int_equal(s.opt_steps, 6); // it went on
    assert_int_equal(status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "step_000000006"));
    snprintf(path, sizeof path, "%.190s/checkpoints/step_000000002.safetensors", s.session);
    assert_true(file_exists(path));
    again.updates = 3;
    must_run(&again, NULL); // the old one still carries the run on
}

// ---- memory

// Resident memory of this process, bytes.
static double resident(void) {
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d %lld", &pages), 1);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void a_run_says_first_how_much_memory_it_will_take(void **state) {
    (void)state;
    if (SANITIZED) skip(); // their shadow memory counts
    static const char *const big[] = {"env.num_envs=64", "algo.rollout_steps=32"};
    struct run_opts o = options(NULL, 1);
    struct error e = {0};
    struct log_line line;
    o.no_session = true;
    o.settings = big;
    o.n_settings = 2;
    const double before = resident();
    const int64_t first = log_count();
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&o, feed, &e);
    assert_non_null(w);
    assert_true(was_said(first, "about ", &line));
    const double megabytes = atof(strstr(line.text, "about ") + 6);
    assert_int_equal(worker_run(w, &e), STATUS_OK);
    const double taken = (resident() - before) / 1e6;
    print_message("memory: %.0f MB said, %.0f MB taken\n", megabytes, taken);
    assert_true(fabs(megabytes - taken) < 0.1 * taken + 5); // the allocator's, thread stacks
    assert_false(was_said(first, "more than this machine's", &line));
    worker_free(w);
    feed_free(feed);
}

// Full batches of half a million samples; nothing is touched before the first update.
static void a_run_that_does_not_fit_the_machine_is_warned_of(void **state) {
    (void)state;
    if (SANITIZED) skip();
    static const char *const huge[] = {"env.num_envs=4096", "algo.minibatches=1"};
    struct run_opts o = options(NULL, 1);
    struct error e = {0};
    struct log_line line;
    o.no_session = true;
    o.settings = huge;
    o.n_settings = 2;
    const int64_t first = log_count();
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&o, feed, &e);
    if (!w) fail_msg("%s", e.message);
    assert_true(was_said(first, "more than this machine's", &line));
    assert_int_equal(line.level, LOG_WARN);
    worker_free(w);
    feed_free(feed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_bytes_whatever_the_threads),
        cmocka_unit_test(a_resumed_toy_run_equals_an_uninterrupted_one),
        cmocka_unit_test(a_resumed_game_boy_run_equals_an_uninterrupted_one),
        cmocka_unit_test(a_resumed_run_of_many_environments_counts_on),
        cmocka_unit_test(resume_from_an_older_checkpoint_plays_the_same_again),
        cmocka_unit_test(a_resume_with_another_network_or_game_is_refused),
        cmocka_unit_test(options_that_ppo_cannot_honour_are_refused),
        cmocka_unit_test(a_loss_that_is_not_finite_leaves_a_failure_folder_and_an_error),
        cmocka_unit_test(when_the_disk_is_full_the_old_checkpoints_stay_and_the_run_goes_on),
        cmocka_unit_test(a_run_says_first_how_much_memory_it_will_take),
        cmocka_unit_test(a_run_that_does_not_fit_the_machine_is_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
