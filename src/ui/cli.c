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
    {"train", "[OPTIONS] [key=value ...]", "train and watch (the default command)", cmd_train},
    {"eval", "SESSION|CHECKPOINT [OPTIONS]", "play episodes with a saved policy", cmd_eval},
    {"export", "--sheeprl SESSION --out F", "weights under sheeprl's names, and back", cmd_export},
    {"bench", "train|emu [OPTIONS]", "measure speed", cmd_bench},
    {"reproduce", "BUNDLE", "a failing update again, its bad node", cmd_reproduce},
    {"sessions", "list|show|check|compare", "saved runs: show, check the log, compare",
     cmd_sessions},
    {"rom", "info|run|play FILE", "look at a cartridge, run or play it", cmd_rom},
    {"state", "info|import|export FILE", "saved states, other emulators' too", cmd_state},
    {"goal", "capture|check|calibrate", "wanted screens, what reaches them", cmd_goal},
    {"doctor", "", "what this machine offers", cmd_doctor},
    {NULL, NULL, NULL, NULL},
};

enum kind { FLAG, TEXT, COUNT, NUMBER };

static const struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *argument, *what;
} options[] = {
#define AT(field) offsetof(struct cli, field)
    {"--headless", FLAG, AT(headless), NULL, "no screen: progress lines and files"},
    {"--gate", TEXT, AT(gate), "cpu", "run the CI gate: a line per check, a verdict, exit code"},
    {"--out", TEXT, AT(out), "FILE", "where to: a summary, state, picture, folder, weights"},
    {"--png", TEXT, AT(png), "FILE", "sessions compare: curves of success, seeds as bands"},
    {"--algo", TEXT, AT(algo), "NAME", "dreamer_v3, ppo (dreamer_v3)"},
    {"--task", TEXT, AT(task), "NAME", "scene, goal or control task, see below (default sprites)"},
    {"--rom", TEXT, AT(rom), "FILE", "a Game Boy ROM instead of a built-in scene"},
    {"--state", TEXT, AT(state), "FILE", "with --rom: start there (own, BESS, PyBoy)"},
    {"--goal-dir", TEXT, AT(goal_dir), "DIR",
     "with --rom and --state: train towards this goal template"},
    {"--accept-pipeline", COUNT, AT(accept_pipeline), "1",
     "take a goal template drawn by that older pipeline"},
    {"--actions", TEXT, AT(actions), "FILE", "rom run, goal: recorded actions"},
    {"--use-stack", COUNT, AT(use_stack), "K", "goal capture: the last K frames instead of one"},
    {"--tau", NUMBER, AT(tau), "X", "goal capture: distance that counts as reached (0.05)"},
    {"--k-consecutive", COUNT, AT(k_consecutive), "N", "goal capture: so many steps in a row (2)"},
    {"--force", FLAG, AT(force), NULL, "goal capture: replace a template"},
    {"--mode", TEXT, AT(mode), "MODE", "standing_still (no policy; default of a scene) or full"},
    {"--preset", TEXT, AT(preset), "SIZE", "micro, tiny, goal, xs, s, m, l, xl"},
    {"--device", TEXT, AT(device), "NAME", "auto, cpu, cuda (default auto)"},
    {"--ranks", TEXT, AT(ranks), "HOW", "mpi: the processes of mpirun or srun are one run (off)"},
    {"--threads", COUNT, AT(threads), "N", "engine threads (default: all of this process's CPUs)"},
    {"--updates", COUNT, AT(updates), "N", "stop after N gradient steps"},
    {"--env-steps", COUNT, AT(env_steps), "N", "stop after N policy steps"},
    {"--minutes", NUMBER, AT(minutes), "M", "stop after M minutes"},
    {"--seed", TEXT, AT(seed), "N", "seed of every random stream (default 42)"},
    {"--output-tag", TEXT, AT(output_tag), "TAG", "last part of the session's name"},
    {"--sessions", TEXT, AT(sessions), "DIR", "where sessions are kept (default sessions)"},
    {"--resume", TEXT, AT(resume), "SESSION",
     "train: go on with a session, or from a checkpoint of it"},
    {"--no-session", FLAG, AT(no_session), NULL, "write no files"},
    {"--window", FLAG, AT(window), NULL, "open the SDL2 window at once (key o in the dashboard)"},
    {"--keep-running", FLAG, AT(keep_running), NULL,
     "go on without a screen when the terminal hangs up"},
    {"--script", TEXT, AT(script), "FILE", "drive the dashboard by a script of keys"},
    {"--no-color", FLAG, AT(no_color), NULL, "no colours (also: NO_COLOR in the environment)"},
    {"--ascii", FLAG, AT(ascii), NULL, "ASCII characters only"},
    {"--json", FLAG, AT(json), NULL, "print the result as JSON"},
    {"--episodes", COUNT, AT(episodes), "N", "eval: episodes (default 100)"},
    {"--policy", TEXT, AT(policy), "NAME", "eval: sampled, greedy or random (default sampled)"},
    {"--greedy", FLAG, AT(greedy), NULL, "eval: short for --policy greedy"},
    {"--warm-up-frames", COUNT, AT(warm_up_frames), "N",
     "eval: starts wait a random 0 .. N-1 frames (default 60)"},
    {"--open-loop", FLAG, AT(open_loop), NULL, "eval: error of the model's dreams by steps ahead"},
    {"--sheeprl", FLAG, AT(sheeprl), NULL, "export: to a safetensors file with sheeprl's names"},
    {"--from-sheeprl", TEXT, AT(from_sheeprl), "FILE",
     "export: such a file as a checkpoint of SESSION, to --out"},
    {"--envs", COUNT, AT(envs), "N", "eval, bench emu: machines (default 16, 1)"},
    {"--steps", COUNT, AT(steps), "N", "bench, rom run: steps or updates"},
    {"--profile", FLAG, AT(profile), NULL, "bench train: milliseconds and GFLOP/s per part"},
    {"--kernels", FLAG, AT(kernels), NULL, "bench train, on a GPU: ms and floor per kernel"},
    {"--draw", TEXT, AT(draw), "WHAT", "bench emu: all, last, none (default last)"},
    {"--golden", TEXT, AT(golden), "DIR", "gate: the golden fixtures (default: found by itself)"},
    {"--zero-latent", FLAG, AT(zero_latent), NULL, "ablation: zero the latent z"},
    {"--help", FLAG, AT(help), NULL, "this text"},
    {"--version", FLAG, AT(version), NULL, "version and revision"},
#undef AT
};
enum { N_OPTIONS = sizeof options / sizeof *options };

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
        } else {
            cli->words[cli->n_words++] = word;
        }
    }
    if (!cli->command) cli->command = "train";
    return true;
}

