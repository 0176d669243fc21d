// Sessions: files and lines, joining, kill -9, full and unwritable folders, broken files.
#include "support/files.h"

#include <dirent.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/hash.h"
#include "engine/data/session.h"

static struct session_opts sample_opts(const char *root) {
    return (struct session_opts){.root = root,
                                 .tag = "demo",
                                 .algo = "dreamer_v3",
                                 .task = "static",
                                 .mode = "standing_still",
                                 .preset = "tiny",
                                 .device = "cpu",
                                 .kernel = "avx2",
                                 .rom_name = "static",
                                 .rom_sha256 = "00ff",
                                 .seed = UINT64_MAX,
                                 .n_weights = 123456,
                                 .config_json = "{\"seed\":\"1\"}\n"};
}

static struct session *begin(const char *root) {
    struct error e = {0};
    struct session_opts o = sample_opts(root);
    struct session *s = session_create(&o, &e);
    if (!s) fail_msg("%s", e.message);
    return s;
}

static struct record sample_record(int64_t step) {
    struct record r = {.opt_steps = step, .env_steps = step + 256};
    for (int m = 0; m < METRIC_COUNT; m++) r.value[m] = NAN;
    r.value[METRIC_LOSS_MODEL] = 1.0f / 3 + (float)step;
    r.value[METRIC_KL_DYN] = step % 2 ? 0.1f : INFINITY;
    r.value[METRIC_UPDATE_MS] = 12.5f;
    r.present = (uint64_t)1 << METRIC_LOSS_MODEL | (uint64_t)1 << METRIC_KL_DYN |
                (uint64_t)1 << METRIC_UPDATE_MS;
    if (step == 3) r.present |= (uint64_t)1 << METRIC_OBS_NLL; // measured, and it was NaN
    return r;
}

static void append(struct session *s, int64_t step) {
    struct error e = {0};
    struct record r = sample_record(step);
    if (!session_append(s, &r, &e)) fail_msg("%s", e.message);
}

static char *slurp(const char *folder, const char *name, size_t *n) {
    char path[PATH_SIZE];
    uint8_t *data;
    struct error e = {0};
    path_join(path, folder, name, &e);
    if (!file_read(path, 1 << 24, &data, n, &e)) fail_msg("%s", e.message);
    return (char *)data;
}

static void a_session_holds_what_ran_and_what_was_measured(void **state) {
    (void)state;
    struct session *s = begin(test_folder());
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s", session_path(s));
    for (int64_t i = 1; i <= 4; i++) append(s, i);
    assert_true(session_finish(s, SESSION_DONE, ""));
    session_close(s);

    const char *name = path_base(path);
    assert_int_equal(strspn(name, "0123456789TZ"), 16);
    assert_string_equal(name + 16, "__dreamer_v3__static__demo");

    size_t n;
    char *lines = slurp(path, "metrics.jsonl", &n);
    assert_string_equal(
        lines,
        "{\"opt_steps\":1,\"env_steps\":257,\"loss_model\":1.3333334,\"kl_dyn\":0.1}\n"
        "{\"opt_steps\":2,\"env_steps\":258,\"loss_model\":2.3333333,\"kl_dyn\":\"Infinity\"}\n"
        "{\"opt_steps\":3,\"env_steps\":259,\"loss_model\":3.3333333,\"obs_nll\":\"NaN\",\"kl_"
        "dyn\":0.1}\n"
        "{\"opt_steps\":4,\"env_steps\":260,\"loss_model\":4.3333335,\"kl_dyn\":\"Infinity\"}\n");
    free(lines);
    lines = slurp(path, "timing.jsonl", &n);
    assert_int_equal(strncmp(lines, "{\"opt_steps\":1,\"update_ms\":12.5}\n", 33), 0);
    free(lines);

    struct error e = {0};
    struct session_data *d = session_read(path, &e);
    if (!d) fail_msg("%s", e.message);
    assert_int_equal(d->n_records, 4);
    assert_false(d->last_line_cut);
    struct record expect = sample_record(3);
    assert_int_equal(d->records[2].present, expect.present);
    assert_int_equal(d->records[2].opt_steps, 3);
    assert_int_equal(d->records[2].env_steps, 259);
    assert_true(d->records[2].value[METRIC_LOSS_MODEL] == expect.value[METRIC_LOSS_MODEL]);
    assert_true(isnan(d->records[2].value[METRIC_OBS_NLL]));
    assert_true(isinf(d->records[3].value[METRIC_KL_DYN]));
    assert_true(d->records[3].value[METRIC_UPDATE_MS] == 12.5f);
    uint64_t seed;
    const char *text;
    const cJSON *rom;
    char hex[SHA256_HEX_SIZE];
    assert_true(json_get_u64(d->meta, "seed", "", &seed, &e));
    assert_true(seed == UINT64_MAX);
    assert_true(json_get_object(d->meta, "rom", "", &rom, &e) &&
                json_get_string(rom, "sha256", "", &text, &e));
    assert_string_equal(text, "00ff");
    sha256_hex("{\"seed\":\"1\"}\n", 13, hex);
    assert_true(json_get_string(d->meta, "config_sha256", "", &text, &e));
    assert_string_equal(text, hex);
    assert_true(json_get_string(d->heartbeat, "state", "", &text, &e));
    assert_string_equal(text, "done");
    assert_true(json_get_string(d->config, "seed", "", &text, &e));
    session_data_free(d);
}

