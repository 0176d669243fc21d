// Pictures for the window's tests: no two panels, frames or pixels' neighbourhoods look alike.
#ifndef TESTS_UI_WINDOW_PICTURES_H
#define TESTS_UI_WINDOW_PICTURES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/feed.h"

// Shades with edges in both directions; `which` changes all of them.
static inline void window_test_picture(uint8_t *levels, int which) {
    for (int y = 0; y < FEED_HEIGHT; y++)
        for (int x = 0; x < FEED_WIDTH; x++)
            levels[y * FEED_WIDTH + x] =
                (uint8_t)((x * 3 + y * 5 + which * 37 + (x / 8 + y / 8) % 2 * 97) & 255);
}

static inline void window_test_pictures(struct feed_pictures *p) {
    memset(p, 0, sizeof *p);
    p->opt_steps = 1500;
    p->env_steps = 1756;
    window_test_picture(p->real, 0);
    window_test_picture(p->reconstruction, 1);
    for (int i = 0; i < FEED_PIXELS; i++)
        p->error[i] = (uint8_t)abs(p->real[i] - p->reconstruction[i]);
    p->error_shades = 0.125f;
    p->n_rollout = FEED_ROLLOUT;
    for (int f = 0; f < FEED_ROLLOUT; f++) {
        window_test_picture(p->truth[f], 2 + f);
        window_test_picture(p->dream[f], 40 + 2 * f);
        p->dream_error_shades[f] = (float)f / 40;
    }
}

static inline struct feed_status window_test_status(enum feed_phase phase) {
    return (struct feed_status){
        .phase = phase, .opt_steps = 1500, .env_steps = 1756, .task = "sprites", .preset = "tiny"};
}

#endif
