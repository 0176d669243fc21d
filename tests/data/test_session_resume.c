// Sessions that go on: lines and checkpoints after a step are cut, rings are pruned, names are
// found, one writer at a time.
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/data/safetensors.h"
#include "engine/data/session.h"
#include "support/files.h"

static struct session_opts opts(const char *root, const char *config) {
    return (struct session_opts){
        .root = root, .algo = "dreamer_v3", .rom_name = "x", .config_json = config};
}

static void append(struct session *s, int64_t step) {
    struct error e = {0};
    struct record r = {.opt_steps = step, .env_steps = 2 * step};
    r.value[METRIC_LOSS_MODEL] = (float)step;
    r.value[METRIC_SPS] = 1;
    r.present = (uint64_t)1 << METRIC_LOSS_MODEL | (uint64_t)1 << METRIC_SPS;
    if (!session_append(s, &r, &e)) fail_msg("%s", e.message);
}

static void touch(const char *folder, const char *name) {
    char path[PATH_SIZE];
    struct error e = {0};
    assert_true(path_join(path, folder, name, &e) && file_write_atomic(path, "x", 1, &e));
}

static bool is_there(const char *folder, const char *name) {
    char path[PATH_SIZE];
    return path_join(path, folder, name, NULL) && file_exists(path);
}

static void lines_are_kept_up_to_a_step_and_a_cut_one_goes(void **state) {
    (void)state;
    static const char text[] =
        "{\"opt_steps\":3,\"a\":1}\n{\"opt_steps\":6}\n{\"opt_steps\":9}\n{\"opt_st";
    const int64_t n = sizeof text - 1, line1 = 22, line2 = line1 + 16, line3 = line2 + 16;
    assert_int_equal(session_lines_until(text, (size_t)n, 100), line3);
    assert_int_equal(session_lines_until(text, (size_t)n, 8), line2);
    assert_int_equal(session_lines_until(text, (size_t)n, 6), line2);
    assert_int_equal(session_lines_until(text, (size_t)n, 5), line1);
    assert_int_equal(session_lines_until(text, (size_t)n, 2), 0);
    assert_int_equal(session_lines_until("", 0, 2), 0);
}

static void going_on_cuts_records_and_checkpoints_after_the_step(void **state) {
    (void)state;
    struct error e = {0};
    char path[PATH_SIZE];
    struct session_opts o = opts(test_folder(), "{\"a\":1}\n");
    struct session *s = session_create(&o, &e);
    if (!s) fail_msg("%s", e.message);
    for (int64_t step = 1; step <= 9; step++) append(s, step);
    snprintf(path, sizeof path, "%s", session_path(s));
    session_close(s);
    static const char *const stay[] = {"checkpoints/step_000000004.safetensors",
                                       "checkpoints/step_000000005.tick_000000011.replay"};
    static const char *const go[] = {"checkpoints/step_000000006.safetensors",
                                     "checkpoints/step_000000008.tick_000000012.replay",
                                     "checkpoints/.step_000000006.safetensors.tmp-12-1"};
    for (size_t i = 0; i < 2; i++) touch(path, stay[i]);
    for (size_t i = 0; i < 3; i++) touch(path, go[i]);
    o.config_json = "{\"a\":2}\n";
    s = session_resume(path, &o, 5, &e);
    if (!s) fail_msg("%s", e.message);
    for (size_t i = 0; i < 2; i++) assert_true(is_there(path, stay[i]));
    for (size_t i = 0; i < 3; i++) assert_false(is_there(path, go[i]));
    assert_null(session_resume(path, &o, 5, &e)); // while it is written
    assert_non_null(strstr(e.message, "another process"));
    append(s, 6);
    assert_true(session_finish(s, SESSION_DONE, ""));
    struct session_data *d = session_read(path, &e);
    if (!d) fail_msg("%s", e.message);
    assert_int_equal(d->n_records, 6);
    for (int i = 0; i < 6; i++) assert_int_equal(d->records[i].opt_steps, i + 1);
    assert_true(d->records[4].present >> METRIC_SPS & 1);
    assert_int_equal(cJSON_GetObjectItem(d->config, "a")->valueint, 2);
    assert_string_equal(cJSON_GetObjectItem(d->meta, "config_sha256")->valuestring,
                        session_config_sha256(s));
    session_data_free(d);
    session_close(s);
}

static void assert_hole(const char *path, int64_t until, const char *line, const char *due) {
    struct error e = {0};
    assert_false(session_lines_whole(path, until, &e));
    if (!strstr(e.message, line) || !strstr(e.message, due))
        fail_msg("expected \"%s\" and \"%s\": %s", line, due, e.message);
}