static void equal_runs_write_equal_metric_files_in_any_locale(void **state) {
    (void)state;
    struct text a = {0}, b = {0};
    for (int64_t i = 1; i < 50; i++) {
        struct record r = sample_record(i);
        session_format_metrics(&r, &a);
    }
    const char *old =
        setlocale(LC_ALL, "de_DE.UTF-8"); // where it is not installed this test shows less
    for (int64_t i = 1; i < 50; i++) {
        struct record r = sample_record(i);
        r.value[METRIC_UPDATE_MS] = (float)i; // times differ between runs
        session_format_metrics(&r, &b);
    }
    if (old) setlocale(LC_ALL, "C");
    assert_string_equal(a.data, b.data);
    assert_null(strstr(a.data, "update_ms"));
    text_deinit(&a);
    text_deinit(&b);
}

static void two_sessions_of_one_second_get_different_folders(void **state) {
    (void)state;
    const char *root = test_folder();
    struct session *s[3];
    for (int i = 0; i < 3; i++) s[i] = begin(root);
    assert_string_not_equal(session_path(s[0]), session_path(s[1]));
    assert_string_not_equal(session_path(s[1]), session_path(s[2]));
    for (int i = 0; i < 3; i++) session_close(s[i]);
}

static void hostile_names_stay_inside_the_folder(void **state) {
    (void)state;
    char out[48];
    const char *cases[][2] = {
        {"../../etc/passwd", "-.-..-etc-passwd"}, {"", "x"},        {".hidden", "-hidden"},
        {"Pok\xc3\xa9mon (Red)", "Pok-mon-Red-"}, {"a__b_", "a_b"}, {"\x1b[2J", "-2J"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        session_clean_name(cases[i][0], out, sizeof out);
        assert_string_equal(out, cases[i][1]);
        assert_null(strchr(out, '/'));
    }
}

static void heartbeats_come_once_a_second_and_at_the_end(void **state) {
    (void)state;
    struct session *s = begin(test_folder());
    struct error e = {0};
    size_t n;
    assert_true(session_heartbeat(s, 5, 6, &e)); // too early: nothing written
    char *text = slurp(session_path(s), "heartbeat.json", &n);
    assert_non_null(strstr(text, "\"running\""));
    assert_non_null(strstr(text, "\"opt_steps\":\t0,"));
    free(text);
    clock_sleep_ns(1050000000);
    assert_true(session_heartbeat(s, 7, 8, &e));
    text = slurp(session_path(s), "heartbeat.json", &n);
    assert_non_null(strstr(text, "\"opt_steps\":\t7,"));
    free(text);
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s", session_path(s));
    session_close(s); // without finish: the run did not end well
    text = slurp(path, "heartbeat.json", &n);
    assert_non_null(strstr(text, "\"failed\""));
    free(text);
}

static void a_killed_run_loses_at_most_its_last_record(void **state) {
    (void)state;
    const char *root = test_folder();
    for (int round = 0; round < 8; round++) {
        int to_parent[2];
        char path[PATH_SIZE] = "";
        assert_int_equal(pipe(to_parent), 0);
        pid_t child = fork();
        if (child == 0) {
            struct session *s = begin(root);
            if (write(to_parent[1], session_path(s), strlen(session_path(s)) + 1) < 0) _exit(1);
            for (int64_t i = 1;; i++) append(s, i);
        }
        assert_true(read(to_parent[0], path, sizeof path - 1) > 0);
        clock_sleep_ns(3000000 + round * 1700000);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(to_parent[0]);
        close(to_parent[1]);
        struct error e = {0};
        struct session_data *d = session_read(path, &e);
        if (!d) fail_msg("%s", e.message);
        assert_true(d->n_records > 10);
        for (int64_t i = 0; i < d->n_records; i++) assert_int_equal(d->records[i].opt_steps, i + 1);
        session_data_free(d);
    }
}

static void an_unwritable_or_missing_root_is_one_clear_line(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct error e = {0};
    const char *folder = test_folder();
    path_join(path, folder, "file", &e);
    put_file(path, "x", 1);
    struct session_opts o = sample_opts(path); // a file where the folder should be
    assert_null(session_create(&o, &e));
    assert_int_equal(e.status, STATUS_USAGE);
    assert_non_null(strstr(e.message, path));
    o.root = "/proc/nothing";
    assert_null(session_create(&o, &e));
    assert_int_equal(e.status, STATUS_USAGE);
    assert_null(strchr(e.message, '\n'));
}

// RLIMIT_FSIZE makes every write beyond it fail, as a full disk does.
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void a_full_disk_stops_the_run_and_leaves_whole_lines(void **state) {
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct session *s = begin(test_folder());
    struct error e = {0};
    limit_files(1000);
    int64_t step = 0;
    bool fine = true;
    while (fine && step < 100) {
        struct record r = sample_record(++step);
        fine = session_append(s, &r, &e);
    }
    limit_files(RLIM_INFINITY);
    assert_false(fine);
    assert_int_equal(e.status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "metrics.jsonl"));
    struct session_data *d = session_read(session_path(s), &e);
    if (!d) fail_msg("%s", e.message);
    assert_int_equal(d->n_records, step - 1);
    assert_false(d->last_line_cut); // the half line was taken back
    session_data_free(d);
    session_close(s);
}

