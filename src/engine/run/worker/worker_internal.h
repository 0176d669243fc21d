// What the worker's own files share: one run's state. Only the worker thread touches it while it
// runs.
#ifndef RUN_WORKER_INTERNAL_H
#define RUN_WORKER_INTERNAL_H

#include <pthread.h>

#include "base/file.h"
#include "base/json.h"
#include "base/pool.h"
#include "engine/algo/config.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/algo/dreamer_v3/player.h"
#include "engine/algo/ratio.h"
#include "engine/data/checkpoint.h"
#include "engine/data/frames.h"
#include "engine/data/replay.h"
#include "engine/data/session.h"
#include "engine/env/control.h"
#include "engine/env/env.h"
#include "engine/env/task.h"
#include "engine/graph/ranks.h"
#include "engine/run/device.h"
#include "engine/run/worker/diagnostics.h"
#include "engine/run/bench/parts.h"
#include "engine/run/ppo/ppo_run.h"
#include "engine/run/worker/worker.h"

enum {
    MEDIA_MAX_SNAPSHOTS = 64,
    OBS_WINDOW = 20,
    WARM_UP_UPDATES = 150,
    UPDATE_MS_CAPACITY = 1 << 14
};

// Pictures kept along the way for the strip and the video at the end. When all places are taken,
// every second one is dropped and the distance doubles: evenly spread over a run of any length.
struct media_snapshot {
    int64_t opt_steps;
    uint8_t real[FEED_PIXELS], reconstruction[FEED_PIXELS], error[FEED_PIXELS];
};

// What the environments did since the last record: sums over the episodes that ended, how often
// each action was chosen.
struct episode_sums {
    int64_t n, n_success, n_truncated;
    double return_sum, length_sum;
    int64_t actions[RECORD_MAX_ACTIONS];
    float distance[3]; // to the goal after the last tick: 10, 50, 90 % of the environments
    int32_t has_distance;
};

enum { WORKER_SIGNS_SETS = 3 };
struct worker_signs { // worker_signs.c
    int n;
    struct update_probe probes[WORKER_SIGNS_SETS]; // world model, actor, critic
    int64_t *counts;                               // [classes], scratch
};

// The acting side: what a rollout changes. While one runs on its own thread nobody else touches it.
struct rollout {
    struct env *env;
    struct pool *pool;     // NULL: the environments and the policy run inline
    struct player *player; // mode full: the policy in the environments ...
    struct params world_weights,
        actor_weights;               // ... plays with these copies (params_copy_init) ...
    int64_t weights_step;            // ... made after so many gradient steps
    int64_t policy_steps, env_ticks; // so far
    int64_t n_ticks;                 // of the rollout in progress
    bool at_random;                  // no policy yet: the prefill
    struct episode_sums episodes;    // that ended in it
    int64_t busy_ns, policy_ns;      // it took so long; of that the policy
    bool fine;                       // false: see error
    struct error error;
    char bad_node[TENSOR_NAME_SIZE]; // of a policy step that was not finite, else ""
    // per environment
    uint8_t *needs_reset, *mask, *reset_now;
    int32_t *actions; // [n_envs][n_heads]
    float *values;    // [n_envs][n_continuous]
    uint8_t **obs;
    struct env_step_result *results;
    double *episode_return;
    int64_t *episode_length;
    float *distances; // scratch
};

// What the learner knows of the acting side: its state before the rollout in progress. Everything
// that is recorded or sampled during a batch comes from here, so that nothing depends on how far
// the rollout is.
struct fence {
    struct replay_window window; // rows that the batch may sample
    int64_t rows;                // committed, per environment
    int64_t policy_steps;        // of all ranks
};

// What the newest checkpoint of this run holds: where all three are the same, nothing has changed.
struct saved {
    int64_t opt_steps, env_ticks, fence_steps; // opt_steps -1: none was written
};

// What a bundle needs of the moment before an update when it fails half way.
// The first part that was not finite; nothing tells them apart in a joint update.
enum worker_stage { STAGE_WORLD, STAGE_BEHAVIOUR, STAGE_JOINT, STAGE_POLICY };
extern const char *const worker_stage_names[];
struct kept {
    enum worker_stage stage;
    struct params own; // a copy of the world model's weights, made where the rollout's is older
    const struct params *world; // own, or the rollout's copy
    struct params target;       // of the target critic's
};

// Nanoseconds since the last record.
struct busy {
    int64_t acting_ns, learning_ns, waiting_ns, since_ns;
    int64_t update_ns, n_updates; // gradient steps
};

