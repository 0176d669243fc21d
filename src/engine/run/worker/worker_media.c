// Worker media: live pictures for the screens; snapshots along the way; plot, strip and video at
// the end.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/data/plot.h"
#include "engine/data/video.h"
#include "engine/run/worker/worker_internal.h"

enum { STRIP_COLUMNS = 8, VIDEO_FRAMES_PER_SECOND = 8, VIDEO_PANELS = 3, LEVELS_PER_SHADE = 85 };

static void unpack_levels(const uint8_t *packed, uint8_t *levels) {
    for (int i = 0; i < FEED_PIXELS; i++)
        levels[i] = (uint8_t)(((packed[i >> 2] >> (2 * (i & 3))) & 3) * LEVELS_PER_SHADE);
}

// out may be NULL. Returns the mean distance in shades.
static float difference(const uint8_t *a, const uint8_t *b, uint8_t *out) {
    int64_t sum = 0;
    for (int i = 0; i < FEED_PIXELS; i++) {
        int d = abs(a[i] - b[i]);
        sum += d;
        if (out) out[i] = (uint8_t)d;
    }
    return (float)sum / (float)(FEED_PIXELS * LEVELS_PER_SHADE);
}

// "start", the buttons' names with a blank between two heads', or the first value: what fits.
static void format_action(const struct env *env, bool first, const real *action,
                          char out[FEED_ACTION_SIZE]) {
    size_t at = 0;
    out[0] = 0;
    if (first) {
        snprintf(out, FEED_ACTION_SIZE, "start");
    } else if (env->actions.n_continuous) {
        snprintf(out, FEED_ACTION_SIZE, "%+.2f", (double)action[0]);
    } else {
        for (int a = 0; a < env->n_actions && at < FEED_ACTION_SIZE; a++)
            if (action[a] == 1)
                at += (size_t)snprintf(out + at, FEED_ACTION_SIZE - at, "%s%s", at ? " " : "",
                                       env->action_names[a]);
    }
}

// Before the display graph calls its first row a start.
static void name_actions(const struct worker *w, const struct wm_batch *b,
                         struct feed_pictures *p) {
    for (int i = 0; i < FEED_ROLLOUT; i++) {
        const real *one_hot = b->prev_actions + (size_t)i * (size_t)b->n_actions;
        format_action(w->rollout.env, b->is_first[i] != 0, one_hot, p->action[i]);
    }
}

bool worker_has_display(const struct worker *w) {
    return wm_has_pictures(w->wm) || w->rollout.env->vtable->draw;
}

static void draw_levels(const struct env *env, const float *vector, uint8_t *levels) {
    uint8_t packed[ENV_OBS_BYTES];
    env->vtable->draw(vector, packed);
    unpack_levels(packed, levels);
}

// Where only vectors are observed: pictures of them, as the environment draws them.
static void draw_vectors(struct worker *w, const struct wm_batch *b, struct feed_pictures *p) {
    const struct env *env = w->rollout.env;
    const size_t n = (size_t)b->n_vector;
    float *reconstruction = w->vectors, *dream = reconstruction + WM_ROLLOUT * n;
    wm_display_vectors(w->wm, reconstruction, dream);
    for (size_t i = 0; i < WM_ROLLOUT; i++) {
        draw_levels(env, reconstruction + i * n, w->reconstruction[i]);
        draw_levels(env, dream + i * n, p->dream[i]);
        // The dream's place serves for the truth's floats: it is drawn.
        for (size_t k = 0; k < n; k++) dream[i * n + k] = (float)b->vector[i * n + k];
        draw_levels(env, dream + i * n, p->truth[i]);
    }
}

// Runs the display graph on the newest rows of environment 0. False while there are too few.
static bool make_pictures(struct worker *w, struct feed_pictures *p) {
    const struct wm_batch *b = wm_display_batch(w->wm);
    struct replay_batch out = {.packed = b->packed,
                               .vector = b->vector,
                               .prev_actions = b->prev_actions,
                               .is_first = b->is_first};
    if (!worker_has_display(w)) return false;
    if (!worker_rows_before(w, w->fence.rows, WM_ROLLOUT, &out)) return false;
    name_actions(w, b, p);
    wm_display(w->wm, w->reconstruction, p->dream);
    if (!b->packed) draw_vectors(w, b, p);
    p->opt_steps = wm_opt_steps(w->wm);
    p->env_steps = w->fence.policy_steps;
    p->n_rollout = FEED_ROLLOUT;
    for (int i = 0; i < FEED_ROLLOUT; i++) {
        if (b->packed) unpack_levels(b->packed + (size_t)i * WM_PACKED_BYTES, p->truth[i]);
        p->dream_error_shades[i] = difference(p->truth[i], p->dream[i], NULL);
    }
    memcpy(p->real, p->truth[FEED_ROLLOUT - 1], FEED_PIXELS);
    memcpy(p->reconstruction, w->reconstruction[FEED_ROLLOUT - 1], FEED_PIXELS);
    p->error_shades = difference(p->real, p->reconstruction, p->error);
    return true;
}

void worker_publish_pictures(struct worker *w) {
    if (make_pictures(w, feed_pictures_back(w->feed))) feed_pictures_publish(w->feed);
}

static void thin_snapshots(struct worker *w) {
    w->n_snapshots /= 2;
    for (int i = 0; i < w->n_snapshots; i++) w->snapshots[i] = w->snapshots[2 * i];
    w->snapshot_every *= 2;
}

