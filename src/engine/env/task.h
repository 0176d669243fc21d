// Goal tasks: a ROM, a start state, a goal and its rules, from the program itself or from a user's
// files.
//
//     struct task task;
//     if (!task_open_builtin("exit_lab", "pokemonred_puffer_v1", &task, &e)) ...;
//     struct env_gameboy_opts opts = {.n_envs = 8, .pool = pool};
//     task_env_opts(&task, &opts);
//     struct env *env = env_gameboy_new(&opts, &e);
//     ... env_free(env); task_close(&task);
//
// Stage files are gbxcule's (spec/gameboy.md 7), one file per codec, with the rules recorded
// (docs/formats.md).
#ifndef ENV_TASK_H
#define ENV_TASK_H

#include "engine/env/gameboy.h"
#include "engine/env/goal_file.h"

// One stage of a stage file. Paths are relative to the file's folder.
struct stage {
    char id[64], name[128];
    bool ready; // status "ready"; "skipped" otherwise
    char rom[512], start_state[512], goal_source_state[512], goal_dir[512]; // "": not said
    char solution[512];
    char action_codec_id[64]; // of the file
    struct goal_rules rules;  // what the file leaves out is as in goal_default_rules
    bool has_tau, has_k;      // does the file say them?
};

// The stage of that id (NULL: the only one) out of a stage file's text, or one line that names
// `where`. Every stage is checked, not only the wanted one.
bool stage_parse(const char *text, size_t n, const char *where, const char *id, struct stage *out,
                 struct error *e);
// The text of a stage file of one stage; free() it.
char *stage_to_text(const struct stage *stage);

// ---- recorded actions: one action name a line, blank lines and lines with # left out
enum { TASK_MAX_ACTIONS = 100000 };
// Actions of the codec, malloc'ed; NULL and one line with the line's number when a name is unknown.
int32_t *task_parse_actions(const char *text, size_t n, const char *where,
                            const char *action_codec_id, int *n_actions, struct error *e);

// ---- a whole task
struct task {
    char name[64];
    const uint8_t *rom, *state;
    size_t rom_bytes, state_bytes;
    char rom_sha256[SHA256_HEX_SIZE], state_sha256[SHA256_HEX_SIZE];
    struct goal_template goal;
    struct goal_rules rules;
    int32_t *solution; // recorded actions; NULL: none
    int n_solution;
    uint8_t *owned[2]; // what task_close frees
};

bool task_open_builtin(const char *name, const char *action_codec_id, struct task *out,
                       struct error *e);

// A user's own game. tau and k_consecutive are the template's; the rest of *rules is taken from
// `rules` (NULL: defaults). The state may be of any format that gb_import.h reads. accept_pipeline:
// goal_file.h.
struct task_files {
    const char *rom, *state, *goal_dir;
    const char *action_codec_id; // what the run uses; a template of another codec is refused
    const struct goal_rules *rules;
    int accept_pipeline;
};
bool task_open_files(const struct task_files *files, struct task *out, struct error *e);

// Fills ROM, state, goal, rules and codec of *opts, borrowed from the task until task_close.
void task_env_opts(const struct task *task, struct env_gameboy_opts *opts);
void task_close(struct task *task);

// For the ways to open one: the hashes of ROM and state.
void task_hash_parts(struct task *task);

#endif
