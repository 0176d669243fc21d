// Benchmark of the emulator.
#include "engine/run/bench/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "emu/gb.h"
#include "engine/env/builtin.h"
#include "engine/run/bench/bench_emu.h"

enum { EMU_REPETITIONS = 5, EMU_WARM_STEPS = 20, MAX_ROM_BYTES = 8 << 20 };

bool bench_check_limit(const char *option, int64_t given, int64_t limit, struct error *e) {
    if (given <= limit) return true;
    return error_set(e, STATUS_USAGE, "%s %lld: at most %lld", option, (long long)given,
                     (long long)limit);
}

// ---- emulator

struct emu_batch {
    struct gb *machines;
    uint8_t (*obs)[1440];
    int64_t step, steps;
    int draw; // 0 none, 1 last, 2 all
    const struct gb_action_codec *codec;
};

static void run_machine(void *ctx, int n) {
    struct emu_batch *b = ctx;
    struct gb *m = &b->machines[n];
    for (int64_t s = 0; s < b->steps; s++) {
        const int a = bench_action(b->codec, b->step + s, n);
        if (b->draw == 1) {
            gb_step(m, b->codec->buttons[a], GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, b->obs[n]);
            continue;
        }
        for (int f = 0; f < GB_FRAMES_PER_STEP; f++) {
            gb_set_buttons(m, f < GB_RELEASE_AFTER ? b->codec->buttons[a] : 0);
            gb_run_frame(m, b->draw == 2);
        }
    }
}

bool bench_open_rom(const struct bench_emu_opts *o, struct gb_rom *rom, uint8_t **owned,
                    struct error *e) {
    const uint8_t *data;
    size_t n;
    const char *name = o->rom_path;
    if (o->rom_path) {
        if (!file_read(o->rom_path, MAX_ROM_BYTES, owned, &n, e)) return false;
        data = *owned;
    } else {
        const struct builtin_task *task = builtin_task_find(name = o->task ? o->task : "sprites");
        if (!task) return error_set(e, STATUS_USAGE, "--task %s: no such task", o->task);
        data = task->rom;
        n = task->rom_bytes;
    }
    char message[300];
    if (gb_rom_parse(rom, data, n, message, sizeof message)) return true;
    return error_set(e, STATUS_FAILED, "ROM %s: %s", name, message);
}

bool bench_emu(const struct bench_emu_opts *o, struct bench_emu_result *r, struct error *e) {
    static const char *const draws[] = {"none", "last", "all"};
    if (!bench_check_limit("--threads", o->n_threads, BENCH_MAX_THREADS, e) ||
        !bench_check_limit("--envs", o->n_envs, BENCH_MAX_ENVS, e))
        return false;
    struct emu_batch b = {.draw = 1, .codec = gb_action_codec_find(BENCH_CODEC)};
    if (o->draw) {
        b.draw = -1;
        for (int i = 0; i < 3; i++)
            if (strcmp(o->draw, draws[i]) == 0) b.draw = i;
        if (b.draw < 0)
            return error_set(e, STATUS_USAGE, "--draw %s: give all, last or none", o->draw);
    }
    struct gb_rom rom;
    uint8_t *owned = NULL;
    if (!bench_open_rom(o, &rom, &owned, e)) {
        free(owned);
        return false;
    }
    *r = (struct bench_emu_result){.n_envs = o->n_envs > 0 ? (int)o->n_envs : 1,
                                   .n_threads = o->n_threads > 0 ? (int)o->n_threads : 1};
    size_t bytes = (size_t)r->n_envs * sizeof *b.machines;
    b.machines = mem_slab_alloc(bytes);
    b.obs = mem_alloc((size_t)r->n_envs * sizeof *b.obs);
    for (int n = 0; n < r->n_envs; n++) gb_reset(&b.machines[n], &rom);
    struct pool *pool = pool_new(r->n_threads);
    int64_t steps = o->steps > 0 ? o->steps : 250,
            per_repetition = steps / EMU_REPETITIONS > 0 ? steps / EMU_REPETITIONS : 1;
    r->seconds = INFINITY;
    for (int i = -1; i < EMU_REPETITIONS; i++) {
        b.steps = i < 0 ? EMU_WARM_STEPS : per_repetition;
        int64_t t0 = clock_now_ns();
        pool_run(pool, r->n_envs, run_machine, &b);
        double seconds = (double)(clock_now_ns() - t0) * 1e-9;
        b.step += b.steps;
        if (i >= 0 && seconds < r->seconds) r->seconds = seconds;
    }
    r->frames = per_repetition * r->n_envs * GB_FRAMES_PER_STEP;
    r->frames_per_second = (double)r->frames / r->seconds;
    pool_free(pool);
    free(b.obs);
    mem_slab_free(b.machines, bytes);
    free(owned);
    return true;
}
