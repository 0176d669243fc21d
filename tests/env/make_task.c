// make_task: turns recorded actions on a ROM into a goal task: start state, goal templates and
// stage files for both codecs.
//
//    make_task [-t] [-r EPISODES] ROM TASK_FOLDER MAX_STEPS TITLE
//
//    reads   TASK_FOLDER/start.txt      actions from power-on to the start, v1 names, one a line
//            TASK_FOLDER/solution_v0.txt, solution_v1.txt    actions from the start to the goal
//    writes  start.state, goal_v0/, goal_v1/, stage_v0.json, stage_v1.json beside them
//
// The goal is the picture after the last action of each solution. Replayed with the goal, the
// solution must be done at its last action and not before; so it ends with k_consecutive actions
// that leave the goal screen standing still. -t prints the distance after every action; -r plays
// that many episodes of a uniform random policy.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "emu/gb.h"
#include "engine/env/goal_trace.h"
#include "engine/env/task.h"

enum { MAX_ROM_BYTES = 8 << 20, MAX_TEXT_BYTES = 1 << 20 };

static const char *const codecs[2] = {"pokemonred_puffer_v0", "pokemonred_puffer_v1"};

struct maker {
    const char *rom_path, *folder, *title, *id;
    int max_steps, random_episodes;
    bool trace;
    uint8_t *rom, *state;
    size_t rom_bytes, state_bytes;
    char rom_sha256[SHA256_HEX_SIZE], state_sha256[SHA256_HEX_SIZE];
};

// One codec's recorded solution.
struct solution {
    const char *codec, *version; // "v0", "v1"
    char path[PATH_SIZE], sha256[SHA256_HEX_SIZE], goal_dir[PATH_SIZE];
    int32_t *actions;
    int n;
    struct goal_template goal;
    struct goal_rules rules;
};

static bool read_actions(const char *path, const char *codec, int32_t **actions, int *n,
                         char *sha256, struct error *e) {
    uint8_t *text;
    size_t bytes;
    if (!file_read(path, MAX_TEXT_BYTES, &text, &bytes, e)) return false;
    *actions = task_parse_actions((const char *)text, bytes, path, codec, n, e);
    if (sha256) sha256_hex(text, bytes, sha256);
    free(text);
    return *actions != NULL;
}

// Power-on, start.txt, state.
static bool make_start(struct maker *m, struct error *e) {
    char path[PATH_SIZE], message[GB_MESSAGE_SIZE];
    struct gb_rom rom;
    int32_t *actions;
    int n;
    if (!path_join(path, m->folder, "start.txt", e) ||
        !read_actions(path, codecs[1], &actions, &n, NULL, e))
        return false;
    if (!gb_rom_parse(&rom, m->rom, m->rom_bytes, message, sizeof message)) {
        free(actions);
        return error_set(e, STATUS_FAILED, "%s: %s", m->rom_path, message);
    }
    struct gb *gb = mem_alloc(sizeof *gb);
    uint8_t obs[GB_OBS_BYTES];
    gb_reset(gb, &rom);
    for (int i = 0; i < n; i++)
        gb_step(gb, gb_action_codec_find(codecs[1])->buttons[actions[i]], GB_FRAMES_PER_STEP,
                GB_RELEASE_AFTER, obs);
    m->state_bytes = gb_state_size(&rom);
    m->state = mem_alloc(m->state_bytes);
    gb_state_save(gb, m->state);
    sha256_hex(m->state, m->state_bytes, m->state_sha256);
    free(gb);
    free(actions);
    return path_join(path, m->folder, "start.state", e) &&
           file_write_atomic(path, m->state, m->state_bytes, e);
}

static struct env_gameboy_opts game_of(const struct maker *m, const struct solution *s) {
    return (struct env_gameboy_opts){.rom = m->rom,
                                     .rom_bytes = m->rom_bytes,
                                     .rom_name = m->rom_path,
                                     .state = m->state,
                                     .state_bytes = m->state_bytes,
                                     .state_name = "start.state",
                                     .action_codec = s->codec};
}

