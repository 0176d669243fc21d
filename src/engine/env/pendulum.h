// Pendulum: swing a rod up and hold it there; one torque, an observation of three numbers.
//
//     struct env *env = env_pendulum_new(&(struct control_opts){.n_envs = 1, .max_steps = 200,
//                                                               .obs = {.n_vector = 3}});
//
// The field's standard task: dynamics, reward and starts of Gymnasium's Pendulum-v1 (Towers et al.
// 2024; gymnasium/envs/classic_control/pendulum.py), theta = 0 upright, counted anticlockwise:
//
//   reward  = -(wrap(theta)^2 + 0.1 velocity^2 + 0.001 torque^2)      of the state before the step
//   velocity' = clip(velocity + (3 g / (2 l) sin theta + 3 / (m l^2) torque) dt, -8, 8)
//   theta'  = theta + velocity' dt
//
// g 10, m 1, l 1, dt 0.05; torque = 2 x action; wrap to [-pi, pi). Observed: cos theta, sin theta,
// velocity. An episode starts at a uniform theta in [-pi, pi) and velocity in [-1, 1), and only the
// time limit ends it. A return of 200 steps lies between -3,255 and 0; about -150 holds it upright
// from most starts. Arithmetic is double, what is observed and rewarded float.
#ifndef ENV_PENDULUM_H
#define ENV_PENDULUM_H

#include "engine/env/control.h"

enum { PENDULUM_N_VECTOR = 3, PENDULUM_MAX_STEPS = 200 };

struct env *env_pendulum_new(const struct control_opts *opts);

// The physics alone. torque in [-2, 2]. Returns the reward.
double pendulum_advance(double *theta, double *velocity, double torque);
// The picture of an observation: the rod from the middle, as long as (cos, sin) is; anything drawn
// from numbers that are not finite is empty.
void pendulum_draw(const float vector[PENDULUM_N_VECTOR], uint8_t packed[ENV_OBS_BYTES]);

#endif
