// Goal: distance of packed frames, and the rules of reward, success and time limit.
#include "engine/env/goal.h"

#include <string.h>

const struct goal_rules goal_default_rules = {.tau = 0.05f,
                                              .k_consecutive = 2,
                                              .max_steps = 128,
                                              .alpha = 1,
                                              .goal_bonus = 10,
                                              .step_cost = -0.01f};

// Words are added up byte by byte (12 a byte and word at most), 20 words before a byte is full.
int goal_frame_sum(const uint8_t a[ENV_OBS_BYTES], const uint8_t b[ENV_OBS_BYTES]) {
    enum { WORDS = ENV_OBS_BYTES / 8, BLOCK = 20 };
    _Static_assert(WORDS % BLOCK == 0 && BLOCK * 12 < 256, "bytes of a block must not overflow");
    int sum = 0;
    for (int block = 0; block < WORDS; block += BLOCK) {
        uint64_t bytes = 0;
        for (int i = block; i < block + BLOCK; i++) {
            uint64_t x, y;
            memcpy(&x, a + 8 * i, 8);
            memcpy(&y, b + 8 * i, 8);
            bytes += goal_byte_differences(x, y);
        }
        bytes = (bytes & 0x00ff00ff00ff00ffu) + (bytes >> 8 & 0x00ff00ff00ff00ffu);
        sum += (int)((bytes * 0x0001000100010001u) >> 48);
    }
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
    goal_judge(p, rules, d, result);
}

void goal_judge(struct goal_progress *p, const struct goal_rules *rules, float d,
                struct env_step_result *result) {
    struct goal_count count = {p->distance, p->consecutive, p->step};
    struct goal_verdict v = goal_apply(&count, rules, d);
    p->distance = count.distance;
    p->consecutive = count.consecutive;
    p->step = count.step;
    *result = (struct env_step_result){
        .reward = v.reward, .terminated = v.done, .truncated = v.truncated, .distance = d};
}
