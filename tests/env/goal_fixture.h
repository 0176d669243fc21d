// Goals made for tests: frames of one shade pattern, a valid template, template folders.
#ifndef TESTS_ENV_GOAL_FIXTURE_H
#define TESTS_ENV_GOAL_FIXTURE_H

#include "support/files.h"
#include "support/test.h"

#include "engine/env/goal_file.h"

static const char fixture_rom_sha[] =
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char fixture_state_sha[] =
    "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
static const char fixture_actions_sha[] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

// Frame `seed` of an endless series of different ones.
static inline __attribute__((unused)) void fixture_frame(uint8_t frame[ENV_OBS_BYTES],
                                                         uint32_t seed) {
    uint32_t s = seed * 2654435761u + 1;
    for (int i = 0; i < ENV_OBS_BYTES; i++) {
        s = s * 1664525u + 1013904223u;
        frame[i] = (uint8_t)(s >> 24);
    }
}

static inline __attribute__((unused)) struct goal_template *fixture_template(int n_frames) {
    struct goal_template *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->goal.n_frames = n_frames;
    for (int k = 0; k < n_frames; k++) fixture_frame(t->goal.packed[k], 100 + (uint32_t)k);
    struct goal_meta *m = &t->meta;
    *m = (struct goal_meta){.frames_per_step = 24,
                            .release_after_frames = 8,
                            .stack_k = n_frames,
                            .tau = 0.05,
                            .k_consecutive = 2,
                            .pipeline_version = 2};
    strcpy(m->created_at, "2026-11-21T00:00:00Z");
    strcpy(m->rom_path, "games/red \"one\".gb");
    strcpy(m->state_path, "start.state");
    strcpy(m->actions_path, "actions.txt");
    strcpy(m->action_codec_id, "pokemonred_puffer_v1");
    strcpy(m->rom_sha256, fixture_rom_sha);
    strcpy(m->state_sha256, fixture_state_sha);
    strcpy(m->actions_sha256, fixture_actions_sha);
    return t;
}

#endif
