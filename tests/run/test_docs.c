// The documents against the program: every option and command of --help stands in the man page and
// in the manual, and the man page names no option that is gone.
#define _GNU_SOURCE
#include <ctype.h>

#include "base/file.h"
#include "support/test.h"

static char *output_of(const char *command) {
    static char text[65536];
    FILE *p = popen(command, "r");
    assert_non_null(p);
    text[fread(text, 1, sizeof text - 1, p)] = 0;
    pclose(p);
    return strdup(text);
}

static char *help(void) {
    char command[PATH_SIZE];
    const char *build = getenv("WORKBENCH_BUILD");
    snprintf(command, sizeof command, "%s/workbench --help", build ? build : "build");
    char *text = output_of(command);
    assert_non_null(strstr(text, "--updates"));
    return text;
}

// Whether `word` stands in the text, not as the beginning of a longer word.
static bool holds(const char *text, const char *word) {
    size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += n)
        if (!isalnum((unsigned char)at[n]) && at[n] != '-' &&
            (at == text || (!isalnum((unsigned char)at[-1]) && at[-1] != '-')))
            return true;
    return false;
}

// The next "--word" at or after *at; *at moves behind it.
static bool next_option(const char **at, char out[64]) {
    const char *start = strstr(*at, "--");
    if (!start) return false;
    size_t n = 2;
    while (isalpha((unsigned char)start[n]) || start[n] == '-') n++;
    snprintf(out, 64, "%.*s", (int)(n < 63 ? n : 63), start);
    *at = start + n;
    return true;
}

static void every_option_is_documented_and_none_is_stale(void **state) {
    (void)state;
    char *program = help(), *man = output_of("sed 's/\\\\-/-/g' docs/workbench.1"),
         *manual = output_of("cat docs/manual.md");
    char option[64];
    int n_wrong = 0;
    for (const char *at = program; next_option(&at, option);) {
        if (!holds(man, option)) n_wrong++, printf("docs/workbench.1 lacks %s\n", option);
        if (!holds(manual, option)) n_wrong++, printf("docs/manual.md lacks %s\n", option);
    }
    for (const char *at = man; next_option(&at, option);)
        if (!holds(program, option))
            n_wrong++, printf("docs/workbench.1 names %s, which is gone\n", option);
    assert_int_equal(n_wrong, 0);
    free(program);
    free(man);
    free(manual);
}

static void every_command_is_documented(void **state) {
    (void)state;
    char *program = help(), *man = output_of("cat docs/workbench.1"),
         *manual = output_of("cat docs/manual.md README.md");
    char *list = strstr(program, "commands\n"), name[32];
    int n_commands = 0, n_wrong = 0;
    assert_non_null(list);
    for (char *line = strchr(list, '\n') + 1; sscanf(line, "  %31[a-z]", name) == 1;
         line = strchr(line, '\n') + 1) {
        n_commands++;
        if (!holds(man, name)) n_wrong++, printf("docs/workbench.1 lacks the command %s\n", name);
        if (!holds(manual, name))
            n_wrong++, printf("docs/manual.md and README.md lack the command %s\n", name);
    }
    assert_true(n_commands >= 4);
    assert_int_equal(n_wrong, 0);
    free(program);
    free(man);
    free(manual);
}

// The table of PPO's tests in validation.md: names that no test has are printed.
static void every_test_that_the_validation_names_is_there(void **state) {
    (void)state;
    char *names = output_of("sed -n '/^## PPO/,/^## /p' docs/validation.md | grep '^|' | "
                            "grep -oE '[a-z0-9]+(_[a-z0-9]+){3,}' | sort -u");
    char *gone = output_of("sed -n '/^## PPO/,/^## /p' docs/validation.md | grep '^|' | "
                           "grep -oE '[a-z0-9]+(_[a-z0-9]+){3,}' | sort -u | "
                           "while read -r n; do grep -rqwF \"$n(void\" tests || "
                           "[ -n \"$(find tests -name $n.c)\" ] || echo \"$n\"; done");
    int n_names = 0;
    for (const char *c = names; *c; c++) n_names += *c == '\n';
    assert_in_range(n_names, 50, 200);
    assert_string_equal(gone, "");
    free(names);
    free(gone);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_is_documented_and_none_is_stale),
        cmocka_unit_test(every_command_is_documented),
        cmocka_unit_test(every_test_that_the_validation_names_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
