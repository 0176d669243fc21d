// The shortest way to a goal, found by trying everything: breadth first over machines, one layer a
// step.
//
// Two machines of one layer are the same when their work RAM, high RAM and direction of the last
// turn are; whatever else differs (registers, dividers) is taken to be of no consequence to the
// game. Of equal ones the one with fewer turns stays.
#ifndef TESTS_ENV_SOLVE_H
#define TESTS_ENV_SOLVE_H

#include "support/test.h"

#include "base/mem.h"
#include "emu/gb.h"
#include "emu/gb_import.h"
#include "engine/env/task.h"

struct solved {
    int steps;    // until the picture is first nearer than tau; -1: not within the limit
    int turns;    // fewest of all ways with so many steps
    int n_states; // tried
};

struct solve_node {
    struct gb *gb;
    uint64_t key;
    int turns, direction;
};

struct solver {
    struct solve_node *nodes[2]; // this layer and the next
    int n[2], capacity[2];
    int32_t *table; // of the next layer: key -> index, -1 empty
    int table_size;
    struct gb *spare;
};

static inline __attribute__((unused)) uint64_t solve_hash(uint64_t h, const void *data, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
    return h;
}

// Index of the key's place: its node's, or an empty one.
static inline __attribute__((unused)) int solve_place(const struct solver *s, uint64_t key) {
    int at = (int)((key ^ key >> 32) & (uint64_t)(s->table_size - 1));
    while (s->table[at] >= 0 && s->nodes[1][s->table[at]].key != key)
        at = (at + 1) & (s->table_size - 1);
    return at;
}

static inline __attribute__((unused)) void solve_grow(struct solver *s) {
    s->table_size *= 2;
    s->table = mem_resize(s->table, (size_t)s->table_size * sizeof *s->table);
    memset(s->table, 0xff, (size_t)s->table_size * sizeof *s->table);
    for (int i = 0; i < s->n[1]; i++) s->table[solve_place(s, s->nodes[1][i].key)] = i;
}

// The machine in `spare` joins the next layer unless an equal one with as few turns is there.
static inline __attribute__((unused)) void solve_add(struct solver *s, int turns, int direction) {
    uint64_t key = solve_hash(14695981039346656037u, s->spare->wram, sizeof s->spare->wram);
    key = solve_hash(key, s->spare->hram, sizeof s->spare->hram);
    key = solve_hash(key, &direction, sizeof direction);
    int at = solve_place(s, key);
    if (s->table[at] >= 0) {
        struct solve_node *old = &s->nodes[1][s->table[at]];
        if (turns < old->turns) old->turns = turns;
        return;
    }
    if (s->n[1] == s->capacity[1]) {
        s->capacity[1] = s->capacity[1] ? 2 * s->capacity[1] : 64;
        s->nodes[1] = mem_resize(s->nodes[1], (size_t)s->capacity[1] * sizeof *s->nodes[1]);
    }
    s->table[at] = s->n[1];
    s->nodes[1][s->n[1]++] = (struct solve_node){s->spare, key, turns, direction};
    s->spare = mem_alloc(sizeof *s->spare);
    if (s->n[1] * 2 > s->table_size) solve_grow(s);
}

static inline __attribute__((unused)) void solve_next_layer(struct solver *s) {
    for (int i = 0; i < s->n[0]; i++) free(s->nodes[0][i].gb);
    struct solve_node *nodes = s->nodes[0];
    int capacity = s->capacity[0];
    s->nodes[0] = s->nodes[1];
    s->capacity[0] = s->capacity[1];
    s->n[0] = s->n[1];
    s->nodes[1] = nodes;
    s->capacity[1] = capacity;
    s->n[1] = 0;
    memset(s->table, 0xff, (size_t)s->table_size * sizeof *s->table);
}

// All actions of the task's codec, at most max_steps deep.
static inline __attribute__((unused)) struct solved solve(const struct task *task, int max_steps) {
    const struct gb_action_codec *codec = gb_action_codec_find(task->goal.meta.action_codec_id);
    struct solver s = {.table_size = 1024, .spare = mem_alloc(sizeof *s.spare)};
    struct solved found = {.steps = -1};
    struct gb_rom rom;
    char why[GB_MESSAGE_SIZE];
    assert_true(gb_rom_parse(&rom, task->rom, task->rom_bytes, why, sizeof why));
    gb_reset(s.spare, &rom);
    assert_true(gb_import(s.spare, &rom, task->state, task->state_bytes, why, sizeof why));
    s.table = mem_alloc((size_t)s.table_size * sizeof *s.table);
    memset(s.table, 0xff, (size_t)s.table_size * sizeof *s.table);
    solve_add(&s, 0, 0);
    solve_next_layer(&s);
    for (int step = 1; step <= max_steps && found.steps < 0; step++) {
        for (int i = 0; i < s.n[0]; i++)
            for (int a = 0; a < codec->n_actions; a++) {
                const struct solve_node *from = &s.nodes[0][i];
                int direction = codec->buttons[a] & 0x0f ? codec->buttons[a] : from->direction;
                int turns = from->turns + (from->direction && direction != from->direction);
                uint8_t obs[ENV_OBS_BYTES];
                gb_copy(s.spare, from->gb);
                gb_step(s.spare, codec->buttons[a], GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, obs);
                found.n_states++;
                float d = (float)goal_frame_sum(obs, task->goal.goal.packed[0]) /
                          (float)GOAL_MAX_FRAME_SUM;
                if (d < task->rules.tau) {
                    if (found.steps < 0 || turns < found.turns) found.turns = turns;
                    found.steps = step;
                }
                solve_add(&s, turns, direction);
            }
        solve_next_layer(&s);
    }
    for (int i = 0; i < s.n[0]; i++) free(s.nodes[0][i].gb);
    free(s.nodes[0]);
    free(s.nodes[1]);
    free(s.table);
    free(s.spare);
    return found;
}

#endif