static struct env *make_env(const struct maker *m, const struct solution *s, struct error *e) {
    struct env_gameboy_opts opts = game_of(m, s);
    opts.goal = &s->goal.goal;
    opts.rules = &s->rules;
    return env_gameboy_new(&opts, e);
}

static bool capture_goal(const struct maker *m, struct solution *s, struct error *e) {
    const struct env_gameboy_opts game = game_of(m, s);
    const struct goal_trace trace = {gb_action_codec_find(s->codec), s->n, 1, s->actions};
    struct goal goal;
    if (!goal_capture(&game, &trace, 1, &goal, e)) return false;
    goal_make(&(struct goal_source){.action_codec_id = s->codec,
                                    .rom_path = m->rom_path,
                                    .rom_sha256 = m->rom_sha256,
                                    .state_path = "start.state",
                                    .state_sha256 = m->state_sha256,
                                    .actions_path = path_base(s->path),
                                    .actions_sha256 = s->sha256},
              &goal, &s->goal);
    return true;
}

// The time a template was made stays while it is the same template: a rebuild changes no file.
static void keep_created_at(struct solution *s) {
    struct goal_template *old = mem_alloc(sizeof *old);
    if (goal_load(s->goal_dir, &(struct goal_expect){0}, old, NULL) &&
        memcmp(old->goal.packed[0], s->goal.goal.packed[0], ENV_OBS_BYTES) == 0 &&
        strcmp(old->meta.rom_sha256, s->goal.meta.rom_sha256) == 0 &&
        strcmp(old->meta.state_sha256, s->goal.meta.state_sha256) == 0 &&
        strcmp(old->meta.actions_sha256, s->goal.meta.actions_sha256) == 0)
        memcpy(s->goal.meta.created_at, old->meta.created_at, sizeof old->meta.created_at);
    free(old);
}

static int count_turns(const struct solution *s, const struct env *env) {
    static const char *const directions[] = {"UP", "DOWN", "LEFT", "RIGHT"};
    int turns = 0, last = -1;
    for (int i = 0; i < s->n; i++)
        for (int d = 0; d < 4; d++)
            if (strcmp(env->action_names[s->actions[i]], directions[d]) == 0) {
                turns += last >= 0 && last != d;
                last = d;
            }
    return turns;
}

static bool replay(const struct maker *m, struct solution *s, struct error *e) {
    struct env *env = make_env(m, s, e);
    if (!env) return false;
    uint8_t frame[ENV_OBS_BYTES], *obs[1] = {frame};
    struct env_step_result r = {0};
    int t = 0;
    double sum = 0;
    float start = env_gameboy_start_distance(env);
    env_reset(env, (const uint8_t[1]){1}, obs);
    while (t < s->n && !r.terminated && !r.truncated) {
        env_step(env, (const uint8_t[1]){1}, &s->actions[t++], obs, &r);
        sum += (double)r.reward;
        if (m->trace)
            printf("  %s %3d %-6s distance %.4f reward %+.4f%s\n", s->version, t,
                   env->action_names[s->actions[t - 1]], (double)r.distance, (double)r.reward,
                   r.terminated ? " done" : "");
    }
    printf("%s %s: %d actions, %d turns, start distance %.4f (%.1f tau), return %.3f, %s\n", m->id,
           s->version, s->n, count_turns(s, env), (double)start, (double)(start / s->rules.tau),
           sum, r.terminated ? "done" : "not done");
    env_free(env);
    if (r.terminated && t == s->n) return true;
    return error_set(
        e, STATUS_FAILED,
        r.terminated ? "%s: done after %d of %d actions: cut the rest, or the goal is met too early"
                     : "%s: not done after %d of %d actions: end with a second action that changes "
                       "nothing, within max_steps",
        s->path, t, s->n);
}

