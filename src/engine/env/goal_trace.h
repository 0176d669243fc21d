// Goal traces: recorded actions played on a game, to make a goal template of where they lead and to
// judge a template by them (spec/ppo.md 1.6).
//
//     struct goal_trace t;
//     if (!goal_trace_parse(text, n, "actions.jsonl", codec, &t, &e)) ...;
//     goal_capture(&game, &t, 1, &goal, &e);             // t NULL: the state's own picture
//     goal_replay(&game_with_goal, &t, false, &curve, &e);
//     goal_curve_free(&curve); goal_trace_free(&t);
//
// A game is env_gameboy's options: ROM, state, codec; of goal_replay also goal and rules. One
// machine per column of the trace; of a capture the first column counts. Any thread.
#ifndef ENV_GOAL_TRACE_H
#define ENV_GOAL_TRACE_H

#include "emu/gb_action.h"
#include "engine/env/gameboy.h"

enum { GOAL_TRACE_MAX_ENVS = 64, GOAL_TAIL = 10, GOAL_BINS = 20 };

struct goal_trace {
    const struct gb_action_codec *codec;
    int n_steps, n_envs;
    int32_t *actions; // [n_steps][n_envs]; owned
};

// Two forms: a JSON list a line, one action number per environment, all of one width; or one action
// name a line as in a task's solution. False and one line with the line's number.
bool goal_trace_parse(const char *text, size_t n, const char *where,
                      const struct gb_action_codec *codec, struct goal_trace *out, struct error *e);
void goal_trace_free(struct goal_trace *t); // zeroed or parsed

// Environment 0's last n_frames frames after the trace, or after a reset (trace NULL).
bool goal_capture(const struct env_gameboy_opts *game, const struct goal_trace *trace, int n_frames,
                  struct goal *out, struct error *e);

struct goal_curve {
    int n_steps, n_envs;            // played
    int done_env;                   // the first that was done, after the last step; -1: none
    float *distances;               // [n_steps][n_envs]; owned
    uint8_t (*last)[ENV_OBS_BYTES]; // [n_envs] their newest frames; owned
};
// Plays the trace until an environment is done, or to the end whatever happens. There is no time
// limit but the trace's own.
bool goal_replay(const struct env_gameboy_opts *game, const struct goal_trace *trace,
                 bool to_the_end, struct goal_curve *out, struct error *e);
void goal_curve_free(struct goal_curve *c); // zeroed or filled

// What environment 0's distances say about tau.
struct goal_calibration {
    int steps;
    double min, max, mean, tail_min; // tail_min: over the last GOAL_TAIL steps
    double recommended_tau;          // tail_min + 0.01
    int histogram[GOAL_BINS];        // of [0, 1]
};
void goal_calibrate(const struct goal_curve *c, struct goal_calibration *out);

#endif
