// Export: weights under sheeprl's names, byte for byte there and back; what does not fit is
// refused.
#include "support/eval_session.h"

#include <math.h>

#include "engine/data/checkpoint.h"
#include "engine/data/safetensors.h"
#include "engine/data/session.h"
#include "engine/run/eval/export.h"

static void open_agent(struct saved_agent *a, const char *path, bool load) {
    struct error e = {0};
    if (!saved_agent_open(a, path, &e) || (load && !saved_agent_load(a, &e)))
        fail_msg("%s", e.message);
}

static const char *in_folder(const char *folder, const char *name) {
    static char path[4][PATH_SIZE];
    static int next;
    struct error e = {0};
    char *out = path[next++ % 4];
    assert_true(path_join(out, folder, name, &e));
    return out;
}

static void export_agent(const char *session, const char *to) {
    struct saved_agent a;
    struct error e = {0};
    open_agent(&a, session, true);
    if (!export_sheeprl(&a, to, &e)) fail_msg("%s", e.message);
    saved_agent_close(&a);
}

static void import_agent(const char *session, const char *from, const char *to) {
    struct saved_agent a;
    struct error e = {0};
    open_agent(&a, session, false);
    if (!import_sheeprl(&a, from, to, &e)) fail_msg("%s", e.message);
    saved_agent_close(&a);
}

