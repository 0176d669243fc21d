// Fake run: fills a feed with the records and pictures of an invented training, the same bytes
// every time.
//
//     struct fake_run run;
//     fake_run_init(&run, 1000);               // target steps
// 250 gradient steps, one record each, pictures at the end
//     fake_run_advance(&run, 250);
//     ... use run.feed ...
//     fake_run_deinit(&run);
#ifndef SUPPORT_FAKE_RUN_H
#define SUPPORT_FAKE_RUN_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/philox.h"
#include "engine/run/feed.h"
#include "engine/run/bench/parts.h"

struct fake_run {
    struct feed *feed;
    // nan_step: one gradient norm is NaN there; 0: never
    int64_t steps, target, nan_step;
    bool full;          // actor and critic learn too, and an episode ends every tenth step
    double peak_gflops; // of the machine; 0: 541
};

static inline float fake_noise(uint64_t step, uint32_t i) {
    return 2 * rng_uniform(7, RNG_TEST, step, i) - 1;
}

// A hillside with bricks, a pond and a sprite that walks along; four shades.
static inline void fake_scene(uint8_t *out, int frame) {
    for (int y = 0; y < FEED_HEIGHT; y++)
        for (int x = 0; x < FEED_WIDTH; x++) {
            int shade = y < 40 ? (x * 7 + y * 13) % 31 == 0 : 2;
            double hill = 34 + 7 * sin(x * 0.11) + 3 * sin(x * 0.31);
            if (y > hill) shade = ((x + 4 * (y / 4 & 1)) % 8 == 0 || y % 4 == 0) ? 3 : 1;
            if (y > 58) shade = (x + y + frame) % 6 < 2 ? 2 : 1;
            int sx = (10 + frame * 2) % 90 - 5, dx = x - sx, dy = y - (int)hill + 5;
            if (dx * dx + dy * dy < 22) shade = dx * dx + dy * dy < 12 ? 0 : 3;
            if ((x - 66) * (x - 66) + (y - 11) * (y - 11) < 40) shade = 0;
            out[y * FEED_WIDTH + x] = (uint8_t)(shade * 85);
        }
}