static void a_session_that_cannot_begin_leaves_nothing_behind(void **state) {
    (void)state;
    const char *root = test_folder();
    signal(SIGXFSZ, SIG_IGN);
    limit_files(4);
    struct error e = {0};
    struct session_opts o = sample_opts(root);
    struct session *s = session_create(&o, &e);
    limit_files(RLIM_INFINITY);
    assert_null(s);
    assert_int_equal(e.status, STATUS_FAILED);
    DIR *dir = opendir(root);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir));) n += entry->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(n, 0);
}

static void metrics_cut_at_any_byte_read_up_to_the_last_whole_line(void **state) {
    (void)state;
    struct session *s = begin(test_folder());
    for (int64_t i = 1; i <= 4; i++) append(s, i);
    char path[PATH_SIZE], file[PATH_SIZE];
    snprintf(path, sizeof path, "%s", session_path(s));
    session_close(s);
    struct error e = {0};
    size_t n;
    char *text = slurp(path, "metrics.jsonl", &n);
    path_join(file, path, "metrics.jsonl", &e);
    for (size_t cut = 0; cut <= n; cut++) {
        put_file(file, text, cut);
        int64_t whole = 0;
        for (size_t i = 0; i < cut; i++) whole += text[i] == '\n';
        struct session_data *d = session_read(path, &e);
        if (!d) fail_msg("%s", e.message);
        assert_int_equal(d->n_records, whole);
        assert_int_equal(d->last_line_cut, cut > 0 && text[cut - 1] != '\n');
        session_data_free(d);
    }
    free(text);
}