static void a_record_that_was_due_and_is_not_there_is_named(void **state) {
    (void)state;
    static const int64_t all[] = {3, 6, 9, 12, 15};
    static const struct {
        int64_t without, until;
        const char *line, *due;
    } cases[] = {{3, 15, "metrics.jsonl:1:", "step 3 is due"},
                 {9, 15, "metrics.jsonl:3:", "step 9 is due"},
                 {9, 12, "metrics.jsonl:3:", "step 9 is due"},
                 {15, 15, "after line 4", "step 15"},
                 {15, 17, "after line 4", "step 15"}};
    struct error e = {0};
    struct session_opts o = opts(test_folder(), "{\"metric.log_every\":3}\n");
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct session *s = session_create(&o, &e);
        if (!s) fail_msg("%s", e.message);
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            if (all[i] != cases[c].without) append(s, all[i]);
        assert_hole(session_path(s), cases[c].until, cases[c].line, cases[c].due);
        // What lies before the hole, or was never due, is whole.
        if (!session_lines_whole(session_path(s), cases[c].without - 1, &e))
            fail_msg("%s", e.message);
        if (cases[c].without == 3) append(s, 16);
        session_close(s);
    }
}

// Another distance of records counts from the step where the run went on with it.
static void another_distance_of_records_is_no_hole(void **state) {
    (void)state;
    struct error e = {0};
    char path[PATH_SIZE];
    struct session_opts o = opts(test_folder(), "{\"metric.log_every\":1}\n");
    struct session *s = session_create(&o, &e);
    if (!s) fail_msg("%s", e.message);
    snprintf(path, sizeof path, "%s", session_path(s));
    for (int64_t step = 1; step <= 7; step++) append(s, step);
    session_close(s);
    o.config_json = "{\"metric.log_every\":4}\n";
    s = session_resume(path, &o, 6, &e);
    if (!s) fail_msg("%s", e.message);
    append(s, 8);
    append(s, 12);
    session_close(s);
    if (!session_lines_whole(path, 14, &e)) fail_msg("%s", e.message);
    assert_hole(path, 16, "after line 8", "step 16");
    // From an older step on it counts from there.
    s = session_resume(path, &o, 3, &e);
    if (!s) fail_msg("%s", e.message);
    append(s, 8);
    session_close(s);
    assert_hole(path, 8, "metrics.jsonl:4:", "step 4 is due");
}

// 20 MB of records, looked through line by line: a moment, not minutes.
static void the_lines_of_a_long_run_are_looked_through_once(void **state) {
    (void)state;
    enum { LINES = 60000 };
    struct error e = {0};
    char path[PATH_SIZE];
    struct text t = {0};
    struct session_opts o = opts(test_folder(), "{\"metric.log_every\":1}\n");
    struct session *s = session_create(&o, &e);
    if (!s) fail_msg("%s", e.message);
    for (int i = 1; i <= LINES; i++) text_add(&t, "{\"opt_steps\":%d,\"x\":\"%0320d\"}\n", i, 0);
    assert_true(path_join(path, session_path(s), "metrics.jsonl", &e) &&
                file_write_atomic(path, t.data, t.n, &e));
    const int64_t start = clock_now_ns();
    if (!session_lines_whole(session_path(s), LINES, &e)) fail_msg("%s", e.message);
    assert_int_equal(session_lines_until(t.data, t.n, LINES), t.n);
    assert_true(clock_now_ns() - start < 5000000000);
    text_deinit(&t);
    session_close(s);
}

static void going_on_after_lost_lines_says_which(void **state) {
    (void)state;
    struct error e = {0};
    char path[PATH_SIZE];
    struct session_opts o = opts(test_folder(), "{\"metric.log_every\":2}\n");
    struct session *s = session_create(&o, &e);
    if (!s) fail_msg("%s", e.message);
    snprintf(path, sizeof path, "%s", session_path(s));
    append(s, 2);
    append(s, 6);
    session_close(s);
    struct log_line line;
    s = session_resume(path, &o, 7, &e);
    if (!s) fail_msg("%s", e.message);
    session_close(s);
    assert_true(log_read(log_count() - 1, &line) && line.level == LOG_WARN);
    if (!strstr(line.text, "metrics.jsonl:2: step 6 where step 4 is due"))
        fail_msg("%s", line.text);
}