// What a model of the given quality (0..1) makes of it: a blur towards the mean.
static inline void fake_reconstruct(const uint8_t *truth, double quality, uint8_t *out,
                                    uint64_t seed) {
    for (int y = 0; y < FEED_HEIGHT; y++)
        for (int x = 0; x < FEED_WIDTH; x++) {
            int reach = (int)((1 - quality) * 6), n = 0, sum = 0;
            for (int v = y - reach; v <= y + reach; v++)
                for (int u = x - reach; u <= x + reach; u++)
                    if (u >= 0 && v >= 0 && u < FEED_WIDTH && v < FEED_HEIGHT)
                        sum += truth[v * FEED_WIDTH + u], n++;
            double value = quality * truth[y * FEED_WIDTH + x] + (1 - quality) * sum / n;
            value += 20 * (1 - quality) * fake_noise(seed, (uint32_t)(y * FEED_WIDTH + x));
            out[y * FEED_WIDTH + x] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
}

static inline float fake_difference(const uint8_t *a, const uint8_t *b, uint8_t *out) {
    double sum = 0;
    for (int i = 0; i < FEED_PIXELS; i++) {
        int d = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
        if (out) out[i] = (uint8_t)d;
        sum += d;
    }
    return (float)(sum / FEED_PIXELS / 85);
}

static inline void fake_run_status(struct fake_run *r, enum feed_phase phase, const char *message) {
    struct feed_status s = {.phase = phase,
                            .opt_steps = r->steps,
                            .env_steps = 256 + r->steps,
                            .target_opt_steps = r->target,
                            .replay_rows = 256 + r->steps < 10000 ? 256 + r->steps : 10000,
                            .replay_capacity = 10000,
                            .replay_ratio_target = 1,
                            .elapsed_s = (double)r->steps / 38,
                            .sps = 38.2f,
                            .train_sps = 37.9f,
                            .n_threads = 2,
                            .n_weights = 1234567};
    snprintf(s.algo, sizeof s.algo, "dreamer_v3");
    snprintf(s.task, sizeof s.task, "sprites");
    snprintf(s.mode, sizeof s.mode, r->full ? "full" : "standing_still");
    snprintf(s.preset, sizeof s.preset, "tiny");
    snprintf(s.device, sizeof s.device, "cpu");
    snprintf(s.session, sizeof s.session, "sessions/20261120T230434Z__dreamer_v3__sprites__demo");
    snprintf(s.message, sizeof s.message, "%s", message);
    feed_set_status(r->feed, &s);
}

static inline void fake_run_pictures(struct fake_run *r) {
    struct feed_pictures *p = feed_pictures_back(r->feed);
    double quality = 1 - exp(-(double)r->steps / 300);
    p->opt_steps = r->steps;
    p->env_steps = 256 + r->steps;
    fake_scene(p->real, (int)r->steps);
    fake_reconstruct(p->real, quality, p->reconstruction, (uint64_t)r->steps);
    p->error_shades = fake_difference(p->real, p->reconstruction, p->error);
    p->n_rollout = r->steps >= 50 ? FEED_ROLLOUT : 0;
    for (int i = 0; i < p->n_rollout; i++) {
        fake_scene(p->truth[i], (int)r->steps + i);
        double dreamt = i < FEED_CONTEXT ? quality : quality * (1 - 0.03 * (i - FEED_CONTEXT + 1));
        fake_reconstruct(p->truth[i], dreamt, p->dream[i], (uint64_t)(r->steps + i));
        p->dream_error_shades[i] = fake_difference(p->truth[i], p->dream[i], NULL);
    }
    feed_pictures_publish(r->feed);
}

static inline void fake_put(struct record *rec, enum metric m, double value) {
    rec->value[m] = (float)value;
    rec->present |= METRIC_BIT(m);
}

static inline void fake_run_behaviour(const struct fake_run *r, struct record *rec, double t) {
    uint64_t k = (uint64_t)r->steps;
    double learned = 1 - exp(-t / 300);
    fake_put(rec, METRIC_LOSS_ACTOR, 0.02 * fake_noise(k, 12));
    fake_put(rec, METRIC_LOSS_CRITIC, 5.5 * (1 - learned) + 0.5);
    fake_put(rec, METRIC_ACTION_ENTROPY, 2.08 - 1.5 * learned);
    fake_put(rec, METRIC_VALUE_MEAN, 8 * learned);
    fake_put(rec, METRIC_RET_P05, 4 * learned - 1);
    fake_put(rec, METRIC_RET_P95, 10 * learned);
    fake_put(rec, METRIC_GRAD_NORM_ACTOR, 0.3 * (1 - learned) + 0.01);
    fake_put(rec, METRIC_GRAD_NORM_CRITIC, 2 * (1 - learned) + 0.2);
    fake_put(rec, METRIC_UPDATE_RATIO_MODEL, 1e-3);
    fake_put(rec, METRIC_UPDATE_RATIO_ACTOR, 2e-3);
    fake_put(rec, METRIC_UPDATE_RATIO_CRITIC, 3e-3);
    fake_put(rec, METRIC_LATENT_CLASSES, 0.8);
    fake_put(rec, METRIC_DIST_P10, 0.1);
    fake_put(rec, METRIC_DIST_P50, 0.3);
    fake_put(rec, METRIC_DIST_P90, 0.4);
    if (r->steps % 10) return;
    fake_put(rec, METRIC_SUCCESS_RATE, learned > 0.5);
    fake_put(rec, METRIC_RETURN_MEAN, 11 * learned - 1);
    fake_put(rec, METRIC_LENGTH_MEAN, 128 - 100 * learned);
}

// Parts of an update of 24 ms; the behaviour's only where there is one.
static inline void fake_run_parts(const struct fake_run *r, struct record *rec) {
    static const double ms[N_PARTS] = {5.1, 1.2, 6.4, 0.5, 3, 1.5, 3.4, 0.8, 0.3, 0.9, 0.8, 0.01},
                        gflops[N_PARTS] = {240, 350, 330, 210, 320, 420, 400, 410};
    for (int i = 0; i < N_PARTS; i++) {
        if (i >= PART_IMAGINATION && i <= PART_RETURNS && !r->full) continue;
        fake_put(rec, part_info[i].ms, ms[i]);
        if (gflops[i] > 0) fake_put(rec, part_info[i].gflops, gflops[i]);
    }
    fake_put(rec, METRIC_GFLOPS_UPDATE, 300);
    fake_put(rec, METRIC_PEAK_GFLOPS, r->peak_gflops > 0 ? r->peak_gflops : 541);
    fake_put(rec, METRIC_ENV_MS, 0.35);
    fake_put(rec, METRIC_POLICY_MS, 0.2);
}

static inline void fake_run_record(struct fake_run *r) {
    r->steps++;
    double t = (double)r->steps, fall = exp(-t / 120);
    uint64_t k = (uint64_t)r->steps;
    struct record rec = {.opt_steps = r->steps, .env_steps = 256 + r->steps};
    for (int m = 0; m < METRIC_COUNT; m++) rec.value[m] = NAN;
    double obs = (760 * fall + 40 + 900 / (t + 8)) * (1 + 0.12 * fake_noise(k, 1));
    double kl = 1.2 + 9 * t / 60 * exp(-t / 60) + 0.4 * fabs(fake_noise(k, 2));
    double prior = 40 * exp(-t / 400) + 14 + 0.5 * fake_noise(k, 3),
           posterior = prior * (1 - 0.35 * exp(-t / 90)) + 0.4 * fake_noise(k, 4);
    double reward = 5.54 * exp(-t / 40) + 0.002 * (1 + fake_noise(k, 5)),
           cont = 0.69 * exp(-t / 25) + 0.0004 * (1.2 + fake_noise(k, 6));
    double kl_loss = 0.6 * (kl > 1 ? kl : 1);
    fake_put(&rec, METRIC_OBS_NLL, obs);
    fake_put(&rec, METRIC_REWARD_NLL, reward);
    fake_put(&rec, METRIC_CONTINUE_NLL, cont);
    fake_put(&rec, METRIC_KL_DYN, kl);
    fake_put(&rec, METRIC_KL_TOTAL, kl_loss);
    fake_put(&rec, METRIC_LOSS_MODEL, obs + reward + cont + kl_loss);
    fake_put(&rec, METRIC_PRIOR_ENTROPY, prior);
    fake_put(&rec, METRIC_POSTERIOR_ENTROPY, posterior);
    fake_put(&rec, METRIC_ENTROPY_RATIO, posterior / prior);
    fake_put(&rec, METRIC_GRAD_NORM_MODEL,
             r->steps == r->nan_step ? NAN : (90 * fall + 12) * (1 + 0.3 * fake_noise(k, 7)));
    fake_put(&rec, METRIC_REPLAY_RATIO, t / (t + 3));
    fake_put(&rec, METRIC_SPS, 38 + fake_noise(k, 8));
    fake_put(&rec, METRIC_TRAIN_SPS, 37.5 + fake_noise(k, 9));
    fake_put(&rec, METRIC_UPDATE_MS, 24 + 2 * fabs(fake_noise(k, 10)));
    fake_put(&rec, METRIC_SAMPLE_MS, 0.4 + 0.1 * fabs(fake_noise(k, 11)));
    fake_run_parts(r, &rec);
    if (r->full) fake_run_behaviour(r, &rec, t);
    feed_push_record(r->feed, &rec, t / 38);
}

static inline void fake_run_advance(struct fake_run *r, int64_t steps) {
    for (int64_t i = 0; i < steps; i++) fake_run_record(r);
    fake_run_pictures(r);
    fake_run_status(r, PHASE_TRAINING, "");
}

static inline void fake_run_init(struct fake_run *r, int64_t target) {
    *r = (struct fake_run){.feed = feed_new(0), .target = target};
    fake_run_status(r, PHASE_STARTING, "");
}

static inline void fake_run_deinit(struct fake_run *r) { feed_free(r->feed); }

#endif
