// Command line: the tables of commands and options, and what follows from them.
#include "ui/cli.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/env/builtin.h"
#include "engine/env/control.h"
#include "engine/env/toy.h"

const struct cli_command cli_commands[] = {
    {"train", "[OPTIONS] [key=value ...]", "train and watch (the default command)", cmd_train,
     NULL},
    {"eval", "SESSION|CHECKPOINT [OPTIONS]", "play episodes with a saved policy", cmd_eval, NULL},
    {"export", "--sheeprl SESSION --out F", "weights under sheeprl's names, and back", cmd_export,
     "export --sheeprl SESSION --out FILE\n"
     "export --from-sheeprl FILE SESSION --out CHECKPOINT\n"},
    {"bench", "emu|env|replay|engine|train", "measure speed", cmd_bench,
     "bench emu [--task T|--rom F] [--envs N] [--draw WHAT]\n"
     "bench env [--task T|--rom F] [--envs N] [env.KEY=...]\n"
     "bench replay [--preset P] [--envs N] [--steps N] [KEY=...]\n"
     "bench engine [--preset P] [--threads N] [--updates N] [KEY=...]\n"
     "bench train [--preset P] [--profile|--kernels] [KEY=...]\n"},
    {"reproduce", "BUNDLE", "a failing update again, its bad node", cmd_reproduce, NULL},
    {"sessions", "list|show|check|compare", "saved runs: show, check the log, compare",
     cmd_sessions,
     "sessions list [--sessions DIR]\n"
     "sessions show SESSION\n"
     "sessions check SESSION\n"
     "sessions compare A B ... [--png success.png]\n"},
    {"rom", "info|run|play FILE", "look at a cartridge, run or play it", cmd_rom,
     "rom info FILE\n"
     "rom run FILE [--state F] [--steps N] [--actions F] [--out F]\n"
     "rom play FILE [--state F]\n"},
    {"state", "info|import|export FILE", "saved states, other emulators' too", cmd_state,
     "state info FILE [--rom F]\n"
     "state import FILE --rom F --out F\n"
     "state export FILE --rom F --out F\n"},
    {"goal", "capture|check|calibrate", "wanted screens, what reaches them", cmd_goal,
     "goal capture --rom F --state F --out DIR [--actions F]\n"
     "goal check DIR --rom F --state F --actions F [--out FOLDER]\n"
     "goal calibrate DIR --rom F --state F --actions F\n"},
    {"doctor", "", "what this machine offers", cmd_doctor, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

// The commands that have parts with options of their own, named by the word behind the command; of
// train the gate and, as `alone`, all else. Those that look at key=value words, that take any, and
// that take a task's name.
static const char parts[] =
    "train/alone train/--gate bench/emu bench/env bench/replay bench/engine bench/train "
    "sessions/list sessions/show sessions/check sessions/compare rom/info rom/run rom/play "
    "state/info state/import state/export goal/capture goal/check goal/calibrate";
static const char with_keys[] = "train bench", with_tasks[] = "train bench",
                  with_settings[] = "train eval bench/train bench/env bench/replay bench/engine "
                                    "goal";

enum kind { FLAG, TEXT, COUNT, NUMBER };

static const struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *argument, *what;
    const char *of; // the commands that it goes with, "bench/emu": that one of bench; NULL: all
} options[] = {
#define AT(field) offsetof(struct cli, field)
    {"--headless", FLAG, AT(headless), NULL, "no screen: progress lines and files", "train"},
    {"--gate", TEXT, AT(gate), "cpu|gpu", "run the CI gate: a line per check, a verdict, exit code",
     "train"},
    {"--out", TEXT, AT(out), "FILE", "where to: a summary, state, picture, folder, weights",
     "train eval export rom/run state/import state/export goal/capture goal/check"},
    {"--png", TEXT, AT(png), "FILE", "sessions compare: curves of success, seeds as bands",
     "sessions/compare"},
    {"--algo", TEXT, AT(algo), "NAME", "dreamer_v3, ppo (dreamer_v3)", "train"},
    {"--task", TEXT, AT(task), "NAME", "scene, goal or control task, see below (default sprites)",
     "train/alone bench/emu bench/env"},
    {"--rom", TEXT, AT(rom), "FILE", "a Game Boy ROM instead of a built-in scene",
     "train/alone eval bench/emu bench/env state goal"},
    {"--state", TEXT, AT(state), "FILE", "with --rom: start there (own, BESS, PyBoy)",
     "train/alone eval rom/run rom/play goal"},
    {"--goal-dir", TEXT, AT(goal_dir), "DIR",
     "with --rom and --state: train towards this goal template", "train/alone eval"},
    {"--accept-pipeline", COUNT, AT(accept_pipeline), "1",
     "take a goal template drawn by that older pipeline",
     "train/alone eval goal/check goal/calibrate"},
    {"--actions", TEXT, AT(actions), "FILE", "rom run, goal: recorded actions", "rom/run goal"},
    {"--use-stack", COUNT, AT(use_stack), "K", "goal capture: the last K frames instead of one",
     "goal/capture"},
    {"--tau", NUMBER, AT(tau), "X", "goal capture: distance that counts as reached (0.05)",
     "goal/capture"},
    {"--k-consecutive", COUNT, AT(k_consecutive), "N", "goal capture: so many steps in a row (2)",
     "goal/capture"},
    {"--force", FLAG, AT(force), NULL, "goal capture: replace a template", "goal/capture"},
    {"--mode", TEXT, AT(mode), "MODE", "standing_still (no policy; default of a scene) or full",
     "train/alone"},
    {"--preset", TEXT, AT(preset), "SIZE", "micro, tiny, goal, xs, s, m, l, xl",
     "train/alone bench/train bench/replay bench/engine"},
    {"--device", TEXT, AT(device), "NAME", "auto, cpu, cuda (default auto)", "train/alone bench"},
    {"--ranks", TEXT, AT(ranks), "HOW", "mpi: the processes of mpirun or srun are one run (off)",
     "train"},
    {"--threads", COUNT, AT(threads), "N", "engine threads (default: all of this process's CPUs)",
     "train eval bench reproduce"},
    {"--updates", COUNT, AT(updates), "N", "stop after N gradient steps",
     "train/alone bench/train bench/engine"},
    {"--env-steps", COUNT, AT(env_steps), "N", "stop after N policy steps", "train/alone"},
    {"--minutes", NUMBER, AT(minutes), "M", "stop after M minutes", "train/alone"},
    {"--seed", TEXT, AT(seed), "N", "seed of every random stream (default 42)", "train/alone eval"},
    {"--output-tag", TEXT, AT(output_tag), "TAG", "last part of the session's name", "train/alone"},
    {"--sessions", TEXT, AT(sessions), "DIR", "where sessions are kept (default sessions)",
     "train/alone sessions/list"},
    {"--resume", TEXT, AT(resume), "SESSION",
     "train: go on with a session, or from a checkpoint of it", "train/alone"},
    {"--no-session", FLAG, AT(no_session), NULL, "write no files", "train/alone eval"},
    {"--window", FLAG, AT(window), NULL, "open the SDL2 window at once (key o in the dashboard)",
     "train/alone"},
    {"--keep-running", FLAG, AT(keep_running), NULL,
     "go on without a screen when the terminal hangs up", "train/alone"},
    {"--script", TEXT, AT(script), "FILE", "drive the dashboard by a script of keys",
     "train/alone"},
    {"--no-color", FLAG, AT(no_color), NULL, "no colours (also: NO_COLOR in the environment)",
     "train/alone"},
    {"--ascii", FLAG, AT(ascii), NULL, "ASCII characters only", "train/alone"},
    {"--json", FLAG, AT(json), NULL, "print the result as JSON",
     "train eval bench reproduce sessions rom/info rom/run state/info goal doctor"},
    {"--episodes", COUNT, AT(episodes), "N", "eval: episodes (default 100)", "eval"},
    {"--policy", TEXT, AT(policy), "NAME", "eval: sampled, greedy or random (default sampled)",
     "eval"},
    {"--greedy", FLAG, AT(greedy), NULL, "eval: short for --policy greedy", "eval"},
    {"--warm-up-frames", COUNT, AT(warm_up_frames), "N",
     "eval: starts wait a random 0 .. N-1 frames (default 60)", "eval"},
    {"--dump-trajectory", TEXT, AT(dump_trajectory), "FILE", "eval: every step as a JSON line",
     "eval"},
    {"--open-loop", FLAG, AT(open_loop), NULL, "eval: error of the model's dreams by steps ahead",
     "eval"},
    {"--sheeprl", FLAG, AT(sheeprl), NULL, "export: to a safetensors file with sheeprl's names",
     "export"},
    {"--from-sheeprl", TEXT, AT(from_sheeprl), "FILE",
     "export: such a file as a checkpoint of SESSION, to --out", "export"},
    {"--envs", COUNT, AT(envs), "N", "machines (eval, bench env: 16, bench emu: 1)",
     "eval bench/emu bench/env bench/replay"},
    {"--steps", COUNT, AT(steps), "N", "bench, rom run: steps or updates", "bench rom/run"},
    {"--profile", FLAG, AT(profile), NULL, "bench train: milliseconds and GFLOP/s per part",
     "bench/train"},
    {"--kernels", FLAG, AT(kernels), NULL, "bench train, on a GPU: ms and floor per kernel",
     "bench/train"},
    {"--draw", TEXT, AT(draw), "WHAT", "bench emu: all, last, none (default last)", "bench/emu"},
    {"--golden", TEXT, AT(golden), "DIR", "gate: the golden fixtures (default: found by itself)",
     "train"},
    {"--zero-latent", FLAG, AT(zero_latent), NULL, "ablation: zero the latent z", "train eval"},
    {"--help", FLAG, AT(help), NULL, "this text", NULL},
    {"--version", FLAG, AT(version), NULL, "version and revision", NULL},
#undef AT
};
enum { N_OPTIONS = sizeof options / sizeof *options };

// What of a command does nothing without one of the others, or beside one of them.
static const struct bond {
    const char *of, *name;
    enum { WITHOUT, BESIDE } how;
    const char *others;
} bonds[] = {
    {"train", "--out", WITHOUT, "--gate"},
    {"train", "--golden", WITHOUT, "--gate"},
    {"train", "--accept-pipeline", WITHOUT, "--goal-dir --resume"},
    {"train", "--sessions", BESIDE, "--no-session --resume"},
    {"train", "--output-tag", BESIDE, "--no-session --resume"},
    {"eval", "--out", BESIDE, "--no-session"},
    {"bench/train bench/engine", "--updates", BESIDE, "--steps"},
};

static bool set_value(struct cli *cli, const struct option *o, const char *text, struct error *e) {
    void *field = (char *)cli + o->offset;
    char *end = NULL;
    // Digits first: the C library would also take spaces, signs, hexadecimal, "inf" and "nan".
    bool plain = text && strchr(".0123456789", text[0]) && !strpbrk(text, "xX");
    errno = 0;
    switch (o->kind) {
    case FLAG:
        *(bool *)field = true;
        return true;
    case TEXT:
        *(const char **)field = text;
        return true;
    case COUNT: {
        long long v = plain ? strtoll(text, &end, 10) : 0;
        if (v < 1 || *end || errno)
            return error_set(e, STATUS_USAGE, "%s %s: give a whole number, 1 or more", o->name,
                             text);
        *(int64_t *)field = v;
        return true;
    }
    case NUMBER: {
        double v = plain ? strtod(text, &end) : 0;
        if (!(v > 0) || *end || v > 1e9)
            return error_set(e, STATUS_USAGE, "%s %s: give a number above 0", o->name, text);
        *(double *)field = v;
        return true;
    }
    }
    return false;
}

static const struct option *find_option(const char *word, size_t n) {
    for (int i = 0; i < N_OPTIONS; i++)
        if (strlen(options[i].name) == n && strncmp(options[i].name, word, n) == 0)
            return &options[i];
    return NULL;
}

static bool parse_option(struct cli *cli, int argc, char **argv, int *i, struct error *e) {
    const char *word = argv[*i], *equals = strchr(word, '=');
    const struct option *o = find_option(word, equals ? (size_t)(equals - word) : strlen(word));
    if (!o) return error_set(e, STATUS_USAGE, "%s: no such option; see workbench --help", word);
    if (o->kind == FLAG) {
        if (equals) return error_set(e, STATUS_USAGE, "%s takes no value", o->name);
        return set_value(cli, o, NULL, e);
    }
    // The next word is the value unless it looks like an option; a value that does can be given
    // after "=".
    bool has_next = *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0;
    const char *value = equals ? equals + 1 : has_next ? argv[++*i] : NULL;
    if (!value || !*value)
        return error_set(e, STATUS_USAGE, "%s needs a value: %s %s", o->name, o->name, o->argument);
    return set_value(cli, o, value, e);
}

static bool is_command(const char *word) {
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, word) == 0) return true;
    return false;
}

