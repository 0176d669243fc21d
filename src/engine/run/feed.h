// Feed: what a run shows to the screens, and the commands they send back. The only bridge between
// them.
//
// One writer (the worker thread, or a session reader), one reader (the UI thread). No locks: a slow
// or dead reader never slows the writer, a dead writer never hangs the reader. A live run and a
// saved session give the same feed.
//
//     reader, ten times a second:
//         const struct feed_status *s = feed_status(feed);        // valid until the next call
//         const struct feed_pictures *p = feed_pictures(feed);    // NULL before the first
//         for (int64_t i = seen; i < feed_n_records(feed); i++)
//             use(feed_record(feed, i));                          // pointers stay valid
//         control_pause(feed_control(feed), true);
#ifndef RUN_FEED_H
#define RUN_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/data/record.h"

enum { FEED_HEIGHT = 72, FEED_WIDTH = 80, FEED_PIXELS = FEED_HEIGHT * FEED_WIDTH };
enum {
    FEED_CONTEXT = 5,
    FEED_IMAGINED = 15,
    FEED_ROLLOUT = FEED_CONTEXT + FEED_IMAGINED,
    FEED_ACTION_SIZE = 12
};

enum feed_phase {
    PHASE_STARTING,
    PHASE_PREFILL,
    PHASE_TRAINING,
    PHASE_PAUSED,
    PHASE_DONE,
    PHASE_FAILED
};
extern const char *const feed_phase_names[]; // "starting", "prefill", ...

struct feed_status {
    enum feed_phase phase;
    int64_t opt_steps, env_steps, target_opt_steps; // target 0: until stopped
    int64_t replay_rows, replay_capacity;
    bool no_replay; // the rows are those of the rollout in progress; there is no replay ratio
    double replay_ratio_target, elapsed_s;
    float sps, train_sps; // over the last second or so
    int n_threads;
    int64_t n_weights; // trainable parameters
    char algo[24], task[48], mode[24], preset[12], device[24];
    char session[200]; // folder of the session, "" when none is written
    char message[240]; // why it failed, what it waits for; else ""
};

// Pixels are levels 0 (lightest shade) .. 255 (darkest): shade * 85, or a reconstruction clamped to
// that range.
struct feed_pictures {
    int64_t opt_steps, env_steps;        // when they were made
    uint8_t real[FEED_PIXELS];           // what the emulator shows, [72][80]
    uint8_t reconstruction[FEED_PIXELS]; // the world model's posterior reconstruction of it
    uint8_t error[FEED_PIXELS];          // |reconstruction - real|
    float error_shades;                  // its mean, in shades (0..3)
    bool shows_goal; // no model makes pictures: reconstruction is the goal, error the way to it
    // Open-loop rollout: frames 0..FEED_CONTEXT-1 are reconstructed from the posterior (the model
    // saw them), the rest are imagined with the actions that were really taken. truth: what the
    // emulator really did.
    int n_rollout; // 0: none yet; else FEED_ROLLOUT
    uint8_t truth[FEED_ROLLOUT][FEED_PIXELS];
    uint8_t dream[FEED_ROLLOUT][FEED_PIXELS];
    float dream_error_shades[FEED_ROLLOUT];
    char action[FEED_ROLLOUT]
               [FEED_ACTION_SIZE]; // that led to the frame: "UP"; "start" after a reset, "" unknown
};

struct feed;
struct feed *
feed_new(int64_t max_records);     // 0: default (4 M); memory is touched only as records come
void feed_free(struct feed *feed); // NULL is fine

// ---- writer
void feed_set_status(struct feed *feed, const struct feed_status *status);
void feed_push_record(struct feed *feed, const struct record *record,
                      double wall_s); // dropped when the store is full
struct feed_pictures *
feed_pictures_back(struct feed *feed); // fill all of it (it holds an old picture), then publish
void feed_pictures_publish(struct feed *feed);

// ---- reader
const struct feed_status *feed_status(struct feed *feed);
const struct feed_pictures *feed_pictures(struct feed *feed);
int64_t feed_n_records(const struct feed *feed);
const struct record *feed_record(const struct feed *feed, int64_t index);
double feed_record_wall_s(const struct feed *feed, int64_t index); // seconds since the run began

// ---- commands, any thread
struct control;
struct control *feed_control(struct feed *feed);
void control_pause(struct control *c, bool paused);
bool control_is_paused(const struct control *c);
void control_single_update(struct control *c); // while paused: one more gradient step, then pause
                                               // again (counted; forgotten when a new pause begins)
void control_checkpoint(struct control *c); // as soon as possible
void control_stop(struct control *c);       // checkpoint and end; async-signal-safe
bool control_stop_requested(const struct control *c);
// ---- the worker's side: each returns whether such a command was waiting, and takes it
bool control_take_single_update(struct control *c);
bool control_take_checkpoint(struct control *c);

#endif
