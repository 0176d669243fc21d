// Worker: one run, from options to a finished session: environment, replay, world model, schedule,
// session files.
//
//     struct worker *w = worker_new(&opts, feed, &e);    // refuses all that can be refused
//     worker_start(w);                                   // its own thread; screens follow the feed
//     ...
//     enum status s = worker_join(w, &e);
//     worker_free(w);
//
// The worker thread owns the engine. Nothing else touches it: screens read the feed and send
// commands. Schedule (spec/dreamer_v3.md 8.1, 8.2, 8.5): one tick = one action in every
// environment; an environment that ended spends the next tick on its reset; after `learning_starts`
// policy steps Ratio says how many gradient steps are due.
#ifndef RUN_WORKER_H
#define RUN_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/run/feed.h"

struct control_task; // engine/env/control.h
struct ranks;        // engine/graph/ranks.h

struct run_opts {         // NULL or 0: the default in parentheses
    const char *algo;     // dreamer_v3, ppo (dreamer_v3)
    const char *task;     // built-in task (sprites)
    const char *rom_path; // a ROM file instead of a built-in task
    const char
        *state_path; // episodes start there: a state of emu/gb_import.h (as switched on, warmed up)
    const char *goal_dir;       // with ROM and state: a goal template's folder (no goal)
    int accept_pipeline;        // ... of that pipeline_version too (engine/env/goal_file.h)
    const char *mode;           // (full with a goal, else standing_still)
    const char *preset;         // (tiny)
    const char *device;         // auto, cpu, cuda (auto)
    int n_threads;              // (all that this process may use)
    int64_t updates, env_steps; // stop after so many gradient or policy steps (until stopped)
    double minutes;
    const char
        *resume; // a session's folder or checkpoint to go on with; its options hold (a new session)
    const char *seed;            // text of the config key `seed`
    const char *tag;             // last part of the session's name ("run")
    const char *sessions_dir;    // (sessions)
    bool no_session;             // write no files at all: bench, gate, tests
    bool no_media;               // no snapshots, plot, strip and video
    bool live;                   // somebody watches: make pictures all the time
    const char *const *settings; // "key=value", applied after the preset
    int n_settings;
    // Tests: a control task of the caller's own instead of a built-in one.
    const struct control_task *control;
    bool zero_latent; // ablation: the model's latent z is zeroed (shows that a bar can fail)
    // Several processes are one run: each plays env.num_envs environments and learns from
    // algo.per_rank_batch_size sequences of its own ring; all make the same gradient steps and end
    // together. Rank 0 writes the session, the others their own state beside its checkpoints.
    // `updates`, `env_steps` and the counts in records are those of all ranks. Borrowed until
    // worker_free; DreamerV3. On a GPU each has one of its own. All ranks call all functions here.
    // NULL: one alone.
    struct ranks *ranks;
};

struct worker;
struct worker *worker_new(const struct run_opts *opts, struct feed *feed, struct error *e);
void worker_start(struct worker *w);
enum status worker_join(struct worker *w, struct error *e); // waits for the end
enum status worker_run(struct worker *w, struct error *e);  // start and join on the calling thread
// After the end: the session's newest checkpoint reads back with the weights, moments and counters
// of this run.
bool worker_verify_checkpoint(struct worker *w, struct error *e);
void worker_free(struct worker *w); // joined or never started; NULL is fine

// What the finished run says: loss of the first update, smallest window means, what the gate
// judges.
struct worker_summary {
    const char *algo; // NULL: dreamer_v3
    int64_t opt_steps, env_steps;
    double wall_s;
    double first_obs_nll, last_obs_nll; // last: mean over the last 20 updates
    double mean_picture_loss; // observation loss of the per-pixel mean picture over the ring
    double worst_entropy_gap; // max |prior - posterior| / max(1, prior) after warm-up
    double update_ms;         // median
    bool all_finite;
    bool on_device; // DreamerV3: machines and replay were
    // PPO: of the whole run, the two means a step of all environments: their emulators, and the
    // policy's choice; of the last rollout (NaN where no episode ended in it)
    int64_t episodes, successes;
    double env_ms, policy_ms;
    double last_success_rate, last_return, last_entropy;
    // PPO: largest mean of ratio - 1 - log ratio in an update's first minibatch, whose samples the
    // same weights played: 0
    double worst_first_k3;
    // PPO: transfers between host and device in the midst of rollouts; -1: the host played them
    int64_t rollout_transfers;
    char session[200];
};
void worker_summary(const struct worker *w, struct worker_summary *out);

#endif