bool cli_parse(struct cli *cli, int argc, char **argv, struct error *e) {
    memset(cli, 0, sizeof *cli);
    if (argc > CLI_MAX_WORDS) return error_set(e, STATUS_USAGE, "too many arguments");
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "-h") == 0) {
            cli->help = true;
            continue;
        }
        if (word[0] == '-' && word[1]) {
            if (!parse_option(cli, argc, argv, &i, e)) return false;
        } else if (strchr(word, '=')) {
            cli->settings[cli->n_settings++] = word;
        } else if (!cli->command) {
            if (!is_command(word))
                return error_set(e, STATUS_USAGE, "%s: no such command; see workbench --help",
                                 word);
            cli->command = word;
            cli->is_named = true;
        } else {
            cli->words[cli->n_words++] = word;
        }
    }
    if (!cli->command) cli->command = "train";
    return true;
}

// ---- what belongs together

// "eval" in "train eval bench/emu"; "bench" with "emu" or (NULL: whatever part) as a whole too.
static bool goes_with(const char *of, const char *command, const char *part) {
    const size_t n = strlen(command);
    for (const char *at = of; of && *at; at += strcspn(at, " "), at += *at == ' ') {
        if (strncmp(at, command, n) != 0) continue;
        if (at[n] == ' ' || !at[n]) return true;
        if (at[n] != '/') continue;
        const size_t m = strcspn(at + n + 1, " ");
        if (!part || (strlen(part) == m && strncmp(at + n + 1, part, m) == 0)) return true;
    }
    return !of;
}