// Means and peaks that the summary and the gate need; O(1) per update.
struct run_statistics {
    double first_obs_nll, obs_window[OBS_WINDOW]; // the last updates' losses, a ring
    int64_t n_updates;
    double worst_entropy_gap; // once WARM_UP_UPDATES are done
    bool all_finite;
    float *update_ms; // [UPDATE_MS_CAPACITY], a ring: for the median
};

struct worker {
    struct ppo_run *ppo;  // --algo ppo: the whole run, and nothing else here is used
    struct run_opts opts; // texts belong to the caller until worker_free
    struct device device; // where it learns and acts
    struct config config;
    struct feed *feed;
    struct pool *pool;
    uint8_t *rom; // owned when it came from a file
    size_t rom_bytes;
    const uint8_t *rom_data;
    char rom_name[64], rom_sha256[65], state_sha256[65]; // state: "" without one
    const struct control_task *control;                  // NULL: a Game Boy task
    struct task *goal_task; // NULL: no goal; ROM, state and goal that the environments borrow
    struct rollout rollout;
    struct rollout_thread *rollout_thread; // NULL: rollouts run inline
    struct on_device *on_device;           // NULL: machines and replay are the host's
    struct replay *replay;
    const struct worker_algo *algo; // what learns and acts
    struct resume *resume;          // NULL: a new run
    int64_t learn_from;             // policy steps from which on updates are due
    char warning[240];              // shown in the status until the next one
    struct world_model *wm;         // the agent's, where there is one
    struct dreamer *dreamer;        // mode full: the whole agent
    struct parts *parts;            // where a gradient step's time goes ...
    double peak_gflops;             // ... beside what the machine can do
    bool peak_again;                // it was measured again, as an update was faster
    struct session *session;        // NULL: no files
    struct frames_writer *frames;   // the session's pictures over time; NULL: none
    // Several ranks: rank 0's folder ("": none), their policy steps when they last agreed, whether
    // a meeting has ended the run (there is no other), parts of the whole batch's noise.
    char shared_session[PATH_SIZE];
    int64_t policy_steps;
    bool parted;
    struct noise_share share, player_share;
    struct ratio ratio;
    int constant_action;
    int64_t backlog; // gradient steps due in this batch
    bool played_out; // the policy steps that were asked for are played
    struct fence fence;
    struct saved saved;
    bool single_update; // one update was asked for while paused and is not done yet
    struct busy busy;
    struct episode_sums episodes;
    struct run_statistics statistics;
    struct worker_signs signs;
    struct kept kept;
    struct media_snapshot *snapshots;
    struct feed_pictures *snapshot_pictures; // scratch of a snapshot
    uint8_t (*reconstruction)[WM_PIXELS];    // [WM_ROLLOUT], scratch of the display graph
    float *vectors;                          // [2][WM_ROLLOUT][n_vector], the same
    int n_snapshots;
    int64_t next_snapshot, snapshot_every;
    // clocks
    int64_t start_ns, pictures_ns, status_ns;
    int64_t rate_ns, rate_opt_steps, rate_policy_steps;
    bool rates_known; // false until the first window of this phase is full
    float sps, train_sps, last_update_ms, last_env_ms, last_policy_ms, last_sample_ms;
    double wall_s; // when it ended
    int n_threads;
    enum feed_phase phase;
    pthread_t thread;
    bool started;
    enum status status;
    struct error error;
};

static inline int64_t worker_all_envs(const struct worker *w) { // of all ranks
    return w->config.num_envs * ranks_n(w->opts.ranks);
}

// worker_ranks.c: several ranks. Alone all of it does nothing and returns true.
// What a rank says in a meeting, then the sums over all. A rank that fails says so once, in the
// meeting that the others come to next (worker_agree): between a failure and that meeting there is
// nothing that all ranks do together.
struct meeting {
    int64_t failed, stop, unsaved, policy_steps;
};
bool worker_meet(struct worker *w, struct meeting *m, struct error *e); // false: one has failed
// A meeting, unless one has ended the run already. False: this rank or another failed; *e says so
// in the second case.
bool worker_agree(struct worker *w, bool fine, struct error *e);
bool worker_check_ranks(const struct worker *w, struct error *e); // what cannot be
// The devices that the ranks have chosen become those of one run.
bool worker_join_devices(struct worker *w, struct error *e);
// What is built is the same run on all.
bool worker_check_alike(struct worker *w, struct error *e);
// When rank 0 has its session: all learn its folder.
bool worker_share_session(struct worker *w, struct error *e);
// The metrics become means over the ranks (the means of their percentiles and deviations too), the
// episodes those of all ranks.
void worker_join_record(struct worker *w, struct record *r, struct episode_sums *episodes);
// Of every rank but 0: environments, counters, ring and the player's state, in one file beside the
// checkpoint. Nothing is written where the ring is not kept.
bool worker_save_rank(struct worker *w, struct error *e);
bool worker_load_rank(struct worker *w, const char *path, int64_t *rows, struct error *e);

