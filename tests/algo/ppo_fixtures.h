// The recorded numbers of data/ppo/fixtures.json, and the formula its inputs come from.
#ifndef TESTS_ALGO_PPO_FIXTURES_H
#define TESTS_ALGO_PPO_FIXTURES_H

#include <cJSON.h>
#include <math.h>

#include "base/file.h"
#include "base/real.h"
#include "support/test.h"

#define LOCAL static inline __attribute__((unused))

static cJSON *fixtures;

LOCAL int fixtures_load(void **state) {
    (void)state;
    const char *root = getenv("WORKBENCH_TEST_DATA");
    char path[4096];
    snprintf(path, sizeof path, "%s/ppo/fixtures.json", root ? root : "../shared/data");
    uint8_t *text = NULL;
    size_t n = 0;
    struct error e = {0};
    if (file_read(path, 1 << 20, &text, &n, &e)) fixtures = cJSON_ParseWithLength((char *)text, n);
    free(text);
    return 0;
}

LOCAL int fixtures_free(void **state) {
    (void)state;
    cJSON_Delete(fixtures);
    return 0;
}

// The case of that name; skips the test (or fails it, as test_data decides) where the file is
// missing.
LOCAL const cJSON *fixture(const char *name) {
    test_data("ppo/fixtures.json");
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(fixtures, name);
    if (!item) fail_msg("fixtures.json has no %s", name);
    return item;
}

LOCAL const cJSON *member(const cJSON *o, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!item) fail_msg("no %s", key);
    return item;
}

LOCAL double number(const cJSON *o, const char *key) { return member(o, key)->valuedouble; }

// All numbers of an array of any depth, in order; returns how many.
LOCAL int flatten(const cJSON *a, double *out) {
    if (cJSON_IsNumber(a)) {
        *out = a->valuedouble;
        return 1;
    }
    int n = 0;
    for (const cJSON *i = a->child; i; i = i->next) n += flatten(i, out + n);
    return n;
}

LOCAL int reals_of(const cJSON *a, real *out) {
    double wide[4096];
    const int n = flatten(a, wide);
    for (int i = 0; i < n; i++) out[i] = (real)wide[i];
    return n;
}

LOCAL void wave(real *out, int n, int k, double s) {
    for (int i = 0; i < n; i++) out[i] = (real)(float)(s * sin(0.7 * i + 1.3 * k + 0.05 * i * k));
}

LOCAL void near(const char *what, double got, double want, double absolute) {
    if (!(fabs(got - want) <= absolute))
        fail_msg("%s: %.9g, the fixture says %.9g", what, got, want);
}

LOCAL void all_near(const char *what, const real *got, const cJSON *want, double absolute) {
    double numbers[4096];
    const int n = flatten(want, numbers);
    char name[80];
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s[%d]", what, i);
        near(name, (double)got[i], numbers[i], absolute);
    }
}

#endif
