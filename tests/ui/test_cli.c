// Tests of the command line: every option of the table, its forms and its errors; commands,
// settings, help.
#include "support/test.h"

#include "engine/env/builtin.h"
#include "ui/cli.h"

enum kind { FLAG, TEXT, COUNT, NUMBER };

static const struct {
    const char *name;
    enum kind kind;
    size_t field;
} options[] = {
#define OPTION(name, kind, member)                                                                 \
    { name, kind, offsetof(struct cli, member) }
    OPTION("--headless", FLAG, headless),
    OPTION("--gate", TEXT, gate),
    OPTION("--out", TEXT, out),
    OPTION("--png", TEXT, png),
    OPTION("--algo", TEXT, algo),
    OPTION("--task", TEXT, task),
    OPTION("--rom", TEXT, rom),
    OPTION("--state", TEXT, state),
    OPTION("--goal-dir", TEXT, goal_dir),
    OPTION("--accept-pipeline", COUNT, accept_pipeline),
    OPTION("--actions", TEXT, actions),
    OPTION("--use-stack", COUNT, use_stack),
    OPTION("--tau", NUMBER, tau),
    OPTION("--k-consecutive", COUNT, k_consecutive),
    OPTION("--force", FLAG, force),
    OPTION("--mode", TEXT, mode),
    OPTION("--preset", TEXT, preset),
    OPTION("--device", TEXT, device),
    OPTION("--ranks", TEXT, ranks),
    OPTION("--threads", COUNT, threads),
    OPTION("--updates", COUNT, updates),
    OPTION("--env-steps", COUNT, env_steps),
    OPTION("--minutes", NUMBER, minutes),
    OPTION("--seed", TEXT, seed),
    OPTION("--output-tag", TEXT, output_tag),
    OPTION("--sessions", TEXT, sessions),
    OPTION("--resume", TEXT, resume),
    OPTION("--no-session", FLAG, no_session),
    OPTION("--window", FLAG, window),
    OPTION("--keep-running", FLAG, keep_running),
    OPTION("--script", TEXT, script),
    OPTION("--no-color", FLAG, no_color),
    OPTION("--ascii", FLAG, ascii),
    OPTION("--json", FLAG, json),
    OPTION("--episodes", COUNT, episodes),
    OPTION("--policy", TEXT, policy),
    OPTION("--greedy", FLAG, greedy),
    OPTION("--warm-up-frames", COUNT, warm_up_frames),
    OPTION("--dump-trajectory", TEXT, dump_trajectory),
    OPTION("--open-loop", FLAG, open_loop),
    OPTION("--sheeprl", FLAG, sheeprl),
    OPTION("--from-sheeprl", TEXT, from_sheeprl),
    OPTION("--envs", COUNT, envs),
    OPTION("--steps", COUNT, steps),
    OPTION("--profile", FLAG, profile),
    OPTION("--kernels", FLAG, kernels),
    OPTION("--draw", TEXT, draw),
    OPTION("--golden", TEXT, golden),
    OPTION("--zero-latent", FLAG, zero_latent),
    OPTION("--help", FLAG, help),
    OPTION("--version", FLAG, version),
#undef OPTION
};
enum { N_OPTIONS = sizeof options / sizeof *options };

static struct cli cli;

// Words up to the first NULL, parsed as the arguments of the program.
static bool parse(const char *const words[], struct error *e) {
    char *argv[CLI_MAX_WORDS + 2] = {(char *)"workbench"};
    int argc = 1;
    for (; words[argc - 1]; argc++) argv[argc] = (char *)(uintptr_t)words[argc - 1];
    return cli_parse(&cli, argc, argv, e);
}
#define PARSE(e, ...) parse((const char *const[]){__VA_ARGS__, NULL}, e)

static void assert_one_line(const struct error *e, const char *part) {
    assert_int_equal(e->status, STATUS_USAGE);
    assert_true(strlen(e->message) > 0);
    assert_null(strpbrk(e->message, "\n\r\t\033"));
    if (!strstr(e->message, part)) fail_msg("\"%s\" is missing in: %s", part, e->message);
}
#define REFUSED(part, ...)                                                                         \
    do {                                                                                           \
        struct error refusal = {0};                                                                \
        assert_false(PARSE(&refusal, __VA_ARGS__));                                                \
        assert_one_line(&refusal, part);                                                           \
    } while (0)

