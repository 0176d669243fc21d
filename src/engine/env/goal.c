// Goal: distance of packed frames, and the rules of reward, success and time limit.
#include "engine/env/goal.h"

#include <stdlib.h>
#include <string.h>

const struct goal_rules goal_default_rules = {.tau = 0.05f,
                                              .k_consecutive = 2,
                                              .max_steps = 128,
                                              .alpha = 1,
                                              .goal_bonus = 10,
                                              .step_cost = -0.01f};

int goal_frame_sum(const uint8_t a[ENV_OBS_BYTES], const uint8_t b[ENV_OBS_BYTES]) {
    int sum = 0;
    for (int i = 0; i < ENV_OBS_BYTES; i++)
        for (int shift = 0; shift < 8; shift += 2)
            sum += abs((a[i] >> shift & 3) - (b[i] >> shift & 3));
    return sum;
}

// The integer sum is exact, so the distance is the nearest float32 to the true mean.
static float distance(const struct goal_progress *p, const struct goal *goal,
                      const uint8_t obs[ENV_OBS_BYTES]) {
    int last = goal->n_frames - 1, sum = goal_frame_sum(obs, goal->packed[last]);
    for (int k = 0; k < last; k++) sum += goal_frame_sum(p->previous[k], goal->packed[k]);
    return (float)sum / (float)(GOAL_MAX_FRAME_SUM * goal->n_frames);
}

void goal_begin(struct goal_progress *p, const struct goal *goal,
                const uint8_t obs[ENV_OBS_BYTES]) {
    p->consecutive = 0;
    p->step = 0;
    for (int k = 0; k < goal->n_frames - 1; k++) memcpy(p->previous[k], obs, ENV_OBS_BYTES);
    p->distance = distance(p, goal, obs);
}

void goal_step(struct goal_progress *p, const struct goal *goal, const struct goal_rules *rules,
               const uint8_t obs[ENV_OBS_BYTES], struct env_step_result *result) {
    float d = distance(p, goal, obs);
    int n_previous = goal->n_frames - 1;
    if (n_previous > 0) {
        memmove(p->previous[0], p->previous[1], (size_t)(n_previous - 1) * ENV_OBS_BYTES);
        memcpy(p->previous[n_previous - 1], obs, ENV_OBS_BYTES);
    }
    p->step++;
    p->consecutive = d < rules->tau ? p->consecutive + 1 : 0;
    bool done = p->consecutive >= rules->k_consecutive;
    float gained = rules->alpha * (p->distance - d);
    float reward = rules->step_cost + gained;
    p->distance = d;
    *result =
        (struct env_step_result){.reward = done ? reward + rules->goal_bonus : reward,
                                 .terminated = done,
                                 .truncated = rules->max_steps > 0 && p->step >= rules->max_steps,
                                 .distance = d};
}
