// Tests of finding the program's own files and other programs.
#include "support/test.h"

#include <sys/stat.h>

#include "engine/run/files.h"

static void make_file(const char *folder, const char *name, mode_t mode) {
    char path[5000];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void a_program_is_a_file_in_path_that_may_be_run(void **state) {
    (void)state;
    char old[20000], path[12000], subfolder[5000];
    snprintf(old, sizeof old, "%s", getenv("PATH") ? getenv("PATH") : "");
    const char *folder = test_folder();
    make_file(folder, "runs", 0755);
    make_file(folder, "plain", 0644);
    snprintf(subfolder, sizeof subfolder, "%s/subfolder", folder);
    assert_int_equal(mkdir(subfolder, 0755), 0);
    static const char *const forms[] = {"%s", "/nowhere:%s", "::%s:", "%s:/nowhere"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char form[32];
        snprintf(form, sizeof form, "%s", forms[i]);
        char *at = strstr(form, "%s");
        *at = 0;
        snprintf(path, sizeof path, "%s%s%s", form, folder, at + 2);
        setenv("PATH", path, 1);
        assert_true(files_program_exists("runs"));
        assert_false(files_program_exists("subfolder"));
        assert_false(files_program_exists("missing"));
        assert_false(files_program_exists("plain"));
    }
    setenv("PATH", "", 1);
    assert_false(files_program_exists("runs"));
    unsetenv("PATH");
    assert_false(files_program_exists("runs"));
    memset(path, 'x', sizeof path - 1); // longer than any path may be
    path[sizeof path - 1] = 0;
    setenv("PATH", path, 1);
    assert_false(files_program_exists("runs"));
    setenv("PATH", old, 1);
}

static void the_golden_fixtures_are_found_from_the_source_tree(void **state) {
    (void)state;
    char out[4096], manifest[4200];
    assert_true(files_find_golden(out, sizeof out));
    snprintf(manifest, sizeof manifest, "%s/manifest.json", out);
    assert_int_equal(access(manifest, R_OK), 0);
    char tiny[8];
    assert_false(
        files_find_golden(tiny, sizeof tiny)); // no room: not found rather than a wrong folder
    assert_non_null(memchr(tiny, 0, sizeof tiny));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_a_file_in_path_that_may_be_run),
        cmocka_unit_test(the_golden_fixtures_are_found_from_the_source_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