static void rings_of_the_newest_two_checkpoints_stay(void **state) {
    (void)state;
    struct error e = {0};
    struct session_opts o = opts(test_folder(), "{}\n");
    struct session *s = session_create(&o, &e);
    if (!s) fail_msg("%s", e.message);
    const char *path = session_path(s);
    touch(path, "checkpoints/step_000000010.safetensors");
    touch(path, "checkpoints/step_000000020.safetensors");
    touch(path, "checkpoints/step_000000030.safetensors");
    touch(path, "checkpoints/step_000000010.tick_000000015.replay");
    touch(path, "checkpoints/step_000000020.tick_000000025.replay");
    touch(path, "checkpoints/step_000000030.tick_000000034.replay"); // of the same step, but older
    touch(path, "checkpoints/step_000000030.tick_000000035.replay");
    if (!session_prune_replays(s, 35, &e)) fail_msg("%s", e.message);
    assert_false(is_there(path, "checkpoints/step_000000010.tick_000000015.replay"));
    assert_true(is_there(path, "checkpoints/step_000000020.tick_000000025.replay"));
    assert_false(is_there(path, "checkpoints/step_000000030.tick_000000034.replay"));
    assert_true(is_there(path, "checkpoints/step_000000030.tick_000000035.replay"));
    assert_true(is_there(path, "checkpoints/step_000000010.safetensors"));
    assert_int_equal(session_checkpoint_before(path, 30), 20);
    assert_int_equal(session_checkpoint_before(path, 10), -1);
    session_close(s);
}

static void a_session_is_found_by_its_folder_or_a_checkpoint_in_it(void **state) {
    (void)state;
    struct error e = {0};
    char folder[PATH_SIZE], checkpoint[PATH_SIZE], file[PATH_SIZE];
    struct session_opts o = opts(test_folder(), "{}\n");
    struct session *s = session_create(&o, &e);
    if (!s) fail_msg("%s", e.message);
    touch(session_path(s), "checkpoints/step_000000010.safetensors");
    assert_true(session_locate(session_path(s), folder, checkpoint, &e));
    assert_string_equal(folder, session_path(s));
    assert_string_equal(checkpoint, "");
    assert_true(path_join(file, session_path(s), "checkpoints/step_000000010.safetensors", &e));
    assert_true(session_locate(file, folder, checkpoint, &e));
    assert_string_equal(folder, session_path(s));
    assert_string_equal(checkpoint, file);
    assert_int_equal(session_checkpoint_step(file), 10);
    assert_int_equal(session_checkpoint_step("a/step_10.txt"), -1);
    assert_false(session_locate("/nowhere", folder, checkpoint, &e));
    assert_false(session_locate(test_folder(), folder, checkpoint, &e));
    assert_non_null(strstr(e.message, "no meta.json"));
    session_close(s);
}

static void a_checksum_finds_every_altered_byte_of_the_data(void **state) {
    (void)state;
    struct error e = {0};
    char path[PATH_SIZE], crc[9];
    int32_t numbers[3] = {1, -2, 3};
    uint8_t flags[2] = {0, 1};
    struct st_source list[] = {{"b", ST_U8, 1, {2}, flags}, {"a", ST_I32, 1, {3}, numbers}};
    assert_true(path_join(path, test_folder(), "x.safetensors", &e));
    safetensors_crc(list, 2, crc);
    if (!safetensors_write(path, list, 2, &(struct st_text){ST_CRC_KEY, crc}, 1, &e))
        fail_msg("%s", e.message);
    uint8_t *bytes;
    size_t n;
    assert_true(file_read(path, 1 << 20, &bytes, &n, &e));
    struct safetensors *s = safetensors_parse(bytes, n, "x", &e);
    assert_non_null(s);
    assert_true(safetensors_intact(s, &e));
    safetensors_free(s);
    for (size_t i = n - sizeof numbers - sizeof flags; i < n; i++) {
        bytes[i] ^= 1;
        s = safetensors_parse(bytes, n, "x", &e);
        assert_non_null(s);
        assert_false(safetensors_intact(s, &e));
        assert_non_null(strstr(e.message, "altered"));
        safetensors_free(s);
        bytes[i] ^= 1;
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_kept_up_to_a_step_and_a_cut_one_goes),
        cmocka_unit_test(going_on_cuts_records_and_checkpoints_after_the_step),
        cmocka_unit_test(a_record_that_was_due_and_is_not_there_is_named),
        cmocka_unit_test(another_distance_of_records_is_no_hole),
        cmocka_unit_test(the_lines_of_a_long_run_are_looked_through_once),
        cmocka_unit_test(going_on_after_lost_lines_says_which),
        cmocka_unit_test(rings_of_the_newest_two_checkpoints_stay),
        cmocka_unit_test(a_session_is_found_by_its_folder_or_a_checkpoint_in_it),
        cmocka_unit_test(a_checksum_finds_every_altered_byte_of_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