static void assert_same_files(const char *a, const char *b) {
    size_t n, m;
    void *x = get_file(a, &n), *y = get_file(b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void round_trip(const char *task, int n_dicts) {
    static const char *const dicts[] = {"world_model.rssm.initial_recurrent_state",
                                        "actor.mlp_heads.0.weight", "critic._model.0.weight",
                                        "target_critic._model.0.weight", "moments.low"};
    char session[SESSION_SIZE];
    struct error e = {0};
    make_session(&(struct run_opts){.task = task}, session);
    const char *folder = test_folder(), *first = in_folder(folder, "a.safetensors"),
               *second = in_folder(folder, "b.safetensors");
    const char *checkpoint = in_folder(session, "checkpoints/step_000000002.safetensors");
    export_agent(session, first);
    struct safetensors *s = safetensors_open(first, &e);
    if (!s) fail_msg("%s", e.message);
    for (int i = 0; i < 5; i++)
        assert_int_equal(safetensors_find(s, dicts[i]) != NULL, i < n_dicts);
    safetensors_free(s);

    import_agent(session, first, checkpoint);
    struct saved_agent before, after;
    int64_t step;
    char newest[PATH_SIZE];
    assert_true(session_newest_checkpoint(session, newest, &step, &e) && step == 2);
    open_agent(&before, in_folder(session, "checkpoints/step_000000001.safetensors"), true);
    open_agent(&after, checkpoint, true);
    assert_int_equal(before.opt_steps, 1);
    assert_int_equal(after.opt_steps, 0);
    for (int i = 0; i < before.n_sets; i++)
        assert_memory_equal(before.sets[i].weights, after.sets[i].weights,
                            (size_t)before.sets[i].n_flat * sizeof(real));
    assert_memory_equal(before.range, after.range, sizeof before.range);
    saved_agent_close(&before);
    saved_agent_close(&after);
    export_agent(checkpoint, second);
    assert_same_files(first, second);
}

static void an_agent_comes_back_byte_for_byte(void **state) {
    (void)state;
    round_trip("exit_lab", 5);
}

static void a_state_that_is_not_learned_is_zeros_there(void **state) {
    (void)state;
    static const char *const keys[] = {"algo.learning_starts=40", "env.num_envs=2",
                                       "algo.per_rank_batch_size=2",
                                       "algo.per_rank_sequence_length=16",
                                       "algo.world_model.learnable_initial_recurrent_state=false"};
    char session[SESSION_SIZE];
    struct error e = {0};
    make_session(&(struct run_opts){.task = "exit_lab", .settings = keys, .n_settings = 5},
                 session);
    const char *folder = test_folder(), *first = in_folder(folder, "a.safetensors"),
               *second = in_folder(folder, "b.safetensors");
    const char *checkpoint = in_folder(session, "checkpoints/step_000000002.safetensors");
    export_agent(session, first);
    struct safetensors *s = safetensors_open(first, &e);
    if (!s) fail_msg("%s", e.message);
    const struct st_tensor *t = safetensors_find(s, "world_model.rssm.initial_recurrent_state");
    assert_non_null(t);
    assert_int_equal(t->n_elements, 8);
    for (int i = 0; i < 8; i++) assert_true(((const float *)t->data)[i] == 0);
    safetensors_free(s);
    import_agent(session, first, checkpoint);
    export_agent(checkpoint, second);
    assert_same_files(first, second);
    // Weights of an agent that learned it do not fit.
    char learned[SESSION_SIZE];
    struct saved_agent a;
    make_session(&(struct run_opts){.task = "exit_lab"}, learned);
    export_agent(learned, first);
    open_agent(&a, session, false);
    assert_false(import_sheeprl(&a, first, second, &e));
    assert_non_null(strstr(e.message, "initial_recurrent_state"));
    saved_agent_close(&a);
}

static void a_world_model_alone_comes_back_byte_for_byte(void **state) {
    (void)state;
    round_trip("static", 1);
}

// ---- refusals

// The exported file with one tensor changed: dropped, renamed, not finite, reshaped, or one more.
enum change { NOTHING, WRAPPED, DROPPED, NOT_FINITE, RESHAPED, ONE_MORE };

static void write_changed(const char *from, const char *to, enum change change) {
    struct error e = {0};
    struct safetensors *s = safetensors_open(from, &e);
    if (!s) fail_msg("%s", e.message);
    int n = safetensors_count(s), count = 0;
    struct st_source *list = calloc((size_t)n + 1, sizeof *list);
    char(*names)[ST_NAME_SIZE] = calloc((size_t)n, sizeof *names);
    float bad[4096] = {0};
    bad[3] = NAN;
    for (int i = 0; i < n; i++) {
        const struct st_tensor *t = safetensors_at(s, i);
        bool chosen = strcmp(t->name, "actor.mlp_heads.0.weight") == 0;
        if (chosen && change == DROPPED) continue;
        struct st_source *out = &list[count++];
        *out = (struct st_source){
            .name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->data};
        memcpy(out->shape, t->shape, sizeof t->shape);
        if (chosen && change == NOT_FINITE) out->data = bad;
        if (chosen && change == RESHAPED) out->n_dims = 1, out->shape[0] = t->n_elements;
        if (change == WRAPPED) {
            const char *dot = strchr(t->name, '.');
            snprintf(names[i], sizeof names[i], "%.*s._forward_module%.200s", (int)(dot - t->name),
                     t->name, dot);
            out->name = names[i];
        }
    }
    if (change == ONE_MORE)
        list[count++] = (struct st_source){.name = "actor.extra", .dtype = ST_F32, .data = &bad[0]};
    if (!safetensors_write(to, list, count, NULL, 0, &e)) fail_msg("%s", e.message);
    free(list);
    free(names);
    safetensors_free(s);
}

static void weights_that_do_not_fit_are_refused_and_wrapped_names_are_not(void **state) {
    (void)state;
    static const struct {
        enum change change;
        const char *says;
    } table[] = {{NOTHING, NULL},
                 {WRAPPED, NULL},
                 {DROPPED, "\"actor.mlp_heads.0.weight\" is missing"},
                 {NOT_FINITE, "not finite"},
                 {RESHAPED, "in 1 dimensions, the session 64 of F32 in 2"},
                 {ONE_MORE, "another model"}};
    char session[SESSION_SIZE];
    make_session(&(struct run_opts){.task = "exit_lab"}, session);
    const char *folder = test_folder();
    char whole[PATH_SIZE], changed[PATH_SIZE], out[PATH_SIZE];
    strcpy(whole, in_folder(folder, "whole.safetensors"));
    strcpy(changed, in_folder(folder, "changed.safetensors"));
    strcpy(out, in_folder(folder, "out.safetensors"));
    export_agent(session, whole);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct saved_agent a;
        struct error e = {0};
        write_changed(whole, changed, table[i].change);
        open_agent(&a, session, false);
        unlink(out);
        bool fine = import_sheeprl(&a, changed, out, &e);
        saved_agent_close(&a);
        assert_int_equal(fine, table[i].says == NULL);
        assert_int_equal(file_exists(out), fine);
        if (fine) continue;
        if (!strstr(e.message, table[i].says)) fail_msg("%s", e.message);
        assert_null(strchr(e.message, '\n'));
    }
}

// The official profile's layers are none of sheeprl's.
static void a_session_of_another_profile_is_refused_both_ways(void **state) {
    (void)state;
    static const char *const keys[] = {
        "algo.profile=official",      "algo.world_model.recurrent_model.blocks=4",
        "algo.learning_starts=40",    "env.num_envs=2",
        "algo.per_rank_batch_size=2", "algo.per_rank_sequence_length=16"};
    char session[SESSION_SIZE], other[SESSION_SIZE];
    const char *folder = test_folder(), *out = in_folder(folder, "a.safetensors"),
               *whole = in_folder(folder, "b.safetensors");
    struct saved_agent a;
    make_session(&(struct run_opts){.task = "exit_lab", .settings = keys, .n_settings = 6},
                 session);
    make_session(&(struct run_opts){.task = "exit_lab"}, other);
    export_agent(other, whole);
    for (int import = 0; import < 2; import++) {
        struct error e = {0};
        open_agent(&a, session, true);
        assert_false(import ? import_sheeprl(&a, whole, out, &e) : export_sheeprl(&a, out, &e));
        assert_int_equal(e.status, STATUS_USAGE);
        if (!strstr(e.message, "algo.profile=official") || !strstr(e.message, session) ||
            strchr(e.message, '\n'))
            fail_msg("%s", e.message);
        assert_false(file_exists(out));
        saved_agent_close(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_comes_back_byte_for_byte),
        cmocka_unit_test(a_state_that_is_not_learned_is_zeros_there),
        cmocka_unit_test(a_world_model_alone_comes_back_byte_for_byte),
        cmocka_unit_test(a_session_of_another_profile_is_refused_both_ways),
        cmocka_unit_test(weights_that_do_not_fit_are_refused_and_wrapped_names_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
