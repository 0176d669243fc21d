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
#include "engine/run/eval/eval_internal.h"

enum {
    VIDEO_FRAMES_PER_SECOND = 8,
    CONTROL_FRAMES_PER_SECOND = 20,
    VIDEO_SCALE = 4,
    LEVELS_PER_SHADE = 85
};
enum { OBS_PIXELS = ENV_OBS_HEIGHT * ENV_OBS_WIDTH };

// ---- summary

struct value {
    const char *key;
    double value;
};

static void add_values(cJSON *o, const struct value *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (isnan(values[i].value))
            cJSON_AddNullToObject(o, values[i].key);
        else
            json_add_double(o, values[i].key, values[i].value);
}

// Of a task without a goal.
static void add_returns(cJSON *o, const struct eval_stats *s) {
    const struct value values[] = {
        {"mean_return", s->mean_reward},     {"return_low", s->return_low},
        {"return_high", s->return_high},     {"return_std", s->return_std},
        {"median_return", s->median_return}, {"min_return", s->min_return},
        {"max_return", s->max_return},       {"mean_length", s->mean_length},
        {"action_entropy", s->entropy}};
    json_add_count(o, "episodes", s->episodes);
    add_values(o, values, sizeof values / sizeof *values);
}

static void add_stats(cJSON *o, const struct eval *v, const struct eval_stats *s) {
    if (v->agent.control) {
        add_returns(o, s);
        return;
    }
    json_add_count(o, "episodes", s->episodes);
    json_add_count(o, "successes", s->successes);
    const struct value values[] = {
        {"success_rate", s->rate},
        {"success_low", s->low},
        {"success_high", s->high},
        {"median_steps_to_goal", s->median_steps},
        {"steps_p50_success", s->median_steps}, // the same number (spec/ppo.md 4.4)
        {"min_steps_to_goal", s->min_steps},
        {"mean_return", s->mean_reward},
        {"return_mean_success", s->mean_reward_success},
        {"return_mean_fail", s->mean_reward_fail},
        {"mean_length", s->mean_length},
        {"dist_at_end_p50", s->median_distance},
        {"action_entropy", s->entropy}};
    add_values(o, values, sizeof values / sizeof *values);
}

static void add_picture_errors(cJSON *row, const struct eval_horizon *h) {
    json_add_count(row, "pictures", h->n);
    json_add_double(row, "mse", h->mse);
    json_add_double(row, "copy_mse", h->copy_mse);
    json_add_double(row, "shades", h->shades);
    json_add_double(row, "copy_shades", h->copy_shades);
    json_add_double(row, "wrong", h->wrong);
    json_add_double(row, "copy_wrong", h->copy_wrong);
}

static void add_vector_errors(cJSON *row, const struct eval_horizon *h) {
    json_add_count(row, "vectors", h->n);
    json_add_double(row, "vector_mse", h->vector_mse);
    json_add_double(row, "copy_vector_mse", h->copy_vector_mse);
}