static void assert_field(int i, const char *text) {
    const char *field = (const char *)&cli + options[i].field;
    switch (options[i].kind) {
    case FLAG:
        assert_true(*(const bool *)field);
        break;
    case TEXT:
        assert_string_equal(*(const char *const *)field, text);
        break;
    case COUNT:
        assert_int_equal(*(const int64_t *)field, atoll(text));
        break;
    case NUMBER:
        assert_true(*(const double *)field == atof(text));
        break;
    }
}

static void nothing_given_means_train_with_everything_unset(void **state) {
    (void)state;
    struct error e = {0};
    struct cli expected;
    memset(&cli, 0xff, sizeof cli);
    assert_true(parse((const char *const[]){NULL}, &e));
    assert_string_equal(cli.command, "train");
    memset(&expected, 0, sizeof expected);
    expected.command = cli.command;
    assert_memory_equal(&cli, &expected, sizeof cli);
    char *none[] = {NULL}; // a caller may give not even the program's name
    assert_true(cli_parse(&cli, 0, none, &e));
}

static void every_option_sets_its_own_field_in_both_forms(void **state) {
    (void)state;
    for (int i = 0; i < N_OPTIONS; i++) {
        struct error e = {0};
        char joined[64];
        const char *value = options[i].kind == NUMBER ? "2.5" : "17";
        snprintf(joined, sizeof joined, "%s=%s", options[i].name, value);
        if (options[i].kind == FLAG) {
            assert_true(PARSE(&e, options[i].name));
            assert_field(i, value);
        } else {
            assert_true(PARSE(&e, options[i].name, value));
            assert_field(i, value);
            assert_true(PARSE(&e, joined));
            assert_field(i, value);
            assert_true(PARSE(&e, options[i].name, "3", joined)); // the last one counts
            assert_field(i, value);
        }
        // ... and no other: cleared, nothing is left.
        char *field = (char *)&cli + options[i].field;
        size_t size = options[i].kind == FLAG ? sizeof(bool) : 8;
        memset(field, 0, size);
        struct cli expected;
        memset(&expected, 0, sizeof expected);
        expected.command = cli.command;
        assert_memory_equal(&cli, &expected, sizeof cli);
    }
}

static void a_missing_value_is_named_with_what_it_should_be(void **state) {
    (void)state;
    for (int i = 0; i < N_OPTIONS; i++) {
        if (options[i].kind == FLAG) continue;
        char joined[64], part[64];
        snprintf(joined, sizeof joined, "%s=", options[i].name);
        snprintf(part, sizeof part, "%s needs a value", options[i].name);
        REFUSED(part, options[i].name);
        REFUSED(part, options[i].name, "");
        REFUSED(part, joined);
        REFUSED(part, options[i].name, "--headless"); // an option is no value
        REFUSED(part, "train", "--headless", options[i].name);
    }
    struct error e = {0};
    assert_true(PARSE(&e, "--out=--headless", "--output-tag", "-x")); // meant so
    assert_string_equal(cli.out, "--headless");
    assert_string_equal(cli.output_tag, "-x");
    assert_false(cli.headless);
}

static void a_flag_takes_no_value(void **state) {
    (void)state;
    for (int i = 0; i < N_OPTIONS; i++) {
        if (options[i].kind != FLAG) continue;
        char joined[64], part[64];
        snprintf(part, sizeof part, "%s takes no value", options[i].name);
        snprintf(joined, sizeof joined, "%s=1", options[i].name);
        REFUSED(part, joined);
        snprintf(joined, sizeof joined, "%s=", options[i].name);
        REFUSED(part, joined);
    }
}