static bool is_given(const struct cli *cli, const struct option *o) {
    static const char unset[sizeof(int64_t)];
    return memcmp((const char *)cli + o->offset, unset,
                  o->kind == FLAG ? sizeof(bool) : sizeof(int64_t)) != 0;
}

static bool is_named_given(const struct cli *cli, const char *name, size_t n) {
    return is_given(cli, find_option(name, n));
}

// The first of these options that is given, its length in *n; NULL: none is.
static const char *find_given(const struct cli *cli, const char *names, size_t *n) {
    for (const char *at = names; *at; at += *n, at += *at == ' ') {
        *n = strcspn(at, " ");
        if (is_named_given(cli, at, *n)) return at;
    }
    return NULL;
}

static bool check_bonds(const struct cli *cli, const char *part, const char *label,
                        struct error *e) {
    for (size_t i = 0; i < sizeof bonds / sizeof *bonds; i++) {
        const struct bond *b = &bonds[i];
        size_t n = 0;
        if (!goes_with(b->of, cli->command, part) || !is_named_given(cli, b->name, strlen(b->name)))
            continue;
        const char *other = find_given(cli, b->others, &n);
        if (b->how == WITHOUT && !other)
            return error_set(e, STATUS_USAGE, "%s: %s does nothing without %.*s", label, b->name,
                             (int)strcspn(b->others, " "), b->others);
        if (b->how == BESIDE && other)
            return error_set(e, STATUS_USAGE, "%s: %s does nothing beside %.*s", label, b->name,
                             (int)n, other);
    }
    return true;
}

