// What a resume refuses, what it warns of, and what it survives: other games and models, broken
// files, a full disk.
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/data/session.h"
#include "support/small_run.h"

// Checkpoints of updates 7, 14 and 16; rings beside the last two.
enum { UPDATES = 16 };
static char root[PATH_SIZE], session[200];

static int make_session(void **state) {
    (void)state;
    snprintf(root, sizeof root, "%s", test_folder());
    struct run_opts o = small_run("full", root, UPDATES);
    run_well(&o, session);
    return 0;
}

static struct run_opts resumed(const char *path) {
    return (struct run_opts){
        .resume = path, .updates = UPDATES + 8, .n_threads = 1, .no_media = true};
}

// A line of the log since `from` with `what` in it.
static bool was_said(int64_t from, enum log_level level, const char *what) {
    struct log_line line;
    for (int64_t i = from; i < log_count(); i++)
        if (log_read(i, &line) && line.level == level && strstr(line.text, what)) return true;
    return false;
}

static void a_private_copy(char out[200]) {
    static int n;
    char command[PATH_SIZE];
    snprintf(out, 200, "%.150s/copy%d", root, ++n);
    snprintf(command, sizeof command, "cp -r %.190s %.190s", session, out);
    assert_int_equal(system(command), 0);
}

static void assert_refused(const struct run_opts *o, const char *a, const char *b) {
    struct error e = {0};
    if (run_worker(o, NULL, &e) == STATUS_OK) fail_msg("%s, %s: was accepted", a, b);
    if (!strstr(e.message, a) || !strstr(e.message, b))
        fail_msg("%s, %s: says %s", a, b, e.message);
    assert_null(strchr(e.message, '\n'));
}

static void another_game_or_model_is_refused_with_both_values(void **state) {
    (void)state;
    static const char *const units[] = {"algo.dense_units=24"},
                             *const codec[] = {"env.action_codec=v0"},
                             *const envs[] = {"env.num_envs=3"},
                             *const latent[] = {"algo.world_model.discrete_size=6"},
                             *const profile[] = {"algo.profile=official"};
    char before[PATH_SIZE];
    snprintf(before, sizeof before, "%s/metrics.jsonl", session);
    struct stat was, is;
    assert_int_equal(stat(before, &was), 0);
    struct run_opts o = resumed(session);
    o.n_settings = 1;
    o.settings = units;
    assert_refused(&o, "algo.dense_units is ", "not 24");
    o.settings = codec;
    assert_refused(&o, "env.action_codec is v1", "not v0");
    o.settings = envs;
    assert_refused(&o, "env.num_envs is 2", "not 3");
    o.settings = latent;
    assert_refused(&o, "discrete_size is ", "not 6");
    o.settings = profile;
    assert_refused(&o, "algo.profile is sheeprl", "not official");
    o = resumed(session);
    o.task = "static";
    assert_refused(&o, "sprites", "static");
    o = resumed(session);
    o.mode = "standing_still";
    assert_refused(&o, "full", "standing_still");
    o = resumed(session);
    o.preset = "tiny";
    assert_refused(&o, "micro", "tiny");
    o = resumed(session);
    o.rom_path = "game.gb";
    assert_refused(&o, "--task sprites", "--rom game.gb");
    assert_int_equal(stat(before, &is), 0); // and nothing was cut
    assert_int_equal(was.st_size, is.st_size);
}

static void replace_in(const char *folder, const char *name, const char *from, const char *to) {
    char path[PATH_SIZE];
    uint8_t *text;
    size_t n;
    struct error e = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_true(file_read(path, 1 << 20, &text, &n, &e));
    char *at = strstr((char *)text, from);
    if (!at) fail_msg("%s holds no %s", path, from);
    char *changed = malloc(n + 200);
    int size = snprintf(changed, n + 200, "%.*s%s%s", (int)(at - (char *)text), (char *)text, to,
                        at + strlen(from));
    assert_true(file_write_atomic(path, changed, (size_t)size, &e));
    free(changed);
    free(text);
}

// The ROM that a name gives and the timing that the program has are what they are; so the session
// is another's.
static void another_rom_or_frame_timing_is_refused_with_both_values(void **state) {
    (void)state;
    char copy[200], rom[PATH_SIZE];
    a_private_copy(copy);
    replace_in(copy, "meta.json", "\"frames_per_step\":\t24", "\"frames_per_step\":\t12");
    struct run_opts o = resumed(copy);
    assert_refused(&o, "frames_per_step is 12", "not 24");
    a_private_copy(copy);
    replace_in(copy, "meta.json", "\"release_after\":\t8", "\"release_after\":\t4");
    o = resumed(copy);
    assert_refused(&o, "release_after is 4", "not 8");
    a_private_copy(copy);
    snprintf(rom, sizeof rom, "assets/roms/scroll.gb");
    replace_in(copy, "meta.json", "\"sha256\":\t\"",
               "\"path\":\t\"assets/roms/scroll.gb\",\n\t\t\"sha256\":\t\"");
    o = resumed(copy);
    assert_refused(&o, "ROM's SHA-256 is ", ", not ");
}

static void another_key_is_taken_with_a_warning(void **state) {
    (void)state;
    char copy[200];
    a_private_copy(copy);
    static const char *const settings[] = {"algo.horizon=5", "checkpoint.every=50"};
    struct run_opts o = resumed(copy);
    o.settings = settings;
    o.n_settings = 2;
    int64_t from = log_count();
    run_well(&o, copy);
    assert_true(was_said(from, LOG_WARN, "algo.horizon: 4 in the session, 5 from here on"));
    assert_true(was_said(from, LOG_WARN, "checkpoint.every: 7 in the session, 50 from here on"));
    struct run_opts again = resumed(copy); // the session has them now
    again.updates = UPDATES + 9;
    from = log_count();
    run_well(&again, copy);
    assert_false(was_said(from, LOG_WARN, "algo.horizon"));
}