static void a_bad_number_is_refused_with_the_option_and_the_text(void **state) {
    (void)state;
    static const char *const bad_counts[] = {"0",
                                             "-1",
                                             "+1",
                                             " 1",
                                             "1 ",
                                             "x",
                                             "1x",
                                             "1.5",
                                             ".5",
                                             "0x10",
                                             "1e3",
                                             "9223372036854775808",
                                             "99999999999999999999"};
    static const char *const bad_numbers[] = {"0",    "0.0",    "-1",  "+1",       " 1",   "x",
                                              "1x",   "nan",    "inf", "infinity", "0x10", "1e400",
                                              "1e10", "1e-400", ".",   "1,5",      "1.2.3"};
    for (int i = 0; i < N_OPTIONS; i++) {
        bool count = options[i].kind == COUNT;
        if (!count && options[i].kind != NUMBER) continue;
        const char *const *bad = count ? bad_counts : bad_numbers;
        size_t n = count ? sizeof bad_counts / sizeof *bad_counts
                         : sizeof bad_numbers / sizeof *bad_numbers;
        for (size_t k = 0; k < n; k++) {
            char joined[64], part[64];
            snprintf(part, sizeof part, "%s %s: give a %s", options[i].name, bad[k],
                     count ? "whole number, 1 or more" : "number above 0");
            REFUSED(part, options[i].name, bad[k]);
            snprintf(joined, sizeof joined, "%s=%s", options[i].name, bad[k]);
            REFUSED(part, joined);
        }
    }
    struct error e = {0};
    assert_true(
        PARSE(&e, "--updates", "9223372036854775807", "--minutes", ".25", "--threads", "007"));
    assert_true(cli.updates == INT64_MAX && cli.minutes == 0.25 && cli.threads == 7);
}

static void an_unknown_option_is_refused_by_name(void **state) {
    (void)state;
    static const char *const unknown[] = {
        "--nope",  "--",     "---",         "-x",        "--task2", "--tas", "--nope=1",
        "--Task=", "--TASK", "--headless ", "-headless", "-t=1",    "--=x",  "-j4"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        REFUSED("no such option", unknown[i]);
        REFUSED(unknown[i], "train", unknown[i], "--headless");
        REFUSED("workbench --help", unknown[i]);
    }
    REFUSED("--a?b?", "--a\nb\033");
}

static void an_unknown_command_is_refused_by_name(void **state) {
    (void)state;
    static const char *const unknown[] = {"tarin", "-", "", "Train", "train ", "trai", "./x.gb"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        REFUSED("no such command", unknown[i]);
        REFUSED(unknown[i], "--headless", unknown[i]);
    }
}

static void every_command_is_found_wherever_it_stands(void **state) {
    (void)state;
    struct error e = {0};
    int n = 0;
    for (const struct cli_command *c = cli_commands; c->name; c++, n++) {
        assert_non_null(c->run);
        assert_true(PARSE(&e, c->name, "--json"));
        assert_string_equal(cli.command, c->name);
        assert_true(PARSE(&e, "--json", "a=b", c->name, "word", "--out", "train", "other"));
        assert_string_equal(cli.command, c->name);
        assert_string_equal(cli.out, "train");
        assert_int_equal(cli.n_words, 2);
        assert_string_equal(cli.words[0], "word");
        assert_string_equal(cli.words[1], "other");
    }
    assert_true(n >= 4);
    assert_string_equal(cli_commands[0].name, "train");
}

static void settings_are_collected_in_their_order(void **state) {
    (void)state;
    struct error e = {0};
    assert_true(PARSE(&e, "algo.horizon=10", "--updates", "5", "seed=", "train", "=x", "a=b=c"));
    assert_int_equal(cli.n_settings, 4);
    assert_string_equal(cli.settings[0], "algo.horizon=10");
    assert_string_equal(cli.settings[1], "seed=");
    assert_string_equal(cli.settings[2], "=x");
    assert_string_equal(cli.settings[3], "a=b=c");
    assert_int_equal(cli.n_words, 0);
    assert_string_equal(cli.command, "train");
    assert_true(PARSE(&e, "x=1"));
    assert_string_equal(cli.command, "train"); // a setting is no command
}