// worker.c
void worker_add_episodes(struct episode_sums *to, const struct episode_sums *from);

// worker_setup.c
bool worker_configure(struct worker *w, struct error *e); // options -> config, ROM, sizes
bool worker_build(struct worker *w,
                  struct error *e); // environments, replay, model; their state on resume
bool worker_open_session(struct worker *w, struct error *e);

// worker_rollout.c
bool worker_build_rollout(struct worker *w, struct error *e); // after the environments
void worker_free_rollout(struct worker *w);
int worker_rollout_ticks(const struct worker *w);   // of a rollout after the prefill
int worker_rollout_threads(const struct worker *w); // of the acting side's own pool
// A rollout of n_ticks begins: beside the caller where there is a thread for it and `beside` is
// set, else it is done when the call returns. rollout_wait returns when none is in progress; false:
// it failed.
void rollout_begin(struct worker *w, int64_t n_ticks, bool beside);
bool rollout_wait(struct worker *w, struct error *e);

// worker_device.c: machines, replay and policy on the device. The host enqueues and counts; what
// the machines did it learns when it looks: at records, before learning begins, at the end.
struct device_ring;
bool worker_device_build(struct worker *w, struct error *e);    // after the host's ring
struct device_ring *worker_device_ring(const struct worker *w); // NULL: the host's
void worker_device_connect(struct worker *w);                   // after the model
void worker_device_free(struct worker *w);                      // after the model
bool worker_device_tick(struct worker *w);                      // of a rollout; false: its error
bool worker_device_act(struct worker *w, struct error *e);      // with the rollout's actions
bool worker_device_hold(struct worker *w, struct error *e);     // the same, which are sent once
bool worker_device_fence(struct worker *w, struct error *e);    // between two rollouts
struct fence worker_device_window(const struct worker *w);
void worker_device_aim(struct worker *w); // the next update samples what the fence says
// Episodes and policy steps up to the last fence; policy steps are exact from here to the next end
// of an episode. Nothing on the host.
bool worker_device_look(struct worker *w, struct error *e);
bool worker_device_look_at_policy(struct worker *w, struct error *e);
// Between two updates: counts are exact, the rollout in progress included.
bool worker_device_end(struct worker *w, struct error *e);
// Acting and learning on the device since the last fence; false: nothing to say.
bool worker_device_times(const struct worker *w, float *actor_ms, float *learner_ms,
                         float *overlap);
// For a checkpoint: everything that is the host's there becomes what the device has; waits.
bool worker_device_fetch(struct worker *w, struct error *e);
bool worker_device_store(struct worker *w, struct error *e); // the other way: what was loaded
// replay_rows_before of environment 0, wherever the rows are.
bool worker_rows_before(const struct worker *w, int64_t end, int length,
                        const struct replay_batch *out);
int64_t worker_first_row(const struct worker *w), worker_end_row(const struct worker *w);

// worker_model.c: what learns and acts. One table each; all of it is called by the worker thread
// but `choose`.
#define WORKER_RANGE_NAME "behaviour/range" // of the returns: [2]
enum { MODEL_MAX_SETS = 4, MODEL_MAX_EXTRA = 1 + PLAYER_MAX_STATES };
struct model_parts {                     // what a checkpoint holds of the model
    struct params *sets[MODEL_MAX_SETS]; // the first one first
    int n_sets;
    struct st_source extra[MODEL_MAX_EXTRA]; // saved from `data`, loaded into it
    char names[MODEL_MAX_EXTRA][32];
    int n_extra;
};
struct worker_algo {
    const char *mode;
    bool holds_action;               // plays env.constant_action, so the codec must have it
    void (*build)(struct worker *w); // after the environments
    void (*free)(struct worker *w);
    int64_t (*n_weights)(const struct worker *w);
    void (*publish)(struct worker *w); // at the fence: the next rollout plays with these weights
    // The rollout's `actions` or `values`, for the frames in its `obs`. False, and one line, when
    // they are not finite.
    bool (*choose)(struct worker *w, struct error *e);
    bool (*update)(struct worker *w, struct wm_result *out);
    // The updates that nobody has looked at yet (on a device): as `update`.
    bool (*look)(struct worker *w, struct wm_result *out);
    uint64_t (*metrics)(const struct worker *w, float out[METRIC_COUNT]);
    void (*describe)(struct worker *w, struct model_parts *out);
};

// worker_signs.c: of the model, whatever it is. init after it was built; before: before every
// update.
void worker_signs_init(struct worker *w);
void worker_signs_free(struct worker *w);
void worker_signs_before(struct worker *w);
uint64_t worker_signs_metrics(const struct worker *w, float out[METRIC_COUNT]);

