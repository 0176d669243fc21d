// Gate, what a world model is for: its latent carries a scene that moves, and it dreams how the
// scene goes on.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/run/gate/gate_internal.h"

// In so few updates the default learning rate reaches the mean picture with a latent or without.
static const char *const own[] = {"algo.world_model.optimizer.lr=2e-3"};
enum { UPDATES = 250, DREAMT_STEPS = 5 };
static const double most_of_mean = 0.65, most_of_held = 0.35;

static double square_error(const uint8_t *a, const uint8_t *b) {
    double sum = 0;
    for (int i = 0; i < FEED_PIXELS; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

// Error of the first imagined pictures beside that of the last one seen, held still; infinite
// where there are no pictures or the scene stands still.
static double dream_beside_held(const struct feed_pictures *p) {
    double dream = 0, held = 0;
    for (int k = FEED_CONTEXT; p && k < FEED_CONTEXT + DREAMT_STEPS; k++) {
        dream += square_error(p->dream[k], p->truth[k]);
        held += square_error(p->truth[FEED_CONTEXT - 1], p->truth[k]);
    }
    return held > 0 ? dream / held : INFINITY;
}

void gate_check_dream(struct gate *g) {
    struct error e = {0};
    struct worker_summary s = {0};
    char detail[700];
    const int64_t t0 = clock_now_ns();
    struct run_opts opts = gate_run_options_and(g, "scroll", own, sizeof own / sizeof *own);
    opts.updates = UPDATES;
    struct feed *feed = feed_new(0);
    const bool ran = gate_run_once(&opts, false, feed, &s, &e) && s.opt_steps == UPDATES;
    const double of_held = dream_beside_held(feed_pictures(feed));
    const double of_mean =
        s.mean_picture_loss > 0 ? s.last_obs_nll / s.mean_picture_loss : INFINITY;
    const bool carries = of_mean < most_of_mean, predicts = of_held < most_of_held;
    if (!ran)
        snprintf(detail, sizeof detail, "%s", e.message);
    else
        snprintf(detail, sizeof detail,
                 "observation loss %.2f of the mean picture's (bar %.2f), %d dreamt steps %.2f of "
                 "a held picture's error (bar %.2f)%s%s",
                 of_mean, most_of_mean, DREAMT_STEPS, of_held, most_of_held,
                 carries ? "" : "; the latent does not carry the scene",
                 predicts ? "" : "; the prior does not predict it");
    gate_add_result(g, "dream scroll", ran && s.all_finite && carries && predicts,
                    (double)(clock_now_ns() - t0) * 1e-9, detail);
    feed_free(feed);
    gate_free_options(&opts);
}