static void more_words_than_fit_are_refused(void **state) {
    (void)state;
    const char *words[CLI_MAX_WORDS + 1] = {0};
    struct error e = {0};
    for (int i = 0; i < CLI_MAX_WORDS - 1; i++) words[i] = "a=b";
    assert_true(parse(words, &e));
    assert_int_equal(cli.n_settings, CLI_MAX_WORDS - 1);
    words[CLI_MAX_WORDS - 1] = "a=b";
    assert_false(parse(words, &e));
    assert_one_line(&e, "too many");
}

// ---- what is printed

static char printed[20000];

// Runs `print` with file descriptor `fd` going to a file, whose text is left in `printed`.
static int capture(int fd, int (*print)(void)) {
    FILE *stream = fd == STDOUT_FILENO ? stdout : stderr, *file = tmpfile();
    assert_non_null(file);
    fflush(stream);
    int old = dup(fd);
    dup2(fileno(file), fd);
    int result = print();
    fflush(stream);
    dup2(old, fd);
    close(old);
    rewind(file);
    printed[fread(printed, 1, sizeof printed - 1, file)] = 0;
    fclose(file);
    return result;
}

static int print_help(void) {
    cli_print_help(NULL);
    return 0;
}

static void help_lists_every_command_option_and_scene_in_80_columns(void **state) {
    (void)state;
    capture(STDOUT_FILENO, print_help);
    for (int i = 0; i < N_OPTIONS; i++) {
        char line_start[64];
        snprintf(line_start, sizeof line_start, "\n  %s ", options[i].name);
        if (!strstr(printed, line_start)) fail_msg("help does not list %s", options[i].name);
    }
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        char line_start[64];
        snprintf(line_start, sizeof line_start, "\n  %s ", c->name);
        if (!strstr(printed, line_start)) fail_msg("help does not list %s", c->name);
    }
    for (int i = 0; i < n_builtin_tasks; i++)
        assert_non_null(strstr(printed, builtin_tasks[i].what));
    int n_listed = 0;
    for (char *line = strtok(printed, "\n"); line; line = strtok(NULL, "\n")) {
        if (strlen(line) > 80) fail_msg("%zu columns: %s", strlen(line), line);
        n_listed += strncmp(line, "  --", 4) == 0;
    }
    assert_int_equal(n_listed, N_OPTIONS); // a new option belongs into this test's table too
}

static const char *help_of;
static int print_help_of_one(void) {
    cli_print_help(help_of);
    return 0;
}

static void the_help_of_a_command_lists_its_own_options_in_80_columns(void **state) {
    (void)state;
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        help_of = c->name;
        capture(STDOUT_FILENO, print_help_of_one);
        assert_int_equal(strncmp(printed, "usage: workbench ", 17), 0);
        assert_non_null(strstr(printed, c->what));
        assert_true(!strstr(printed, "--episodes") == (strcmp(c->name, "eval") != 0));
        assert_true(!strstr(printed, "--env-steps") == (strcmp(c->name, "train") != 0));
        for (char *line = strtok(printed, "\n"); line; line = strtok(NULL, "\n"))
            if (strlen(line) > 80) fail_msg("%zu columns: %s", strlen(line), line);
    }
}

