// Benchmark of the emulator on a device, with a sample of its machines played again on the CPU.
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "engine/env/device_play.h"
#include "engine/graph/backend.h"
#include "engine/run/bench/bench_emu.h"

enum { REPETITIONS = 5, WARM_STEPS = 10, MAX_STEPS = 250, SAMPLE = 32 };
static const double wanted_seconds = 2; // of all repetitions, where no number of steps is given

struct field {
    const struct device_play *play;
    struct device_machines *machines;
    const struct gb_action_codec *codec;
    const struct gb_rom *rom;
    int n;
    int64_t step; // that every machine has made
    int32_t *orders;
};

static bool play_failed(const struct field *f, struct error *e) {
    return error_set(e, STATUS_FAILED, "bench emu: %s", f->play->machines_message(f->machines));
}

// ---- on the device

static bool field_open(struct field *f, struct error *e) {
    static const uint8_t blank[GB_OBS_BYTES];
    char why[BACKEND_MESSAGE_SIZE] = "no device was chosen";
    const struct backend *b = backend_chosen();
    f->play = b ? device_play_of(b, why, sizeof why) : NULL;
    if (!f->play) return error_set(e, STATUS_FAILED, "bench emu: %s", why);
    struct gb *start = mem_alloc(sizeof *start);
    struct gb_image *image = mem_alloc(sizeof *image);
    gb_reset(start, f->rom);
    gb_image_take(image, start);
    f->machines =
        f->play->machines_new(&(struct device_machines_opts){.rom = f->rom,
                                                             .start = image,
                                                             .start_obs = blank,
                                                             .n_machines = f->n,
                                                             .n_frames = GB_FRAMES_PER_STEP,
                                                             .release_after = GB_RELEASE_AFTER,
                                                             .n_actions = f->codec->n_actions,
                                                             .buttons = f->codec->buttons},
                              why, sizeof why);
    free(image);
    free(start);
    if (!f->machines) return error_set(e, STATUS_FAILED, "bench emu: %s", why);
    f->orders = mem_alloc((size_t)f->n * sizeof *f->orders);
    for (int i = 0; i < f->n; i++) f->orders[i] = DEVICE_RESET;
    return f->play->machines_run(f->machines, f->orders) || play_failed(f, e);
}

static void field_close(struct field *f) {
    if (f->play) f->play->machines_free(f->machines);
    free(f->orders);
}