// worker_model.c
const struct worker_algo *worker_algo_find(const char *mode);       // NULL: no such mode
bool worker_policy_failed(const struct worker *w, struct error *e); // the line for it; false
// *c holds hash and scalars; the model's part is filled in. Reading back: into a second model, then
// compared.
bool worker_save_model(struct worker *w, const char *path, struct checkpoint *c,
                       const struct st_source *more, int n_more, struct error *e);
bool worker_load_model(struct worker *w, const char *path, struct checkpoint *c,
                       struct safetensors **file, struct error *e);
void worker_model_to_device(struct worker *w); // what was loaded, once wm_opt_steps is known
void worker_model_to_host(struct worker *w);   // after worker_look_at_updates
bool worker_model_reads_back(struct worker *w, const char *path, struct checkpoint *c,
                             struct error *e);

// Weights and moments stay on the device between updates, which are looked at when a record is due.
bool worker_stays_on_device(const struct worker *w);

// worker_state.c
enum { WORKER_STATE_TENSORS = 24 };
struct worker_state_scratch { // what is not stored in this form
    bool policy_begun;
    int64_t replay_rows;
    uint8_t *environments; // [n_envs][env_bytes]
    size_t env_bytes;      // 0: they cannot be saved
};
void worker_state_collect(struct worker *w, struct worker_state_scratch *s);
int worker_state_tensors(struct worker *w, struct worker_state_scratch *s,
                         struct st_source out[WORKER_STATE_TENSORS]);
void worker_state_free(struct worker_state_scratch *s);
// *replay_rows: what the ring must hold.
bool worker_state_restore(struct worker *w, const struct safetensors *file, int64_t *replay_rows,
                          struct error *e);
// With an empty ring, after so many policy steps of all ranks.
void worker_state_begin_anew(struct worker *w, int64_t policy_steps);

// worker_failure.c: a batch as a bundle holds it; returns how many. `data` is the model's own
// input.
enum { BATCH_MAX_TENSORS = 6 };
int worker_batch_tensors(const struct wm_batch *b, struct st_source out[BATCH_MAX_TENSORS]);

// worker_checkpoint.c
bool worker_save_weights(struct worker *w, const char *path, int64_t policy_steps, struct error *e);
// A disk that is full stops nothing but the last one: the older checkpoints stay, the run says so
// and goes on.
// The last one is not written again where the one before holds the same.
// Ranks: all come; their files are there before rank 0's, without which they are nothing. Only rank
// 0 knows whether its own was written, so they write the last one in any case.
bool worker_checkpoint(struct worker *w, bool last, struct error *e);
bool worker_load_checkpoint(struct worker *w, struct error *e); // resume->checkpoint

// worker_resume.c
struct resume {
    char session[PATH_SIZE], checkpoint[PATH_SIZE]; // checkpoint "": from the beginning
    int64_t opt_steps;
    cJSON *meta;
    struct config saved;
    bool ring_changed; // the saved rows do not fit
    double elapsed_s;  // of the run before
};
bool worker_resume_options(struct worker *w, struct error *e); // session -> options and config
bool worker_resume_same_game(const struct worker *w, struct error *e);
bool worker_resume_history(struct worker *w,
                           struct error *e); // old records and pictures, once the session is open
void worker_resume_free(struct resume *r);   // NULL is fine

// worker_report.c
void worker_publish_status(struct worker *w, enum feed_phase phase, const char *message);
void worker_restart_rates(struct worker *w);           // when training begins
bool worker_record(struct worker *w, struct error *e); // after an update

// worker_failure.c
void worker_write_failure(struct worker *w, const struct wm_result *result);
// On a device: updates between two records that nobody has looked at yet. False: one was not
// finite; its bundle is written.
bool worker_look_at_updates(struct worker *w, struct error *e);
// Of the rollout's policy step, once nobody plays; nothing where that was finite.
void worker_write_policy_failure(struct worker *w);

// worker_policy.c: all that a policy step depends on, and the step again: bad_node "" if it is
// finite.
bool worker_save_policy_input(struct worker *w, const char *path, struct error *e);
bool worker_policy_again(struct worker *w, const char *path, int64_t tick,
                         char bad_node[TENSOR_NAME_SIZE], struct error *e);

// worker_media.c
bool worker_has_display(const struct worker *w); // there is something to look at
void worker_publish_pictures(struct worker *w);
bool worker_take_snapshot(struct worker *w, struct error *e); // when one is due
bool worker_reload_snapshots(struct worker *w, const char *path,
                             struct error *e);              // from a resumed run's frames
bool worker_write_media(struct worker *w, struct error *e); // plot, strip, video

#endif