static void what_a_command_would_ignore_is_refused(void **state) {
    (void)state;
    static const char *const cases[][3] = {{"doctor", "--updates", "3"}, {"eval", "--tau", "0.1"},
                                           {"sessions", "--seed", "1"},  {"train", "--png", "x"},
                                           {"rom", "--episodes", "4"},   {"goal", "--ascii", "x"},
                                           {"state", "a.b=c", "x"},      {"export", "--json", "x"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {0};
        assert_true(PARSE(&e, cases[i][0], cases[i][1], cases[i][2]));
        assert_false(cli_check(&cli, &e));
        assert_one_line(&e, cases[i][1]);
        assert_int_equal(strncmp(e.message, cases[i][0], strlen(cases[i][0])), 0);
    }
    struct error e = {0};
    assert_true(PARSE(&e, "--updates", "3", "algo.horizon=3", "--json"));
    assert_true(cli_check(&cli, &e));
    assert_true(PARSE(&e, "eval", "x", "--policy", "greedy", "--threads=2"));
    assert_true(cli_check(&cli, &e));
}

static void what_one_benchmark_would_ignore_is_refused_by_it(void **state) {
    (void)state;
    struct error e = {0};
    assert_true(PARSE(&e, "bench", "emu", "--draw", "all", "--envs", "2"));
    assert_true(cli_check(&cli, &e));
    assert_true(PARSE(&e, "bench", "env", "--draw", "all"));
    assert_false(cli_check(&cli, &e));
    assert_string_equal(e.message,
                        "bench env: --draw does nothing there; see workbench bench --help");
    assert_true(PARSE(&e, "bench", "train", "--envs", "2"));
    assert_false(cli_check(&cli, &e));
    assert_true(PARSE(&e, "bench", "emu", "algo.horizon=3"));
    assert_false(cli_check(&cli, &e));
    // Of no benchmark's name: the command says which there are.
    assert_true(PARSE(&e, "bench", "e", "--draw", "all"));
    assert_true(cli_check(&cli, &e));
}

// Every subcommand with all options that it looks at; each other one is refused there.
static const struct part {
    const char *words[3], *takes;
} subcommands[] = {
    {{"train"},
     " --headless --gate --algo --task --rom --state --goal-dir --mode --preset --device --ranks "
     "--threads --updates --env-steps --minutes --seed --output-tag --sessions --resume "
     "--no-session --window --keep-running --script --no-color --ascii --json --zero-latent "},
    {{"train", "--gate=cpu"},
     " --headless --gate --out --algo --ranks --threads --json --golden --zero-latent "},
    {{"eval"},
     " --out --rom --state --goal-dir --accept-pipeline --threads --seed --no-session --json "
     "--episodes --policy --greedy --warm-up-frames --dump-trajectory --open-loop --envs "
     "--zero-latent "},
    {{"export"}, " --out --sheeprl --from-sheeprl "},
    {{"bench", "emu"}, " --task --rom --device --threads --json --envs --steps --draw "},
    {{"bench", "env"}, " --task --rom --device --threads --json --envs --steps "},
    {{"bench", "replay"}, " --preset --device --threads --json --envs --steps "},
    {{"bench", "engine"}, " --preset --device --threads --updates --json --steps "},
    {{"bench", "train"},
     " --preset --device --threads --updates --json --steps --profile --kernels "},
    {{"reproduce"}, " --threads --json "},
    {{"sessions", "list"}, " --sessions --json "},
    {{"sessions", "show"}, " --json "},
    {{"sessions", "check"}, " --json "},
    {{"sessions", "compare"}, " --png --json "},
    {{"rom", "info"}, " --json "},
    {{"rom", "run"}, " --out --state --actions --steps --json "},
    {{"rom", "play"}, " --state "},
    {{"state", "info"}, " --rom --json "},
    {{"state", "import"}, " --out --rom "},
    {{"state", "export"}, " --out --rom "},
    {{"goal", "capture"},
     " --out --rom --state --actions --use-stack --tau --k-consecutive --force --json "},
    {{"goal", "check"}, " --out --rom --state --accept-pipeline --actions --json "},
    {{"goal", "calibrate"}, " --rom --state --accept-pipeline --actions --json "},
    {{"doctor"}, " --json "},
};

static bool takes(const struct part *p, const char *option) {
    char word[64];
    snprintf(word, sizeof word, " %s ", option);
    return strstr(p->takes, word) != NULL;
}

static void every_subcommand_takes_its_own_options_and_refuses_all_others(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof subcommands / sizeof *subcommands; k++) {
        const struct part *p = &subcommands[k];
        for (int i = 0; i < N_OPTIONS; i++) {
            struct error e = {0};
            const char *words[5] = {p->words[0]};
            char option[64];
            int n = 1;
            if (p->words[1]) words[n++] = p->words[1];
            if (options[i].kind == FLAG)
                snprintf(option, sizeof option, "%s", options[i].name);
            else
                snprintf(option, sizeof option, "%s=1", options[i].name);
            words[n] = option;
            if (strcmp(option, "--help") == 0 || strcmp(option, "--version") == 0) continue;
            assert_true(parse(words, &e));
            const bool fine = cli_check(&cli, &e);
            if (fine != takes(p, options[i].name))
                fail_msg("%s %s %s: %s", p->words[0], p->words[1] ? p->words[1] : "", option,
                         fine ? "taken" : e.message);
            if (!fine) assert_one_line(&e, options[i].name);
        }
    }
}