static void broken_lines_are_named_with_file_and_number(void **state) {
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"{\"opt_steps\":2,\"env_steps\":1", "metrics.jsonl:2: not valid JSON"},
        {"", "metrics.jsonl:2: not valid JSON"},
        {"[1]", "metrics.jsonl:2: key \"opt_steps\" is missing"},
        {"{\"opt_steps\":1,\"env_steps\":1}", "does not follow step 1"},
        {"{\"opt_steps\":-2,\"env_steps\":1}", "negative|does not follow"},
        {"{\"opt_steps\":1.5,\"env_steps\":1}", "whole number"},
        {"{\"opt_steps\":2}", "\"env_steps\" is missing"},
        {"{\"opt_steps\":2,\"env_steps\":1,\"los_model\":1}",
         "metrics.jsonl:2: unknown metric \"los_model\""},
        {"{\"opt_steps\":2,\"env_steps\":1,\"sps\":1}", "unknown metric \"sps\""},
        {"{\"opt_steps\":2,\"env_steps\":1,\"kl_dyn\":null}", "\"kl_dyn\" is not a number"},
        {"{\"opt_steps\":2,\"env_steps\":1,\"kl_dyn\":\"nan\"}", "\"kl_dyn\" is not a number"},
    };
    struct session *s = begin(test_folder());
    append(s, 1);
    char path[PATH_SIZE], file[PATH_SIZE];
    snprintf(path, sizeof path, "%s", session_path(s));
    session_close(s);
    struct error e = {0};
    path_join(file, path, "metrics.jsonl", &e);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text t = {0};
        text_add(&t, "{\"opt_steps\":1,\"env_steps\":1}\n%s\n{\"opt_steps\":9,\"env_steps\":1}\n",
                 cases[i].line);
        put_file(file, t.data, t.n);
        text_deinit(&t);
        assert_null(session_read(path, &e));
        bool found = false;
        char wanted[100];
        snprintf(wanted, sizeof wanted, "%s", cases[i].message);
        for (char *save, *w = strtok_r(wanted, "|", &save); w; w = strtok_r(NULL, "|", &save))
            found |= strstr(e.message, w) != NULL;
        if (!found) fail_msg("case %zu: %s", i, e.message);
    }
}

static void flipped_bits_in_any_file_never_crash_the_reader(void **state) {
    (void)state;
    struct session *s = begin(test_folder());
    for (int64_t i = 1; i <= 2; i++) append(s, i);
    char path[PATH_SIZE], file[PATH_SIZE];
    snprintf(path, sizeof path, "%s", session_path(s));
    session_close(s);
    struct error e = {0};
    const char *names[] = {"meta.json", "config.json", "heartbeat.json", "metrics.jsonl",
                           "timing.jsonl"};
    for (size_t k = 0; k < 5; k++) {
        size_t n;
        char *text = slurp(path, names[k], &n);
        path_join(file, path, names[k], &e);
        for (size_t bit = 0; bit < n * 8; bit++) {
            text[bit / 8] ^= (char)(1 << bit % 8);
            put_file(file, text, n);
            session_data_free(session_read(path, &e));
            text[bit / 8] ^= (char)(1 << bit % 8);
        }
        for (size_t cut = 0; k < 2 && cut + 1 < n; cut++) { // the last byte is a newline
            put_file(file, text, cut);
            assert_null(session_read(path, &e));
        }
        put_file(file, text, n);
        free(text);
    }
    struct session_data *d = session_read(path, &e);
    assert_non_null(d);
    session_data_free(d);
}