// Until all steps are done; the results that are fetched to wait are a few bytes a machine.
static bool play_steps(struct field *f, int64_t steps, double *seconds, struct error *e) {
    const int64_t t0 = clock_now_ns();
    for (int64_t s = 0; s < steps; s++, f->step++) {
        for (int i = 0; i < f->n; i++) f->orders[i] = bench_action(f->codec, f->step, i);
        if (!f->play->machines_run(f->machines, f->orders)) return play_failed(f, e);
    }
    if (!f->play->machines_results(f->machines, NULL, NULL)) return play_failed(f, e);
    *seconds = (double)(clock_now_ns() - t0) * 1e-9;
    return true;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool measure(struct field *f, int64_t steps, struct bench_emu_size *out, struct error *e) {
    double seconds[REPETITIONS], warm;
    if (!play_steps(f, 1, &warm, e) || !play_steps(f, WARM_STEPS, &warm, e)) return false;
    int64_t each = steps / REPETITIONS;
    if (!steps) each = (int64_t)(wanted_seconds / REPETITIONS / (warm / WARM_STEPS));
    if (each > MAX_STEPS && !steps) each = MAX_STEPS;
    if (each < 1) each = 1;
    for (int i = 0; i < REPETITIONS; i++)
        if (!play_steps(f, each, &seconds[i], e)) return false;
    qsort(seconds, REPETITIONS, sizeof *seconds, compare_doubles);
    out->n_envs = f->n;
    out->steps = each * REPETITIONS;
    out->seconds = seconds[REPETITIONS / 2];
    out->steps_per_second = (double)(each * f->n) / out->seconds;
    out->frames_per_second = out->steps_per_second * GB_FRAMES_PER_STEP;
    return true;
}

// ---- the sample on the CPU

struct sample {
    const struct field *f;
    struct gb *cpu, *device;
    uint8_t (*obs)[GB_OBS_BYTES]; // the CPU's
    int n, place[SAMPLE];
};

static void replay_machine(void *ctx, int k) {
    struct sample *s = ctx;
    gb_reset(&s->cpu[k], s->f->rom);
    for (int64_t step = 0; step < s->f->step; step++)
        gb_step(&s->cpu[k], s->f->codec->buttons[bench_action(s->f->codec, step, s->place[k])],
                GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, s->obs[k]);
}

static bool fetch_machine(struct sample *s, int k, struct gb_image *image, struct error *e) {
    if (!s->f->play->machines_take(s->f->machines, s->place[k], image)) return play_failed(s->f, e);
    gb_image_give(&s->device[k], image, s->f->rom);
    return true;
}

// State and picture of every machine of the sample, one after the other, as one hash.
static void hash_of(const struct sample *s, const struct gb *machines, uint8_t (*obs)[GB_OBS_BYTES],
                    const int *obs_place, char hex[SHA256_HEX_SIZE]) {
    const size_t each = gb_state_size(s->f->rom) + GB_OBS_BYTES;
    uint8_t *all = mem_alloc((size_t)s->n * each);
    for (int k = 0; k < s->n; k++) {
        gb_state_save(&machines[k], all + (size_t)k * each);
        memcpy(all + (size_t)(k + 1) * each - GB_OBS_BYTES, obs[obs_place ? obs_place[k] : k],
               GB_OBS_BYTES);
    }
    sha256_hex(all, (size_t)s->n * each, hex);
    free(all);
}

static bool compare(struct sample *s, struct pool *pool, uint8_t (*obs)[GB_OBS_BYTES],
                    struct bench_emu_size *out, struct error *e) {
    struct gb_image *image = mem_alloc(sizeof *image);
    char theirs[SHA256_HEX_SIZE];
    bool fine = s->f->play->machines_results(s->f->machines, NULL, obs[0]);
    if (!fine) play_failed(s->f, e);
    for (int k = 0; k < s->n && fine; k++) fine = fetch_machine(s, k, image, e);
    free(image);
    if (!fine) return false;
    pool_run(pool, s->n, replay_machine, s);
    hash_of(s, s->cpu, s->obs, NULL, out->hash);
    hash_of(s, s->device, obs, s->place, theirs);
    out->n_checked = s->n;
    if (strcmp(out->hash, theirs) == 0) return true;
    return error_set(e, STATUS_FAILED,
                     "bench emu: %d of %d machines on the device are not the CPU's after %lld "
                     "steps (SHA-256 %.12s, not %.12s)",
                     s->n, s->f->n, (long long)s->f->step, theirs, out->hash);
}

// First, last and others between at even distances.
static bool check(const struct field *f, struct pool *pool, struct bench_emu_size *out,
                  struct error *e) {
    struct sample s = {.f = f, .n = f->n < SAMPLE ? f->n : SAMPLE};
    for (int k = 0; k < s.n; k++)
        s.place[k] = s.n == 1 ? 0 : (int)((int64_t)k * (f->n - 1) / (s.n - 1));
    s.cpu = mem_alloc((size_t)s.n * sizeof *s.cpu);
    s.device = mem_alloc((size_t)s.n * sizeof *s.device);
    s.obs = mem_alloc((size_t)s.n * sizeof *s.obs);
    uint8_t(*obs)[GB_OBS_BYTES] = mem_alloc((size_t)f->n * sizeof *obs);
    const bool fine = compare(&s, pool, obs, out, e);
    free(obs);
    free(s.obs);
    free(s.device);
    free(s.cpu);
    return fine;
}

static bool bench_size(const struct bench_emu_opts *o, struct field *f, struct pool *pool,
                       struct bench_emu_size *out, struct error *e) {
    const bool fine = field_open(f, e) && measure(f, o->steps, out, e) && check(f, pool, out, e);
    field_close(f);
    return fine;
}

bool bench_emu_device(const struct bench_emu_opts *o, struct bench_emu_device_result *r,
                      struct error *e) {
    static const int sizes[BENCH_MAX_SIZES] = {1024, 4096, 16384, 65536};
    struct gb_rom rom;
    uint8_t *owned = NULL;
    *r = (struct bench_emu_device_result){0};
    if (!bench_check_limit("--threads", o->n_threads, BENCH_MAX_THREADS, e) ||
        !bench_check_limit("--envs", o->n_envs, BENCH_MAX_ENVS, e))
        return false;
    bool fine = bench_open_rom(o, &rom, &owned, e);
    struct pool *pool = pool_new(o->n_threads > 0 ? (int)o->n_threads : pool_usable_cpus());
    for (int i = 0; fine && i < (o->n_envs ? 1 : BENCH_MAX_SIZES); i++) {
        struct field f = {.codec = gb_action_codec_find(BENCH_CODEC),
                          .rom = &rom,
                          .n = o->n_envs ? (int)o->n_envs : sizes[i]};
        fine = bench_size(o, &f, pool, &r->size[r->n_sizes++], e);
    }
    pool_free(pool);
    free(owned);
    return fine;
}