static void options_that_undo_each_other_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *words[6], *says; // NULL: nothing
    } cases[] = {
        {{"--out", "x"}, "train: --out does nothing without --gate"},
        {{"--golden", "x"}, "train: --golden does nothing without --gate"},
        {{"--gate", "cpu", "--out", "x"}, NULL},
        {{"--gate", "cpu", "--task", "toy"}, "train --gate: --task does nothing there; see "},
        {{"--accept-pipeline", "1"}, "train: --accept-pipeline does nothing without --goal-dir"},
        {{"--accept-pipeline", "1", "--resume", "x"}, NULL},
        {{"--output-tag", "x", "--no-session"}, "--output-tag does nothing beside --no-session"},
        {{"--sessions", "x", "--no-session"}, "--sessions does nothing beside --no-session"},
        {{"--sessions", "x", "--resume", "y"}, "--sessions does nothing beside --resume"},
        {{"--output-tag", "x", "--resume", "y"}, "--output-tag does nothing beside --resume"},
        {{"eval", "s", "--out", "x", "--no-session"},
         "eval: --out does nothing beside --no-session"},
        {{"bench", "train", "--steps=1", "--updates=1"},
         "bench train: --updates does nothing beside --steps"},
        {{"rom", "play", "x.gb", "--steps=1"}, "rom play: --steps does nothing there; see "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {0};
        assert_true(parse(cases[i].words, &e));
        const bool fine = cli_check(&cli, &e);
        if (fine != !cases[i].says) fail_msg("%zu: %s", i, fine ? "taken" : e.message);
        if (!fine) assert_one_line(&e, cases[i].says);
    }
}

static void short_and_long_help_are_the_same(void **state) {
    (void)state;
    struct error e = {0};
    assert_true(PARSE(&e, "-h"));
    assert_true(cli.help);
    assert_true(PARSE(&e, "bench", "--help"));
    assert_true(cli.help);
}

static int print_failure(void) {
    struct error e = {STATUS_USAGE, "--x: no such option"};
    return cli_fail(&e);
}

static void a_failure_is_one_line_on_stderr_and_the_exit_code(void **state) {
    (void)state;
    assert_int_equal(capture(STDERR_FILENO, print_failure), 2);
    assert_string_equal(printed, "workbench: --x: no such option\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_given_means_train_with_everything_unset),
        cmocka_unit_test(every_option_sets_its_own_field_in_both_forms),
        cmocka_unit_test(a_missing_value_is_named_with_what_it_should_be),
        cmocka_unit_test(a_flag_takes_no_value),
        cmocka_unit_test(a_bad_number_is_refused_with_the_option_and_the_text),
        cmocka_unit_test(an_unknown_option_is_refused_by_name),
        cmocka_unit_test(an_unknown_command_is_refused_by_name),
        cmocka_unit_test(every_command_is_found_wherever_it_stands),
        cmocka_unit_test(settings_are_collected_in_their_order),
        cmocka_unit_test(more_words_than_fit_are_refused),
        cmocka_unit_test(help_lists_every_command_option_and_scene_in_80_columns),
        cmocka_unit_test(the_help_of_a_command_lists_its_own_options_in_80_columns),
        cmocka_unit_test(what_a_command_would_ignore_is_refused),
        cmocka_unit_test(what_one_benchmark_would_ignore_is_refused_by_it),
        cmocka_unit_test(every_subcommand_takes_its_own_options_and_refuses_all_others),
        cmocka_unit_test(options_that_undo_each_other_are_refused),
        cmocka_unit_test(short_and_long_help_are_the_same),
        cmocka_unit_test(a_failure_is_one_line_on_stderr_and_the_exit_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
