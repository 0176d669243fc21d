// Parity checks: the table and how one is run.
#include "engine/algo/dreamer_v3/golden_checks.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/algo/dreamer_v3/golden_case.h"

const struct golden_check golden_checks[] = {
#define X(code, name, what) {#code, what, NULL, golden_##name},
    GOLDEN_CHECKS_TABLE(X)
#undef X
};
const int n_golden_checks = sizeof golden_checks / sizeof golden_checks[0];
const struct golden_check golden_check_bf16 = {
    "F51", "three whole training steps in bf16: losses near float32's", "F41",
    golden_mixed_precision};

// Outputs that our engine never has as numbers of their own.
static const struct {
    const char *code, *part, *why;
} not_compared[] = {
    {"F13", "._model.1", "LayerNorm and SiLU are one op"},
    {"F13", "._model.4", ""},
    {"F13", "._model.7", ""},
    {"F14", "layer.observation_model.cnn_decoder.model.2._model.1", ""},
    {"F14", "layer.observation_model.cnn_decoder.model.2._model.4", ""},
    {"F15", "layer.encoder.mlp_encoder.model._model.1", ""},
    {"F15", "layer.encoder.mlp_encoder.model._model.4", ""},
    {"F16", "layer.observation_model.mlp_decoder.model._model.1", ""},
    {"F16", "layer.observation_model.mlp_decoder.model._model.4", ""},
    {"F19", "reset", "the gates are one op"},
    {"F19", "cand", ""},
    {"F19", "update", ""},
    {"F35", ".discount", "ours ends where sheeprl's is used last"},
    {"F35", ".entropy", "ours ends where sheeprl's is used last"},
};

static bool may_be_left_out(const char *code, const char *name) {
    for (size_t i = 0; i < sizeof not_compared / sizeof not_compared[0]; i++)
        if (strcmp(not_compared[i].code, code) == 0 && strstr(name, not_compared[i].part))
            return true;
    return false;
}

// A check that looks at only part of its fixture would pass for the wrong reason.
static void check_complete(struct golden_case *c) {
    for (int i = 0; i < golden_tensor_count(c->fixture); i++) {
        const struct golden_tensor *t = golden_tensor_at(c->fixture, i);
        if (t->role == GOLDEN_OUTPUT && !c->compared[i] && !may_be_left_out(c->code, t->t->name))
            case_fail(c, "%s was not compared", t->t->name);
    }
}

bool golden_check_run(const struct golden_check *check, const struct golden *g, struct pool *pool,
                      struct error *e) {
    struct golden_fixture *fixture = golden_load(g, check->fixture ? check->fixture : check->code, e);
    if (!fixture) return false;
    struct golden_case *c = mem_alloc(sizeof *c);
    c->fixture = fixture;
    c->golden = g;
    c->code = check->code;
    c->pool = pool;
    case_end(c); // an ended case is an empty one
    c->compared = mem_alloc((size_t)golden_tensor_count(fixture) * sizeof *c->compared);
    check->run(c);
    case_end(c);
    if (!check->fixture) check_complete(c);
    free(c->compared);
    bool ok = !c->failed;
    if (!ok && e) *e = c->error;
    golden_fixture_free(fixture);
    free(c);
    return ok;
}

const struct golden_check *golden_check_find(const char *code) {
    for (int i = 0; i < n_golden_checks; i++)
        if (strcmp(golden_checks[i].code, code) == 0) return &golden_checks[i];
    return NULL;
}
