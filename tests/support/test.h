// What every test includes: cmocka with its odd prerequisites, and the one way to find reference
// data.
#ifndef TESTS_SUPPORT_TEST_H
#define TESTS_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/worse.h"

// Built with a sanitizer (1) or not (0): long numeric runs and allocation counters stay with the
// fast build.
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

// Path of `name` under the reference data folder: WORKBENCH_TEST_DATA, default ../shared/data.
// Where the data is missing the test is skipped with one line, but fails when
// WORKBENCH_REQUIRE_DATA is set (CI sets it).
static inline __attribute__((unused)) const char *test_data(const char *name) {
    static char path[4096];
    const char *root = getenv("WORKBENCH_TEST_DATA");
    snprintf(path, sizeof path, "%s/%s", root ? root : "../shared/data", name);
    if (access(path, R_OK) == 0) return path;
    if (getenv("WORKBENCH_REQUIRE_DATA")) fail_msg("reference data %s is missing", path);
    printf("skipped: reference data %s is not here\n", path);
    skip();
    return NULL;
}

// A fresh empty folder for one test; the runner removes them all (TMPDIR is private to a run).
static inline __attribute__((unused)) const char *test_folder(void) {
    static char path[4096];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/workbench-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

#endif