static void add_horizons(cJSON *o, const struct eval *v) {
    cJSON *list = cJSON_AddArrayToObject(o, "open_loop");
    for (int k = 0; k < EVAL_HORIZON; k++) {
        const struct eval_horizon *h = &v->horizon[k];
        if (h->n == 0) break;
        cJSON *row = cJSON_CreateObject();
        json_add_count(row, "horizon", k + 1);
        if (v->agent.obs.pixels) add_picture_errors(row, h);
        if (v->agent.obs.n_vector) add_vector_errors(row, h);
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
    if (!v->agent.control) json_add_count(o, "warm_up_frames", v->opts.warm_up_frames);
    if (v->opts.zero_latent) json_add_bool(o, "zero_latent", true);
    add_stats(o, v, &r.policy_stats);
    if (v->opts.open_loop) {
        add_horizons(o, v);
        return o;
    }
    json_add_count(o, "best_episode", r.best);
    if (!eval_has_random(v)) return o;
    json_add_bool(o, "better_than_random",
                  v->agent.control ? r.policy_stats.return_low > r.random_stats.return_high
                                   : r.policy_stats.low > r.random_stats.high);
    add_stats(json_add_object(o, "random"), v, &r.random_stats);
    return o;
}

// ---- episodes

// A number a step; a list of them where an action has several.
static void add_action(struct text *t, const struct action_space *a, const float *action) {
    const int n = action_values(a);
    for (int i = 0; i < n; i++) {
        text_add(t, "%s", i ? "," : n > 1 ? "[" : "");
        if (a->n_continuous)
            text_add_json_float(t, action[i]);
        else
            text_add(t, "%d", (int)action[i]);
    }
    if (n > 1) text_add(t, "]");
}

static void add_actions(struct text *t, const struct action_space *a,
                        const struct eval_episode *p) {
    for (int i = 0; i < p->steps; i++) {
        if (i) text_add(t, ",");
        add_action(t, a, p->actions + i * action_values(a));
    }
}

static void add_episode(struct text *t, int64_t i, const struct action_space *a,
                        const struct eval_episode *p) {
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
    add_actions(t, a, p);
    text_add(t, "]}\n");
}

static bool write_episodes(const struct eval *v, const char *folder, const char *name,
                           const struct eval_episode *list, struct error *e) {
    char path[PATH_SIZE];
    struct text lines = {0};
    for (int64_t i = 0; i < v->opts.episodes; i++)
        add_episode(&lines, i, &v->agent.actions, &list[i]);
    bool fine = path_join(path, folder, name, e) && file_write_atomic(path, lines.data, lines.n, e);
    text_deinit(&lines);
    return fine;
}

static void add_step(struct text *t, int64_t episode, int i, const struct action_space *a,
                     const struct eval_episode *p) {
    const bool last = i + 1 == p->steps;
    text_add(t, "{\"episode_idx\":%lld,\"t\":%d,\"action\":", (long long)episode, i + 1);
    add_action(t, a, p->actions + i * action_values(a));
    text_add(t, ",\"reward\":");
    text_add_json_float(t, p->taken[i].reward);
    text_add(t, ",\"done\":%s,\"trunc\":%s,\"dist\":", last && p->success ? "true" : "false",
             last && p->truncated ? "true" : "false");
    text_add_json_float(t, p->taken[i].distance);
    text_add(t, "}\n");
}

bool eval_write_trajectory(const struct eval *v, const char *path, struct error *e) {
    struct text lines = {0};
    for (int64_t k = 0; k < v->opts.episodes; k++)
        for (int i = 0; i < v->episodes[k].steps; i++)
            add_step(&lines, k, i, &v->agent.actions, &v->episodes[k]);
    const bool fine = file_write_atomic(path, lines.data, lines.n, e);
    text_deinit(&lines);
    return fine;
}

// ---- video: the best episode is played once more, by its actions

// The picture of an observation, or one of its vector.
static void add_frame(const struct env *env, uint8_t *pixels, const uint8_t *obs) {
    uint8_t drawn[ENV_OBS_BYTES];
    if (!env->obs.pixels) {
        float *vector = mem_alloc(obs_bytes(&env->obs));
        memcpy(vector, obs, obs_bytes(&env->obs));
        env->vtable->draw(vector, drawn);
        free(vector);
        obs = drawn;
    }
    for (int i = 0; i < OBS_PIXELS; i++)
        pixels[i] =
            (uint8_t)(gb_obs_pixel(obs, i % ENV_OBS_WIDTH, i / ENV_OBS_WIDTH) * LEVELS_PER_SHADE);
}

// In machine 0, while the others wait.
static uint8_t *replay_episode(struct eval *v, const struct eval_episode *p) {
    size_t n = (size_t)v->env->n_envs;
    uint8_t *pixels = mem_alloc((size_t)(p->steps + 1) * OBS_PIXELS), *mask = mem_alloc(n);
    uint8_t *frame = mem_alloc(obs_bytes(&v->env->obs)), **obs = mem_alloc(n * sizeof *obs);
    const struct action_space *space = &v->env->actions;
    const int width = action_values(space);
    int32_t *actions = mem_alloc(n * (size_t)width * sizeof *actions);
    float *values = mem_alloc(n * (size_t)width * sizeof *values);
    struct env_step_result *results = mem_alloc(n * sizeof *results);
    mask[0] = 1;
    obs[0] = frame;
    env_delay_start(v->env, 0, p->start_frames);
    env_choose_start(v->env, 0, v->opts.seed, (uint64_t)(p - v->episodes));
    env_reset(v->env, mask, obs);
    add_frame(v->env, pixels, frame);
    for (int k = 0; k < p->steps; k++) {
        memcpy(values, p->actions + k * width, (size_t)width * sizeof *values);
        for (int i = 0; i < width; i++) actions[i] = (int32_t)values[i];
        if (space->n_continuous)
            env_step_values(v->env, mask, values, obs, results);
        else
            env_step(v->env, mask, actions, obs, results);
        add_frame(v->env, pixels + (size_t)(k + 1) * OBS_PIXELS, frame);
    }
    free(mask);
    free(frame);
    free(obs);
    free(actions);
    free(values);
    free(results);
    return pixels;
}

static bool write_video(struct eval *v, const char *folder, struct error *e) {
    char gif[PATH_SIZE], mp4[PATH_SIZE];
    const struct eval_episode *p = &v->episodes[eval_best(v->episodes, v->opts.episodes)];
    if (!path_join(gif, folder, "best.gif", e) || !path_join(mp4, folder, "best.mp4", e))
        return false;
    if (!v->env->obs.pixels && !v->env->vtable->draw) return true; // nothing to see
    uint8_t *pixels = replay_episode(v, p);
    struct video_frames frames = {.width = ENV_OBS_WIDTH,
                                  .height = ENV_OBS_HEIGHT,
                                  .n = p->steps + 1,
                                  .pixels = pixels,
                                  .frames_per_second = v->agent.control ? CONTROL_FRAMES_PER_SECOND
                                                                        : VIDEO_FRAMES_PER_SECOND,
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
    char name[112];
    if (v->opts.out_dir) return path_join(out, v->opts.out_dir, "", e);
    snprintf(name, sizeof name, "eval/step_%09lld_%s%s%s", (long long)v->agent.opt_steps,
             eval_policy_names[v->opts.policy], v->opts.open_loop ? "_open_loop" : "",
             v->opts.zero_latent ? "_zero_latent" : "");
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
        fine = write_episodes(v, into, "episodes.jsonl", v->episodes, e) &&
               (!eval_has_random(v) || write_episodes(v, into, "random.jsonl", v->random, e)) &&
               write_video(v, into, e);
    if (folder) memcpy(folder, into, PATH_SIZE);
    return fine;
}
