// Evaluation files: episodes as JSON lines, the summary, a video of the best episode.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "emu/gb_obs.h"
#include "engine/data/video.h"
#include "engine/env/gameboy.h"
#include "engine/run/eval_internal.h"

enum { VIDEO_FRAMES_PER_SECOND = 8, VIDEO_SCALE = 4, LEVELS_PER_SHADE = 85 };
enum { OBS_PIXELS = ENV_OBS_HEIGHT * ENV_OBS_WIDTH };

// ---- summary

static void add_stats(cJSON *o, const struct eval_stats *s) {
    json_add_count(o, "episodes", s->episodes);
    json_add_count(o, "successes", s->successes);
    const struct {
        const char *key;
        double value;
    } values[] = {{"success_rate", s->rate},
                  {"success_low", s->low},
                  {"success_high", s->high},
                  {"median_steps_to_goal", s->median_steps},
                  {"min_steps_to_goal", s->min_steps},
                  {"mean_return", s->mean_reward},
                  {"return_mean_success", s->mean_reward_success},
                  {"return_mean_fail", s->mean_reward_fail},
                  {"mean_length", s->mean_length},
                  {"dist_at_end_p50", s->median_distance},
                  {"action_entropy", s->entropy}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (isnan(values[i].value))
            cJSON_AddNullToObject(o, values[i].key);
        else
            json_add_double(o, values[i].key, values[i].value);
}

static void add_horizons(cJSON *o, const struct eval_horizon *horizon) {
    cJSON *list = cJSON_AddArrayToObject(o, "open_loop");
    for (int k = 0; k < EVAL_HORIZON; k++) {
        const struct eval_horizon *h = &horizon[k];
        if (h->n == 0) break;
        cJSON *row = cJSON_CreateObject();
        json_add_count(row, "horizon", k + 1);
        json_add_count(row, "pictures", h->n);
        json_add_double(row, "mse", h->mse);
        json_add_double(row, "copy_mse", h->copy_mse);
        json_add_double(row, "shades", h->shades);
        json_add_double(row, "copy_shades", h->copy_shades);
        json_add_double(row, "wrong", h->wrong);
        json_add_double(row, "copy_wrong", h->copy_wrong);
        cJSON_AddItemToArray(list, row);
    }
}

cJSON *eval_json(const struct eval *v) {
    struct eval_report r;
    eval_report(v, &r);
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "task", v->agent.task);
    json_add_count(o, "opt_steps", v->agent.opt_steps);
    json_add_count(o, "env_steps", v->agent.env_steps);
    json_add_string(o, "policy", eval_policy_names[v->opts.policy]);
    json_add_u64(o, "seed", v->opts.seed);
    json_add_count(o, "warm_up_frames", v->opts.warm_up_frames);
    add_stats(o, &r.policy_stats);
    if (v->opts.open_loop) {
        add_horizons(o, v->horizon);
        return o;
    }
    json_add_count(o, "best_episode", r.best);
    if (!eval_has_random(v)) return o;
    json_add_bool(o, "better_than_random", r.policy_stats.low > r.random_stats.high);
    add_stats(json_add_object(o, "random"), &r.random_stats);
    return o;
}

// ---- episodes

static void add_episode(struct text *t, int64_t i, const struct eval_episode *p) {
    text_add(t,
             "{\"episode\":%lld,\"start_frames\":%d,\"steps\":%d,\"success\":%s,\"truncated\":%s,"
             "\"return\":",
             (long long)i, p->start_frames, p->steps, p->success ? "true" : "false",
             p->truncated ? "true" : "false");
    text_add_json_double(t, p->total_reward);
    text_add(t, ",\"distance\":");
    text_add_json_float(t, p->distance);
    text_add(t, ",\"least_distance\":");
    text_add_json_float(t, p->least_distance);
    text_add(t, ",\"action_entropy\":");
    text_add_json_double(t, p->entropy);
    text_add(t, ",\"actions\":[");
    for (int k = 0; k < p->steps; k++) text_add(t, k ? ",%d" : "%d", p->actions[k]);
    text_add(t, "]}\n");
}

