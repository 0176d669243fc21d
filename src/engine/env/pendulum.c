// Pendulum: its physics, its starts, its picture.
#include "engine/env/pendulum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"

static const double pi = 3.14159265358979323846;
static const double gravity = 10, mass = 1, length = 1, dt = 0.05, max_velocity = 8, max_torque = 2;

struct rod { // all that an episode depends on
    double theta, velocity;
    uint64_t episodes;    // begun so far: the number of the next start ...
    uint64_t seed, start; // ... unless one was chosen
    int32_t chosen, step, ended;
};
// What is saved: the fields without the gap that the compiler may leave behind them.
enum { ROD_BYTES = offsetof(struct rod, ended) + sizeof(int32_t) };

struct pendulum {
    struct env env;
    int max_steps;
    uint64_t seed;
    int first;
    struct rod *rods; // [n_envs]
};

// ---- physics

double pendulum_advance(double *theta, double *velocity, double torque) {
    const double angle = *theta - 2 * pi * floor((*theta + pi) / (2 * pi));
    const double reward = -(angle * angle + 0.1 * *velocity * *velocity + 0.001 * torque * torque);
    const double acceleration =
        3 * gravity / (2 * length) * sin(*theta) + 3 / (mass * length * length) * torque;
    *velocity = fmin(fmax(*velocity + acceleration * dt, -max_velocity), max_velocity);
    *theta += *velocity * dt;
    return reward;
}

// ---- picture

enum { PIVOT_X = ENV_OBS_WIDTH / 2, PIVOT_Y = ENV_OBS_HEIGHT / 2, ROD_PIXELS = 30, SHADES = 3 };

// Distance of a pixel's middle from the rod, which goes from (0, 0) to (x, y).
static float distance_to_rod(float px, float py, float x, float y) {
    const float square = x * x + y * y;
    float along = square > 0 ? (px * x + py * y) / square : 0;
    along = along < 0 ? 0 : along > 1 ? 1 : along;
    const float dx = px - along * x, dy = py - along * y;
    return sqrtf(dx * dx + dy * dy);
}

// Black within two pixels of the rod, then two shades of edge.
static int shade_at(float distance) {
    return distance < 2 ? SHADES : distance < 3 ? 2 : distance < 4 ? 1 : 0;
}

void pendulum_draw(const float v[PENDULUM_N_VECTOR], uint8_t packed[ENV_OBS_BYTES]) {
    memset(packed, 0, ENV_OBS_BYTES);
    if (!isfinite(v[0]) || !isfinite(v[1])) return;
    const float size = hypotf(v[0], v[1]), scale = ROD_PIXELS / (size > 1 ? size : 1);
    const float x = -v[1] * scale, y = -v[0] * scale; // up is where rows count down
    for (int row = 0; row < ENV_OBS_HEIGHT; row++)
        for (int column = 0; column < ENV_OBS_WIDTH; column++) {
            const float px = (float)(column - PIVOT_X) + 0.5f, py = (float)(row - PIVOT_Y) + 0.5f;
            const int pixel = row * ENV_OBS_WIDTH + column,
                      shade = shade_at(distance_to_rod(px, py, x, y));
            packed[pixel / 4] |= (uint8_t)(shade << pixel % 4 * 2);
        }
}

// ---- environments

static void observe(const struct pendulum *p, const struct rod *r, uint8_t *obs) {
    const float vector[PENDULUM_N_VECTOR] = {(float)cos(r->theta), (float)sin(r->theta),
                                             (float)r->velocity};
    if (p->env.obs.pixels) pendulum_draw(vector, obs);
    if (p->env.obs.n_vector) memcpy(obs + obs_picture_bytes(&p->env.obs), vector, sizeof vector);
}