static bool play_randomly(const struct maker *m, const struct solution *s, struct error *e) {
    struct env *env = make_env(m, s, e);
    if (!env) return false;
    uint8_t frame[ENV_OBS_BYTES], *obs[1] = {frame};
    uint64_t random = 1;
    int n_done = 0;
    for (int k = 0; k < m->random_episodes; k++) {
        struct env_step_result r = {0};
        env_reset(env, (const uint8_t[1]){1}, obs);
        while (!r.terminated && !r.truncated) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            int32_t action = (int32_t)((random >> 33) % (uint64_t)env->n_actions);
            env_step(env, (const uint8_t[1]){1}, &action, obs, &r);
        }
        n_done += r.terminated;
    }
    printf("%s %s: a random policy is done in %d of %d episodes\n", m->id, s->version, n_done,
           m->random_episodes);
    env_free(env);
    return true;
}

static bool write_stage(const struct maker *m, const struct solution *s, struct error *e) {
    char name[64], path[PATH_SIZE];
    struct stage stage = {.ready = true, .rules = s->rules};
    snprintf(stage.id, sizeof stage.id, "%s", m->id);
    snprintf(stage.name, sizeof stage.name, "%s", m->title);
    snprintf(stage.rom, sizeof stage.rom, "../../roms/%s", path_base(m->rom_path));
    snprintf(stage.start_state, sizeof stage.start_state, "start.state");
    snprintf(stage.goal_dir, sizeof stage.goal_dir, "goal_%s", s->version);
    snprintf(stage.solution, sizeof stage.solution, "solution_%s.txt", s->version);
    snprintf(stage.action_codec_id, sizeof stage.action_codec_id, "%s", s->codec);
    snprintf(name, sizeof name, "stage_%s.json", s->version);
    if (!path_join(path, m->folder, name, e)) return false;
    char *text = stage_to_text(&stage);
    bool fine = file_write_atomic(path, text, strlen(text), e);
    free(text);
    return fine;
}

static bool make_codec(const struct maker *m, const char *codec, struct error *e) {
    char name[64];
    struct solution *s = mem_alloc(sizeof *s);
    s->codec = codec;
    s->version = strrchr(codec, '_') + 1;
    s->rules = goal_default_rules;
    s->rules.max_steps = m->max_steps;
    snprintf(name, sizeof name, "solution_%s.txt", s->version);
    bool fine = path_join(s->path, m->folder, name, e);
    snprintf(name, sizeof name, "goal_%s", s->version);
    fine = fine && path_join(s->goal_dir, m->folder, name, e) &&
           read_actions(s->path, codec, &s->actions, &s->n, s->sha256, e) && capture_goal(m, s, e);
    if (fine) keep_created_at(s);
    fine = fine && replay(m, s, e) && goal_write(s->goal_dir, &s->goal, GOAL_REPLACE, e) &&
           write_stage(m, s, e) && (m->random_episodes == 0 || play_randomly(m, s, e));
    free(s->actions);
    free(s);
    return fine;
}

int main(int argc, char **argv) {
    struct maker m = {0};
    struct error e = {0};
    int option;
    while ((option = getopt(argc, argv, "tr:")) != -1) {
        if (option == '?') return STATUS_USAGE;
        if (option == 't') m.trace = true;
        if (option == 'r') m.random_episodes = atoi(optarg);
    }
    if (argc - optind != 4 || (m.max_steps = atoi(argv[optind + 2])) < 1) {
        fprintf(stderr, "usage: make_task [-t] [-r EPISODES] ROM TASK_FOLDER MAX_STEPS TITLE\n");
        return STATUS_USAGE;
    }
    m.rom_path = argv[optind];
    m.folder = argv[optind + 1];
    m.title = argv[optind + 3];
    m.id = path_base(m.folder);
    bool fine = file_read(m.rom_path, MAX_ROM_BYTES, &m.rom, &m.rom_bytes, &e);
    if (fine) {
        sha256_hex(m.rom, m.rom_bytes, m.rom_sha256);
        fine = make_start(&m, &e);
    }
    for (int i = 0; i < 2 && fine; i++) fine = make_codec(&m, codecs[i], &e);
    free(m.rom);
    free(m.state);
    if (!fine) fprintf(stderr, "make_task: %s\n", e.message);
    return fine ? 0 : (int)e.status;
}