static struct media_snapshot *next_snapshot(struct worker *w, int64_t updates) {
    if (w->n_snapshots == MEDIA_MAX_SNAPSHOTS) thin_snapshots(w);
    struct media_snapshot *s = &w->snapshots[w->n_snapshots++];
    s->opt_steps = updates;
    w->next_snapshot = updates + w->snapshot_every;
    return s;
}

bool worker_take_snapshot(struct worker *w, struct error *e) {
    int64_t updates = wm_opt_steps(w->wm);
    if (w->opts.no_media || updates < w->next_snapshot) return true;
    struct feed_pictures *p = w->snapshot_pictures;
    if (!make_pictures(w, p)) return true;
    struct media_snapshot *s = next_snapshot(w, updates);
    memcpy(s->real, p->real, FEED_PIXELS);
    memcpy(s->reconstruction, p->reconstruction, FEED_PIXELS);
    memcpy(s->error, p->error, FEED_PIXELS);
    return !w->frames ||
           frames_append(w->frames, updates, w->fence.policy_steps, s->real, VIDEO_PANELS, e);
}

bool worker_reload_snapshots(struct worker *w, const char *path, struct error *e) {
    struct frames_reader *r = frames_open(path, e);
    if (!r) return false;
    bool fine = frames_width(r) == FEED_WIDTH && frames_height(r) == FEED_HEIGHT;
    if (!fine) error_set(e, STATUS_FAILED, "%s: pictures of another size", path);
    for (int64_t i = 0; fine && i < frames_count(r); i++) {
        struct frames_info info = frames_info(r, i);
        if (info.n_pictures != VIDEO_PANELS) continue;
        fine = frames_read(r, i, next_snapshot(w, info.opt_steps)->real, e);
    }
    frames_reader_free(r);
    return fine;
}

// ---- at the end

static bool write_strip(struct worker *w, const char *path, const char *title, struct error *e) {
    struct plot_column columns[STRIP_COLUMNS];
    int n = w->n_snapshots < STRIP_COLUMNS ? w->n_snapshots : STRIP_COLUMNS;
    for (int i = 0; i < n; i++) {
        const struct media_snapshot *s =
            &w->snapshots[n > 1 ? i * (w->n_snapshots - 1) / (n - 1) : 0];
        columns[i] = (struct plot_column){s->opt_steps, s->real, s->reconstruction, s->error};
    }
    return plot_strip_png(path, title, columns, n, FEED_WIDTH, FEED_HEIGHT, 2, e);
}

// Real, reconstruction and error side by side, one frame a snapshot.
static uint8_t *video_pixels(const struct worker *w) {
    uint8_t *pixels = mem_alloc((size_t)w->n_snapshots * VIDEO_PANELS * FEED_PIXELS), *to = pixels;
    for (int i = 0; i < w->n_snapshots; i++)
        for (int y = 0; y < FEED_HEIGHT; y++) {
            const struct media_snapshot *s = &w->snapshots[i];
            const uint8_t *const panels[VIDEO_PANELS] = {s->real, s->reconstruction, s->error};
            for (int k = 0; k < VIDEO_PANELS; k++, to += FEED_WIDTH)
                memcpy(to, panels[k] + y * FEED_WIDTH, FEED_WIDTH);
        }
    return pixels;
}

static bool write_video(struct worker *w, struct error *e) {
    char gif[PATH_SIZE], mp4[PATH_SIZE];
    uint8_t *pixels = video_pixels(w);
    struct video_frames v = {.width = VIDEO_PANELS * FEED_WIDTH,
                             .height = FEED_HEIGHT,
                             .n = w->n_snapshots,
                             .pixels = pixels,
                             .frames_per_second = VIDEO_FRAMES_PER_SECOND,
                             .scale = 2};
    bool fine = path_join(gif, session_path(w->session), "reconstruction.gif", e) &&
                video_write_gif(gif, &v, e) &&
                path_join(mp4, session_path(w->session), "reconstruction.mp4", e);
    struct error skipped = {0};
    if (fine && !video_write_mp4(mp4, &v, &skipped))
        log_write(LOG_INFO, "no MP4: %s", skipped.message);
    free(pixels);
    return fine;
}

static bool write_plot(struct worker *w, const char *path, const char *title, struct error *e) {
    int64_t n = feed_n_records(w->feed);
    struct record *records = mem_alloc((size_t)(n + 1) * sizeof *records);
    for (int64_t i = 0; i < n; i++) records[i] = *feed_record(w->feed, i);
    bool fine = plot_metrics_png(path, title, records, n, e);
    free(records);
    return fine;
}

bool worker_write_media(struct worker *w, struct error *e) {
    if (!w->session || w->opts.no_media) return true;
    char title[200], plot[PATH_SIZE], strip[PATH_SIZE];
    snprintf(title, sizeof title, "%s, %s, seed %lld, %lld updates", w->rom_name, w->config.preset,
             (long long)w->config.seed, (long long)wm_opt_steps(w->wm));
    if (!path_join(plot, session_path(w->session), "metrics.png", e) ||
        !write_plot(w, plot, title, e))
        return false;
    if (w->n_snapshots == 0) return true;
    return path_join(strip, session_path(w->session), "reconstruction.png", e) &&
           write_strip(w, strip, title, e) && write_video(w, e);
}