static void pendulum_reset(struct env *env, const uint8_t *mask, uint8_t *const *obs) {
    struct pendulum *p = (struct pendulum *)env;
    for (int i = 0; i < env->n_envs; i++) {
        if (!mask[i]) continue;
        struct rod *r = &p->rods[i];
        const uint64_t seed = r->chosen ? r->seed : p->seed,
                       number = r->chosen ? r->start : ((uint64_t)(p->first + i) << 32) + r->episodes;
        r->theta = pi * (2 * (double)rng_uniform(seed, RNG_CONTROL_START, number, 0) - 1);
        r->velocity = 2 * (double)rng_uniform(seed, RNG_CONTROL_START, number, 1) - 1;
        r->episodes++;
        r->chosen = r->step = r->ended = 0;
        observe(p, r, obs[i]);
    }
}

static void pendulum_step(struct env *env, const uint8_t *mask, const float *values,
                          uint8_t *const *obs, struct env_step_result *out) {
    struct pendulum *p = (struct pendulum *)env;
    for (int i = 0; i < env->n_envs; i++) {
        if (!mask[i]) continue;
        struct rod *r = &p->rods[i];
        CHECK(!r->ended, "environment %d ended and was not reset", i);
        CHECK(values[i] >= -1 && values[i] <= 1, "torque %g", (double)values[i]);
        const double reward =
            pendulum_advance(&r->theta, &r->velocity, max_torque * (double)values[i]);
        r->ended = ++r->step >= p->max_steps;
        out[i] = (struct env_step_result){.reward = (float)reward, .truncated = r->ended};
        observe(p, r, obs[i]);
    }
}

static void pendulum_choose_start(struct env *env, int i, uint64_t seed, uint64_t number) {
    struct rod *r = &((struct pendulum *)env)->rods[i];
    r->chosen = 1;
    r->seed = seed;
    r->start = number | (uint64_t)1 << 63; // unlike any of the environment's own
}

static void pendulum_free(struct env *env) {
    free(((struct pendulum *)env)->rods);
    free(env);
}

// ---- saving

static size_t pendulum_state_bytes(const struct env *env) {
    (void)env;
    return ROD_BYTES;
}

static void pendulum_save(const struct env *env, int i, uint8_t *out) {
    CHECK(i >= 0 && i < env->n_envs, "environment %d", i);
    memcpy(out, &((const struct pendulum *)env)->rods[i], ROD_BYTES);
}

static bool pendulum_load(struct env *env, int i, const uint8_t *in, struct error *e) {
    CHECK(i >= 0 && i < env->n_envs, "environment %d", i);
    struct rod r = {0};
    memcpy(&r, in, ROD_BYTES);
    const bool flags = (r.chosen == 0 || r.chosen == 1) && (r.ended == 0 || r.ended == 1);
    if (!flags || !isfinite(r.theta) || !(fabs(r.velocity) <= max_velocity) || r.step < 0)
        return error_set(e, STATUS_FAILED, "state of environment %d: no pendulum's", i);
    ((struct pendulum *)env)->rods[i] = r;
    return true;
}

static const struct env_vtable pendulum_vtable = {.reset = pendulum_reset,
                                                  .step_values = pendulum_step,
                                                  .free = pendulum_free,
                                                  .state_bytes = pendulum_state_bytes,
                                                  .save = pendulum_save,
                                                  .load = pendulum_load,
                                                  .choose_start = pendulum_choose_start,
                                                  .draw = pendulum_draw};

struct env *env_pendulum_new(const struct control_opts *o) {
    const struct control_task *task = control_task_find("pendulum");
    struct pendulum *p = mem_alloc(sizeof *p);
    const int n_envs = o->n_envs > 0 ? o->n_envs : 1;
    p->env = (struct env){&pendulum_vtable,   n_envs, action_width(&task->actions),
                          task->action_names, o->obs, task->actions};
    p->max_steps = o->max_steps;
    p->seed = o->seed;
    p->first = o->first;
    p->rods = mem_alloc((size_t)n_envs * sizeof *p->rods);
    for (int i = 0; i < n_envs; i++) p->rods[i].ended = 1; // a reset comes first
    return &p->env;
}
