// Goal tasks that are compiled into the program: embedded files read as if they came from outside.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/env/builtin.h"
#include "engine/env/task.h"

static const uint8_t *bytes_of(struct builtin_bytes b, size_t *n) {
    *n = (size_t)(b.end - b.begin);
    return b.begin;
}

static const struct builtin_goal *find_goal(const struct builtin_task *t, const char *codec,
                                            struct error *e) {
    if (!t->goals) {
        error_set(e, STATUS_USAGE, "task %s: a scene to look at, it has no goal", t->name);
        return NULL;
    }
    for (int i = 0; i < BUILTIN_N_CODECS; i++)
        if (strcmp(t->goals[i].action_codec_id, codec) == 0) return &t->goals[i];
    error_set(e, STATUS_USAGE, "task %s: made for %s and %s, this run has %s", t->name,
              t->goals[0].action_codec_id, t->goals[1].action_codec_id, codec);
    return NULL;
}

// The template's tau and k hold unless the stage file has its own.
static void set_rules(struct task *task, const struct stage *stage) {
    task->rules = stage->rules;
    if (!stage->has_tau) task->rules.tau = (float)task->goal.meta.tau;
    if (!stage->has_k) task->rules.k_consecutive = task->goal.meta.k_consecutive;
}

bool task_open_builtin(const char *name, const char *action_codec_id, struct task *out,
                       struct error *e) {
    const struct builtin_task *t = builtin_task_find(name);
    if (!t) {
        char known[300];
        builtin_task_names(known, sizeof known);
        return error_set(e, STATUS_USAGE, "no task %s; known: %s", name, known);
    }
    const struct builtin_goal *g = find_goal(t, action_codec_id, e);
    if (!g) return false;
    struct task *task = mem_alloc(sizeof *task);
    snprintf(task->name, sizeof task->name, "%s", name);
    task->rom = t->rom;
    task->rom_bytes = t->rom_bytes;
    task->state = bytes_of(t->state, &task->state_bytes);
    task_hash_parts(task);
    char where[128];
    snprintf(where, sizeof where, "task %s (built in)", name);
    struct goal_expect expect = {.action_codec_id = action_codec_id,
                                 .rom_sha256 = task->rom_sha256,
                                 .state_sha256 = task->state_sha256};
    size_t n_npy, n_meta, n_stage, n_solution;
    const uint8_t *npy = bytes_of(g->goal_npy, &n_npy), *meta = bytes_of(g->goal_meta, &n_meta);
    const uint8_t *stage_text = bytes_of(g->stage, &n_stage),
                  *solution = bytes_of(g->solution, &n_solution);
    struct stage *stage = mem_alloc(sizeof *stage);
    bool fine = stage_parse((const char *)stage_text, n_stage, where, NULL, stage, e) &&
                goal_parse(npy, n_npy, (const char *)meta, n_meta, where, &expect, &task->goal, e);
    if (fine) {
        set_rules(task, stage);
        task->solution = task_parse_actions((const char *)solution, n_solution, where,
                                            action_codec_id, &task->n_solution, e);
        fine = task->solution != NULL;
    }
    if (fine) *out = *task;
    free(stage);
    free(task);
    return fine;
}
