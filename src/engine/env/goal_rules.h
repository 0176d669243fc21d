// Goal, the arithmetic: distance of two frames and the rules of reward, success and time limit, one
// source for CPU and GPU. goal.h says what it means and is what the program calls.
//
// Valid C17, C++17 and CUDA C++. Pure functions.
#ifndef ENV_GOAL_RULES_H
#define ENV_GOAL_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hd.h"

enum { GOAL_MAX_FRAME_SUM = 3 * 72 * 80 }; // of the distances of a frame's pixels

struct goal_rules {
    float tau;
    int k_consecutive, max_steps; // max_steps 0: never truncated
    float alpha, goal_bonus, step_cost;
};

// What the rules remember of an episode.
struct goal_count {
    float distance; // of the last frame (stack) seen
    int consecutive, step;
};

struct goal_verdict {
    float reward;
    bool done, truncated;
};

// |a - b| in each of 32 fields of two bits: shades counted in unary (1 or more, 2 or more, 3)
// differ in as many places as the shades do, and three places fit a field.
HD uint64_t goal_field_differences(uint64_t a, uint64_t b) {
    const uint64_t low = 0x5555555555555555u;
    uint64_t a1 = a >> 1, b1 = b >> 1;
    uint64_t one = ((a | a1) ^ (b | b1)) & low, two = (a1 ^ b1) & low;
    uint64_t three = ((a & a1) ^ (b & b1)) & low;
    return one + two + three;
}

// The same, added up in each byte (12 at most).
HD uint64_t goal_byte_differences(uint64_t a, uint64_t b) {
    uint64_t d = goal_field_differences(a, b);
    d = (d & 0x3333333333333333u) + (d >> 2 & 0x3333333333333333u);
    return (d & 0x0f0f0f0f0f0f0f0fu) + (d >> 4 & 0x0f0f0f0f0f0f0f0fu);
}

// A product that no compiler may join with the sum after it: the reward has one order of rounding.
HD float goal_product(float a, float b) {
#ifdef __CUDA_ARCH__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

// A step ended at distance d.
HD struct goal_verdict goal_apply(struct goal_count *c, const struct goal_rules *rules, float d) {
    struct goal_verdict v;
    c->step++;
    c->consecutive = d < rules->tau ? c->consecutive + 1 : 0;
    v.done = c->consecutive >= rules->k_consecutive;
    float gained = goal_product(rules->alpha, c->distance - d);
    float reward = rules->step_cost + gained;
    c->distance = d;
    v.reward = v.done ? reward + rules->goal_bonus : reward;
    v.truncated = rules->max_steps > 0 && c->step >= rules->max_steps;
    return v;
}

#endif