static const char *part_of(const struct cli *cli) {
    const bool trains = strcmp(cli->command, "train") == 0;
    const char *part = trains ? cli->gate ? "--gate" : "alone" : cli->n_words ? cli->words[0] : "";
    return goes_with(parts, cli->command, part) ? part : NULL;
}

bool cli_check(const struct cli *cli, struct error *e) {
    const char *part = part_of(cli);
    const bool shown = part && strcmp(part, "alone") != 0;
    char label[64];
    snprintf(label, sizeof label, "%s%s%s", cli->command, shown ? " " : "", shown ? part : "");
    for (int i = 0; i < N_OPTIONS; i++)
        if (is_given(cli, &options[i]) && !goes_with(options[i].of, cli->command, part))
            return error_set(e, STATUS_USAGE, "%s: %s does nothing there; see workbench %s --help",
                             label, options[i].name, cli->command);
    if (cli->n_settings && !goes_with(with_settings, cli->command, part))
        return error_set(e, STATUS_USAGE, "%s: %s: keys of a run are not set there", label,
                         cli->settings[0]);
    return check_bonds(cli, part, label, e);
}

// ---- help

static void print_options(const char *command) {
    printf("\noptions\n");
    for (int i = 0; i < N_OPTIONS; i++) {
        const struct option *o = &options[i];
        char left[48];
        if (command && !goes_with(o->of, command, NULL)) continue;
        snprintf(left, sizeof left, "%s%s%s", o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        printf("  %-20s %s\n", left, o->what);
    }
}

static void print_tasks(void) {
    printf("\nbuilt-in scenes, goals and control tasks\n");
    for (int i = 0; i < n_builtin_tasks; i++)
        printf("  %-20s %s\n", builtin_tasks[i].name, builtin_tasks[i].what);
    printf("  %-20s %s\n", TOY_TASK_NAME,
           "a block that looks for a corner; no ROM, --algo ppo only");
    for (int i = 0; i < n_control_tasks; i++)
        printf("  %-20s %s\n", control_tasks[i].name, control_tasks[i].what);
}

static void print_commands(void) {
    printf("workbench: train Dreamer agents on Game Boy scenes and watch their world model\n\n"
           "usage: workbench [COMMAND] [OPTIONS] [key=value ...]\n"
           "       workbench COMMAND --help: its options alone\n\ncommands\n");
    for (const struct cli_command *c = cli_commands; c->name; c++)
        printf("  %-9s %-26s %s\n", c->name, c->arguments, c->what);
}

static void print_usage(const struct cli_command *c) {
    const char *at = c->usage;
    if (!at) printf("usage: workbench %s %s\n", c->name, c->arguments);
    for (; at && *at; at += strcspn(at, "\n") + 1)
        printf("%s workbench %.*s\n", at == c->usage ? "usage:" : "      ", (int)strcspn(at, "\n"),
               at);
    printf("%s\n", c->what);
}

void cli_print_help(const char *command) {
    const struct cli_command *c = cli_commands;
    while (command && c->name && strcmp(c->name, command) != 0) c++;
    if (!command)
        print_commands();
    else
        print_usage(c);
    print_options(command);
    if (!command || goes_with(with_tasks, command, NULL)) print_tasks();
    if (!command || goes_with(with_keys, command, NULL))
        printf("\nAny config key can be set by its name: algo.replay_ratio=2\n");
    printf("%sExit codes: 0 done or passed, 1 failed, 2 usage, 3 gate skipped.\n",
           command && !goes_with(with_keys, command, NULL) ? "\n" : "");
}

int cli_fail(const struct error *e) {
    fprintf(stderr, "workbench: %s\n", e->message);
    return (int)e->status;
}