// ---- broken files

static void path_of(char out[PATH_SIZE], const char *folder, const char *prefix) {
    char name[PATH_SIZE];
    snprintf(name, sizeof name, "%.190s/checkpoints", folder);
    DIR *dir = opendir(name);
    assert_non_null(dir);
    out[0] = 0;
    for (struct dirent *d; (d = readdir(dir));)
        if (strncmp(d->d_name, prefix, strlen(prefix)) == 0)
            snprintf(out, PATH_SIZE, "%.200s/%.255s", name, d->d_name);
    closedir(dir);
    if (!out[0]) fail_msg("%s holds no %s", name, prefix);
}

static void flip_bit(const char *path, long at) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 4, f);
    fclose(f);
}

static long bytes_of(const char *path) {
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    return (long)s.st_size;
}

static void a_broken_checkpoint_is_refused_and_the_one_before_it_named(void **state) {
    (void)state;
    static const char *const files[] = {"step_000000016.safetensors", "step_000000016.tick"};
    for (int file = 0; file < 2; file++)
        for (int k = 0; k < 8; k++) { // cut, or one bit altered
            char copy[200], path[PATH_SIZE];
            a_private_copy(copy);
            path_of(path, copy, files[file]);
            long n = bytes_of(path), at = n - 1 - n * (k / 2) / 5;
            if (k % 2)
                flip_bit(path, at);
            else
                assert_int_equal(truncate(path, at), 0);
            struct run_opts o = resumed(copy);
            assert_refused(&o, "step_000000016.", "the previous one is ");
            if (k > 1) continue;
            snprintf(path, sizeof path, "%.190s/checkpoints/step_000000014.safetensors", copy);
            o = resumed(path); // as it says
            o.updates = UPDATES;
            run_well(&o, copy);
            assert_same_file(session, copy, "metrics.jsonl");
            assert_same_file(session, copy, "checkpoints/step_000000016.safetensors");
        }
}

static void the_first_checkpoint_has_none_before_it(void **state) {
    (void)state;
    char copy[200], path[PATH_SIZE];
    a_private_copy(copy);
    path_of(path, copy, "step_000000007.safetensors");
    flip_bit(path, bytes_of(path) - 9);
    struct run_opts o = resumed(path);
    assert_refused(&o, "step_000000007.safetensors", "no earlier checkpoint");
}

static void without_its_ring_a_run_says_so_and_fills_it_again(void **state) {
    (void)state;
    char copy[200], path[PATH_SIZE];
    a_private_copy(copy);
    path_of(path, copy, "step_000000016.tick");
    unlink(path);
    struct run_opts o = resumed(copy);
    struct worker_summary s;
    struct error e = {0};
    int64_t from = log_count();
    struct worker_summary before;
    if (run_worker(&o, &s, &e) != STATUS_OK) fail_msg("%s", e.message);
    assert_true(was_said(from, LOG_WARN, "the replay starts empty and refills: 40 policy steps"));
    assert_int_equal(s.opt_steps, UPDATES + 8);
    // 40 steps without an update, then 8 updates of 4 steps each; no burst for the steps of the
    // refill
    before.env_steps = 40 + 16 * 4;
    assert_in_range(s.env_steps, before.env_steps + 40 + 8 * 4 - 10,
                    before.env_steps + 40 + 8 * 4 + 14);
}

// ---- a full disk, played by a limit on the size of files

static void when_the_disk_is_full_the_old_checkpoints_stay_and_the_run_goes_on(void **state) {
    (void)state;
    char copy[200];
    struct rlimit before, small;
    struct error e = {0};
    struct worker_summary s = {0};
    a_private_copy(copy);
    struct run_opts o = resumed(copy);
    o.updates = 24; // a checkpoint is due at 21
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 64 << 10;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    int64_t from = log_count();
    setrlimit(RLIMIT_FSIZE, &small);
    enum status status = run_worker(&o, &s, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, old);
    assert_true(was_said(from, LOG_WARN, "no checkpoint at update 21"));
    assert_int_equal(s.opt_steps, 24); // it went on
    assert_int_equal(status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "step_000000024"));
    for (int i = 0; i < 2; i++)
        assert_same_file(session, copy,
                         i ? "checkpoints/step_000000016.safetensors"
                           : "checkpoints/step_000000014.safetensors");
    o = resumed(copy);
    o.updates = 17;
    run_well(&o, copy); // the old one still carries the run on
}

static void a_session_that_is_being_written_is_refused(void **state) {
    (void)state;
    char copy[200];
    struct error e = {0};
    a_private_copy(copy);
    struct feed *feed = feed_new(0);
    struct run_opts o = resumed(copy);
    struct worker *w = worker_new(&o, feed, &e);
    if (!w) fail_msg("%s", e.message);
    assert_refused(&o, copy, "another process is writing this session");
    worker_free(w);
    feed_free(feed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_game_or_model_is_refused_with_both_values),
        cmocka_unit_test(another_rom_or_frame_timing_is_refused_with_both_values),
        cmocka_unit_test(another_key_is_taken_with_a_warning),
        cmocka_unit_test(a_broken_checkpoint_is_refused_and_the_one_before_it_named),
        cmocka_unit_test(the_first_checkpoint_has_none_before_it),
        cmocka_unit_test(without_its_ring_a_run_says_so_and_fills_it_again),
        cmocka_unit_test(when_the_disk_is_full_the_old_checkpoints_stay_and_the_run_goes_on),
        cmocka_unit_test(a_session_that_is_being_written_is_refused),
    };
    return cmocka_run_group_tests(tests, make_session, NULL);
}
