// Command line: one table of commands, one table of options; help, usage errors and the man page's
// lists come from them.
#ifndef UI_CLI_H
#define UI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { CLI_MAX_WORDS = 256 };

struct cli {             // everything an option can set; zero or NULL: not given
    const char *command; // "train" if none was named
    bool is_named;
    const char *algo, *task, *mode, *rom, *goal_dir, *preset, *device, *seed, *output_tag,
        *sessions, *resume, *gate, *out, *png, *golden, *script, *draw, *state, *actions, *policy,
        *from_sheeprl, *dump_trajectory, *ranks;
    int64_t accept_pipeline, threads, updates, env_steps, envs, steps, episodes, warm_up_frames,
        use_stack, k_consecutive;
    double minutes, tau;
    bool headless, json, no_color, ascii, window, keep_running, no_session, help, version,
        zero_latent, profile, kernels, greedy, open_loop, sheeprl, force;
    const char *settings[CLI_MAX_WORDS]; // key=value words
    int n_settings;
    const char *words[CLI_MAX_WORDS]; // other words after the command
    int n_words;
};

struct cli_command {
    const char *name, *arguments, *what;
    int (*run)(const struct cli *cli); // returns the exit code
    const char *usage;                 // its forms, a line each; NULL: arguments say it
};
extern const struct cli_command cli_commands[]; // ends with a NULL name

bool cli_parse(struct cli *cli, int argc, char **argv, struct error *e);
// Options and settings that the command would ignore are refused: false and one line.
bool cli_check(const struct cli *cli, struct error *e);
void cli_print_help(const char *command); // NULL: of the whole program
int cli_fail(const struct error *e);      // prints "workbench: message", returns the exit code

int cmd_train(const struct cli *cli);
int cmd_bench(const struct cli *cli);
int cmd_eval(const struct cli *cli);
int cmd_export(const struct cli *cli);
int cmd_doctor(const struct cli *cli);
int cmd_reproduce(const struct cli *cli);
int cmd_sessions(const struct cli *cli);
int cmd_rom(const struct cli *cli);
int cmd_state(const struct cli *cli);
int cmd_goal(const struct cli *cli);

#endif
