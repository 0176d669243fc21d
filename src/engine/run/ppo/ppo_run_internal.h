// What the files of a PPO run share: its state. Only the worker thread touches it while it runs.
#ifndef RUN_PPO_RUN_INTERNAL_H
#define RUN_PPO_RUN_INTERNAL_H

#include "base/hash.h"
#include "engine/algo/ppo/collect.h"
#include "engine/algo/ppo/ppo_config.h"
#include "engine/algo/ppo/ppo_device.h"
#include "engine/algo/ppo/ppo_eval.h"
#include "engine/data/checkpoint.h"
#include "engine/data/frames.h"
#include "engine/data/session.h"
#include "engine/env/task.h"
#include "engine/run/device.h"
#include "engine/run/ppo/ppo_run.h"

// All that the next rollout depends on beside the agent: taken after every update, saved in
// checkpoints.
struct ppo_boundary {
    int64_t env_bytes;         // of one environment; 0: environments are not saved
    uint8_t *envs;             // [n_envs][env_bytes]
    uint8_t *memory, *collect; // ppo_rollout_memory_bytes, collect_state_bytes
    int64_t env_steps;
}; // where a device plays: as it was when the last checkpoint was written

struct ppo_run {
    struct run_opts opts; // texts belong to the caller
    struct device device; // where it learns and acts
    struct ppo_config config;
    struct feed *feed;
    struct pool *pool;
    int n_threads;
    // the game
    struct task *task; // NULL: the toy task
    char name[64];
    struct goal goal;
    // the run
    struct env *env, *eval_env; // eval_env NULL: no evaluations
    struct ppo *agent;
    struct ppo_rollout *rollout;
    struct collect *collect;
    struct ppo_device *on_device; // NULL: on the CPU
    struct ppo_boundary boundary;
    int64_t saved_updates;   // of the last checkpoint; -1: none
    int64_t n_updates;       // until which it goes; 0: no such bound
    struct session *session; // NULL: no files
    struct frames_writer *frames;
    // resuming
    char resume_session[PATH_SIZE],
        resume_checkpoint[PATH_SIZE]; // "": a new run; from the beginning
    double elapsed_before_s;
    // clocks
    int64_t start_ns, status_ns, pictures_ns, update_start_ns;
    double update_ms, updates_per_s, wall_s;
    float sps;
    bool single_update; // one was asked for while paused and is not done yet
    enum feed_phase phase;
    char warning[240]; // what the screens say while it goes on, or ""
    // the summary
    int64_t episodes, successes, updates_here, rollout_transfers;
    bool all_finite;
    struct collect_stats last;
    double last_return, last_entropy, update_ms_sum, worst_first_k3;
    struct collect_times times; // of all rollouts
};

// ppo_run_setup.c
bool ppo_run_configure(struct ppo_run *r, struct error *e); // options -> config, game
bool ppo_run_build(struct ppo_run *r, struct error *e);     // environments, agent, buffers
bool ppo_run_open_session(struct ppo_run *r, struct error *e);

// Whether machines and rollout are there too, and the host sees neither.
bool ppo_run_plays_on_device(const struct ppo_run *r);

// ppo_run_files.c
void ppo_run_take_boundary(struct ppo_run *r);
// The boundary; fine without a session. One that cannot be written is an error only when it is the
// last, else a warning.
bool ppo_run_checkpoint(struct ppo_run *r, bool last, struct error *e);
bool ppo_run_save(struct ppo_run *r, const char *path, struct error *e); // to any file
bool ppo_run_load_checkpoint(struct ppo_run *r, const char *path, struct error *e);
void ppo_run_free_boundary(struct ppo_boundary *b);

// ppo_run_failure.c
void ppo_run_write_failure(struct ppo_run *r, const struct ppo_learned *l);

#endif
