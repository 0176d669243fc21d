// Saved agent: what a session and its checkpoint hold, ready to act with or to export: config,
// task, weights.
//
//     struct saved_agent a;
//     if (!saved_agent_open(&a, "sessions/X", &e)) return fail(&e);
//     if (!saved_agent_load(&a, &e)) ...                                  // the newest checkpoint
//     struct saved_files files = {0};                                     // a built-in task
//     struct env *env = saved_agent_env(&a, &files, n_envs, pool, &e);
//     ... env_free(env); saved_agent_close(&a);
//
// Works on a run that is still going: only whole files are read. Every refusal is one line that
// names the file; a ROM, state or goal that is not the session's is refused with both hashes.
// Parameters only: no training graph is built. One thread at a time.
#ifndef RUN_SAVED_AGENT_H
#define RUN_SAVED_AGENT_H

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "engine/algo/dreamer_v3/actor_critic.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/algo/ppo/ppo_config.h"
#include "engine/env/control.h"
#include "engine/env/task.h"

struct saved_agent {
    char session[PATH_SIZE], checkpoint[PATH_SIZE]; // checkpoint "": the newest, see below
    cJSON *meta;
    const char *task; // meta's name of the task or of the ROM file
    struct config config;
    char config_sha256[SHA256_HEX_SIZE]; // of config.json as it is on the disk
    bool full;                           // there is a policy
    bool is_ppo;                // then sets[0] is its network, and world and nets mean nothing
    struct ppo_config ppo;      // ... and this is its config; of `config` only what both have holds
    bool has_goal, zero_latent; // zero_latent: it was trained so
    const struct control_task *control; // NULL: a Game Boy task, or toy
    struct obs_space obs;
    struct action_space actions;
    int n_actions; // their width
    struct wm_dims world;
    struct ac_dims nets;
    struct params sets[DREAMER_N_SETS]; // n_sets of them: the world alone where there is no policy
    int n_sets;
    real range[2];                // low and high of the returns; 0 where there is no policy
    int64_t opt_steps, env_steps; // of the checkpoint
    // of the environment, for as long as it lives
    struct task *goal_task;
    uint8_t *rom, *state;
};

// Where the game is, for sessions that were not of a built-in task.
struct saved_files {
    const char *rom, *state, *goal_dir;
    int accept_pipeline;
};

// `path`: a session's folder, or a checkpoint inside one. Sizes are known, weights are zero.
bool saved_agent_open(struct saved_agent *a, const char *path, struct error *e);
// Weights and counters of the checkpoint; of a session the newest, whose path is then known.
bool saved_agent_load(struct saved_agent *a, struct error *e);
// The session's game, start, goal and time limit. Once per agent.
struct env *saved_agent_env(struct saved_agent *a, const struct saved_files *files, int n_envs,
                            struct pool *pool, struct error *e);
void saved_agent_close(struct saved_agent *a); // opened, or refused by saved_agent_open

#endif
