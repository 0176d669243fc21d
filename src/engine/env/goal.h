// Goal: the screen a task wants, the distance to it, and the rules of reward and end
// (spec/ppo.md 1.3, gameboy.md 7).
//
//     struct goal_progress p;
//     goal_begin(&p, goal, obs);                                     // after a reset
//     goal_step(&p, goal, &rules, obs, &result);                     // after every step
//
//   d = sum |pixel - goal| / (3 * pixels compared), in 0..1
//   c = d < tau ? c + 1 : 0;  done = c >= k;  trunc = step >= max_steps   (both may be true)
//   reward = step_cost + alpha * (d_before - d) + goal_bonus * done       (float32, in this order)
//
// Frames are packed2 (emu/gb_obs.h). A goal of several frames is compared with as many last frames,
// the oldest first; after a reset all of them are the first frame. Pure functions; a goal is read
// only: any thread.
#ifndef ENV_GOAL_H
#define ENV_GOAL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/env/env.h"
#include "engine/env/goal_rules.h"

enum { GOAL_MAX_STACK = 8, GOAL_FRAME_PIXELS = 72 * 80 };

struct goal {
    int n_frames; // 1..GOAL_MAX_STACK
    uint8_t packed[GOAL_MAX_STACK][ENV_OBS_BYTES];
};

// tau .05, k 2, alpha 1, bonus 10, cost -.01, max_steps 128 (spec/gameboy.md 8).
extern const struct goal_rules goal_default_rules;

// What a run's keys say of the reward; tau, k and the time limit are the task's.
static inline void goal_rules_set_reward(struct goal_rules *rules, double alpha, double goal_bonus,
                                         double step_cost) {
    rules->alpha = (float)alpha;
    rules->goal_bonus = (float)goal_bonus;
    rules->step_cost = (float)step_cost;
}

// One environment's progress towards the goal.
struct goal_progress {
    float distance; // of the last frame (stack) seen
    int consecutive, step;
    // The caller's, [n_frames - 1], oldest first; NULL for a goal of one frame.
    uint8_t (*previous)[ENV_OBS_BYTES];
};

// Sum of |a - b| over the 5,760 pixels of two packed2 frames, 0..GOAL_MAX_FRAME_SUM.
int goal_frame_sum(const uint8_t a[ENV_OBS_BYTES], const uint8_t b[ENV_OBS_BYTES]);

void goal_begin(struct goal_progress *p, const struct goal *goal, const uint8_t obs[ENV_OBS_BYTES]);
// Fills reward, terminated, truncated, distance.
void goal_step(struct goal_progress *p, const struct goal *goal, const struct goal_rules *rules,
               const uint8_t obs[ENV_OBS_BYTES], struct env_step_result *result);
// The rules alone: the step's distance is `d`.
void goal_judge(struct goal_progress *p, const struct goal_rules *rules, float d,
                struct env_step_result *result);

#endif