void cli_print_help(void) {
    printf("workbench: train Dreamer agents on Game Boy scenes and watch their world model\n\n"
           "usage: workbench [COMMAND] [OPTIONS] [key=value ...]\n\ncommands\n");
    for (const struct cli_command *c = cli_commands; c->name; c++)
        printf("  %-9s %-26s %s\n", c->name, c->arguments, c->what);
    printf("\noptions\n");
    for (int i = 0; i < N_OPTIONS; i++) {
        char left[48];
        snprintf(left, sizeof left, "%s%s%s", options[i].name, options[i].argument ? " " : "",
                 options[i].argument ? options[i].argument : "");
        printf("  %-20s %s\n", left, options[i].what);
    }
    printf("\nbuilt-in scenes, goals and control tasks\n");
    for (int i = 0; i < n_builtin_tasks; i++)
        printf("  %-20s %s\n", builtin_tasks[i].name, builtin_tasks[i].what);
    printf("  %-20s %s\n", TOY_TASK_NAME,
           "a block that looks for a corner; no ROM, --algo ppo only");
    for (int i = 0; i < n_control_tasks; i++)
        printf("  %-20s %s\n", control_tasks[i].name, control_tasks[i].what);
    printf("\nAny config key can be set by its name: algo.replay_ratio=2\n"
           "Exit codes: 0 done or passed, 1 failed, 2 usage, 3 gate skipped.\n");
}

int cli_fail(const struct error *e) {
    fprintf(stderr, "workbench: %s\n", e->message);
    return (int)e->status;
}
