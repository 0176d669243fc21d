// The program draws every random number from Philox streams: no random function of the C library is
// linked.
#include "support/test.h"

static const char *const forbidden[] = {
    "rand",        "srand",      "rand_r",         "random",
    "srandom",     "random_r",   "srandom_r",      "initstate",
    "initstate_r", "setstate",   "setstate_r",     "drand48",
    "erand48",     "lrand48",    "nrand48",        "mrand48",
    "jrand48",     "srand48",    "seed48",         "lcong48",
    "drand48_r",   "erand48_r",  "lrand48_r",      "nrand48_r",
    "mrand48_r",   "jrand48_r",  "srand48_r",      "seed48_r",
    "lcong48_r",   "arc4random", "arc4random_buf", "arc4random_uniform",
};

// A symbol as nm prints it: "rand", "rand@GLIBC_2.2.5".
static bool is_forbidden(const char *symbol) {
    size_t n = strcspn(symbol, "@\n");
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        if (strlen(forbidden[i]) == n && memcmp(forbidden[i], symbol, n) == 0) return true;
    return false;
}

static void the_names_are_matched_whole(void **state) {
    (void)state;
    assert_true(is_forbidden("rand"));
    assert_true(is_forbidden("rand@GLIBC_2.2.5"));
    assert_true(is_forbidden("drand48@@GLIBC_2.2.5"));
    assert_false(is_forbidden("rng_uniform"));
    assert_false(is_forbidden("randomize_nothing"));
    assert_false(is_forbidden("SDL_rand"));
}

static void the_program_links_no_random_function_of_the_c_library(void **state) {
    (void)state;
    const char *build = getenv("WORKBENCH_BUILD");
    char program[4096], command[9000], line[4096], type[8], symbol[4000];
    snprintf(program, sizeof program, "%s/workbench", build ? build : "build");
    if (access(program, R_OK) != 0) fail_msg("%s is not built", program);
    snprintf(command, sizeof command, "nm '%s'; nm -D '%s'", program, program);
    FILE *nm = popen(command, "r");
    assert_non_null(nm);
    bool saw_libc = false;
    while (fgets(line, sizeof line, nm)) {
        // "0000000000001234 T name" or "                 U name"
        const char *rest = line[0] == ' ' ? line : strchr(line, ' ');
        if (!rest || sscanf(rest, " %7s %3999s", type, symbol) != 2) continue;
        if (is_forbidden(symbol)) fail_msg("%s links %s", program, symbol);
        saw_libc |= strncmp(symbol, "snprintf", 8) == 0 || strncmp(symbol, "memcpy", 6) == 0;
    }
    assert_int_equal(pclose(nm), 0);
    assert_true(saw_libc); // else nm told us nothing
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_names_are_matched_whole),
        cmocka_unit_test(the_program_links_no_random_function_of_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
