// Parts of an update: what a run writes about where its time goes.
#include <math.h>

#include "engine/data/session.h"
#include "engine/run/bench/parts.h"
#include "support/small_run.h"

static char *text_of(const char *session, const char *name) {
    struct error e = {0};
    char path[PATH_SIZE];
    uint8_t *data;
    size_t n;
    if (!path_join(path, session, name, &e) || !file_read(path, 1 << 30, &data, &n, &e))
        fail_msg("%s", e.message);
    char *text = realloc(data, n + 1);
    assert_non_null(text);
    text[n] = 0;
    return text;
}

static bool has(const struct record *r, enum metric m) { return r->present >> m & 1; }

enum { UPDATES = 6, LOG_EVERY = 3 };

static struct session_data *run_of(const char *mode, const char *root) {
    struct run_opts o = small_run(mode, root, UPDATES); // its metric.log_every is LOG_EVERY
    char session[200];
    run_well(&o, session);
    char *metrics = text_of(session, "metrics.jsonl"), *timing = text_of(session, "timing.jsonl");
    assert_non_null(strstr(timing, "\"ms_encoder\":"));
    assert_non_null(strstr(timing, "\"peak_gflops\":"));
    assert_null(strstr(metrics, "ms_")); // the clock never enters the deterministic file
    assert_null(strstr(metrics, "gflops"));
    free(metrics);
    free(timing);
    struct error e = {0};
    struct session_data *d = session_read(session, &e);
    if (!d) fail_msg("%s", e.message);
    assert_int_equal(d->n_records, UPDATES / LOG_EVERY);
    return d;
}

static void check_sums(const struct record *r) {
    double sum = 0;
    for (int i = 0; i < N_PARTS; i++) {
        if (!has(r, part_info[i].ms)) continue;
        const double ms = (double)r->value[part_info[i].ms];
        assert_true(ms > 0);
        sum += ms;
        if (part_info[i].gflops == METRIC_COUNT || !has(r, part_info[i].gflops)) continue;
        assert_true(r->value[part_info[i].gflops] > 0);
    }
    const double update = (double)r->value[METRIC_UPDATE_MS];
    if (fabs(sum - update) > 0.01 * update) fail_msg("parts %g ms, update %g ms", sum, update);
    assert_true(r->value[METRIC_GFLOPS_UPDATE] > 0 && r->value[METRIC_PEAK_GFLOPS] > 0);
    assert_true(has(r, METRIC_ENV_MS) && has(r, METRIC_SAMPLE_MS));
}

static void the_parts_of_an_update_add_up_to_its_time(void **state) {
    (void)state;
    struct session_data *d = run_of("full", test_folder());
    for (int64_t i = 0; i < d->n_records; i++) {
        check_sums(&d->records[i]);
        assert_true(has(&d->records[i], METRIC_POLICY_MS));
        for (int p = 0; p < N_PARTS; p++)
            if (p != PART_OTHER) assert_true(has(&d->records[i], part_info[p].ms));
    }
    session_data_free(d);
}

static void standing_still_has_no_behaviour_to_measure(void **state) {
    (void)state;
    struct session_data *d = run_of("standing_still", test_folder());
    for (int64_t i = 0; i < d->n_records; i++) {
        check_sums(&d->records[i]);
        assert_false(has(&d->records[i], METRIC_POLICY_MS));
        for (int p = PART_IMAGINATION; p <= PART_RETURNS; p++)
            assert_false(has(&d->records[i], part_info[p].ms));
    }
    session_data_free(d);
}

static void work_that_was_taken_is_not_counted_again(void **state) {
    (void)state;
    struct graph *g = graph_new();
    graph_scope_push(g, "wm/encoder");
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 2, (int64_t[]){4, 8});
    g_tanh(g, x);
    graph_scope_pop(g);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    struct parts *p = parts_new(ex, NULL);
    struct part_time t[N_PARTS];
    for (int i = 0; i < 100; i++) executor_run(ex);
    parts_take(p, t);
    assert_true(t[PART_ENCODER].ms > 0 && t[PART_SCAN].ms == 0);
    parts_take(p, t);
    assert_true(t[PART_ENCODER].ms == 0);
    parts_free(p);
    executor_free(ex);
    pool_free(pool);
    graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_parts_of_an_update_add_up_to_its_time),
        cmocka_unit_test(standing_still_has_no_behaviour_to_measure),
        cmocka_unit_test(work_that_was_taken_is_not_counted_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