static void what_is_no_session_is_said_so(void **state) {
    (void)state;
    struct error e = {0};
    assert_null(session_read("no/such/session", &e));
    assert_int_equal(e.status, STATUS_USAGE);
    assert_non_null(strstr(e.message, "no/such/session"));
    assert_null(session_read(test_folder(), &e));
    assert_non_null(strstr(e.message, "is not a session"));
    struct session *s = begin(test_folder());
    char file[PATH_SIZE];
    path_join(file, session_path(s), "meta.json", &e);
    put_file(file, "{\"schema\":2}", 12);
    assert_null(session_read(session_path(s), &e));
    assert_non_null(strstr(e.message, "session version 2, this program reads version 1"));
    session_close(s);
}

static void only_the_newest_checkpoints_are_kept(void **state) {
    (void)state;
    struct session *s = begin(test_folder());
    struct error e = {0};
    char path[PATH_SIZE];
    int64_t newest = 0;
    assert_false(session_newest_checkpoint(session_path(s), path, &newest, &e));
    for (int64_t step = 100; step <= 700; step += 100) {
        assert_true(session_checkpoint_path(s, step, path, &e));
        put_file(path, "x", 1);
    }
    assert_string_equal(path_base(path), "step_000000700.safetensors");
    char other[PATH_SIZE];
    path_join(other, session_path(s), "checkpoints/keep_me.safetensors", &e);
    put_file(other, "x", 1);
    assert_true(session_prune_checkpoints(s, 2, &e));
    for (int64_t step = 100; step <= 700; step += 100) {
        assert_true(session_checkpoint_path(s, step, path, &e));
        assert_int_equal(file_exists(path), step >= 600);
    }
    assert_true(file_exists(other));
    assert_true(session_newest_checkpoint(session_path(s), path, &newest, &e));
    assert_int_equal(newest, 700);
    session_close(s);
}

static void every_failure_gets_a_folder_of_its_own(void **state) {
    (void)state;
    struct session *s = begin(test_folder());
    struct error e = {0};
    char a[PATH_SIZE], b[PATH_SIZE], other[PATH_SIZE];
    const char *path = session_path(s);
    assert_true(session_failure_folder(path, 12, 0, a, &e));
    assert_true(session_failure_folder(path, 12, 0, b, &e));
    assert_true(session_failure_folder(path, 12, 1, other, &e)); // another rank's
    assert_string_equal(path_base(a), "step_000000012");
    assert_string_equal(path_base(other), "step_000000012.rank_1");
    assert_string_not_equal(a, b);
    assert_true(file_is_folder(a) && file_is_folder(b) && file_is_folder(other));
    session_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_holds_what_ran_and_what_was_measured),
        cmocka_unit_test(equal_runs_write_equal_metric_files_in_any_locale),
        cmocka_unit_test(two_sessions_of_one_second_get_different_folders),
        cmocka_unit_test(hostile_names_stay_inside_the_folder),
        cmocka_unit_test(heartbeats_come_once_a_second_and_at_the_end),
        cmocka_unit_test(a_killed_run_loses_at_most_its_last_record),
        cmocka_unit_test(an_unwritable_or_missing_root_is_one_clear_line),
        cmocka_unit_test(a_full_disk_stops_the_run_and_leaves_whole_lines),
        cmocka_unit_test(a_session_that_cannot_begin_leaves_nothing_behind),
        cmocka_unit_test(metrics_cut_at_any_byte_read_up_to_the_last_whole_line),
        cmocka_unit_test(broken_lines_are_named_with_file_and_number),
        cmocka_unit_test(flipped_bits_in_any_file_never_crash_the_reader),
        cmocka_unit_test(what_is_no_session_is_said_so),
        cmocka_unit_test(only_the_newest_checkpoints_are_kept),
        cmocka_unit_test(every_failure_gets_a_folder_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