static bool write_episodes(const char *folder, const char *name, const struct eval_episode *list,
                           int64_t n, struct error *e) {
    char path[PATH_SIZE];
    struct text lines = {0};
    for (int64_t i = 0; i < n; i++) add_episode(&lines, i, &list[i]);
    bool fine = path_join(path, folder, name, e) && file_write_atomic(path, lines.data, lines.n, e);
    text_deinit(&lines);
    return fine;
}

// ---- video: the best episode is played once more, by its actions

static void add_frame(uint8_t *pixels, const uint8_t *obs) {
    for (int i = 0; i < OBS_PIXELS; i++)
        pixels[i] =
            (uint8_t)(gb_obs_pixel(obs, i % ENV_OBS_WIDTH, i / ENV_OBS_WIDTH) * LEVELS_PER_SHADE);
}

// In machine 0, while the others wait.
static uint8_t *replay_episode(struct eval *v, const struct eval_episode *p) {
    size_t n = (size_t)v->env->n_envs;
    uint8_t *pixels = mem_alloc((size_t)(p->steps + 1) * OBS_PIXELS), *mask = mem_alloc(n);
    uint8_t *frame = mem_alloc(ENV_OBS_BYTES), **obs = mem_alloc(n * sizeof *obs);
    int32_t *actions = mem_alloc(n * sizeof *actions);
    struct env_step_result *results = mem_alloc(n * sizeof *results);
    mask[0] = 1;
    obs[0] = frame;
    env_delay_start(v->env, 0, p->start_frames);
    env_reset(v->env, mask, obs);
    add_frame(pixels, frame);
    for (int k = 0; k < p->steps; k++) {
        actions[0] = p->actions[k];
        env_step(v->env, mask, actions, obs, results);
        add_frame(pixels + (size_t)(k + 1) * OBS_PIXELS, frame);
    }
    free(mask);
    free(frame);
    free(obs);
    free(actions);
    free(results);
    return pixels;
}

static bool write_video(struct eval *v, const char *folder, struct error *e) {
    char gif[PATH_SIZE], mp4[PATH_SIZE];
    const struct eval_episode *p = &v->episodes[eval_best(v->episodes, v->opts.episodes)];
    if (!path_join(gif, folder, "best.gif", e) || !path_join(mp4, folder, "best.mp4", e))
        return false;
    uint8_t *pixels = replay_episode(v, p);
    struct video_frames frames = {.width = ENV_OBS_WIDTH,
                                  .height = ENV_OBS_HEIGHT,
                                  .n = p->steps + 1,
                                  .pixels = pixels,
                                  .frames_per_second = VIDEO_FRAMES_PER_SECOND,
                                  .scale = VIDEO_SCALE};
    struct error skipped = {0};
    bool fine = true;
    if (!video_write_mp4(mp4, &frames, &skipped)) {
        log_write(LOG_INFO, "no MP4, a GIF instead: %s", skipped.message);
        fine = video_write_gif(gif, &frames, e);
    }
    free(pixels);
    return fine;
}

// ---- the folder

static bool choose_folder(const struct eval *v, char out[PATH_SIZE], struct error *e) {
    char name[96];
    if (v->opts.out_dir) return path_join(out, v->opts.out_dir, "", e);
    snprintf(name, sizeof name, "eval/step_%09lld_%s%s", (long long)v->agent.opt_steps,
             eval_policy_names[v->opts.policy], v->opts.open_loop ? "_open_loop" : "");
    return path_join(out, v->agent.session, name, e);
}

bool eval_write(struct eval *v, char folder[PATH_SIZE], struct error *e) {
    char into[PATH_SIZE], path[PATH_SIZE];
    if (!choose_folder(v, into, e) || !file_make_folders(into, e) ||
        !path_join(path, into, "summary.json", e))
        return false;
    cJSON *summary = eval_json(v);
    bool fine = json_write_file(path, summary, false, e);
    cJSON_Delete(summary);
    if (fine && !v->opts.open_loop)
        fine = write_episodes(into, "episodes.jsonl", v->episodes, v->opts.episodes, e) &&
               (!eval_has_random(v) ||
                write_episodes(into, "random.jsonl", v->random, v->opts.episodes, e)) &&
               write_video(v, into, e);
    if (folder) memcpy(folder, into, PATH_SIZE);
    return fine;
}
