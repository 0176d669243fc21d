// Checkpoints: round trip, equal bytes, refusal of broken, foreign and non-finite files.
#include "support/files.h"

#include <math.h>

#include "base/philox.h"
#include "engine/data/checkpoint.h"

static void make_params(struct params *p, int hidden) {
    params_init(p);
    params_add(p, "encoder.weight", 2, (int64_t[]){3, hidden});
    params_add(p, "encoder.bias", 1, (int64_t[]){3});
    params_add(p, "rssm.initial_recurrent_state", 1, (int64_t[]){hidden});
    params_allocate(p);
    for (int i = 0; i < p->n; i++)
        for (int64_t k = 0; k < p->list[i].n_elements; k++) {
            int64_t at = p->list[i].offset + k;
            p->weights[at] = (real)rng_uniform(1, RNG_TEST, 0, (uint32_t)at) - (real)0.5;
            p->moment1[at] = (real)rng_uniform(1, RNG_TEST, 1, (uint32_t)at);
            p->moment2[at] = (real)rng_uniform(1, RNG_TEST, 2, (uint32_t)at);
        }
}

struct steps {
    int64_t opt, env;
    struct checkpoint_scalar list[2];
};

static struct checkpoint describe(struct params *p, struct steps *s, const char *hash) {
    s->list[0] = (struct checkpoint_scalar){"opt_steps", &s->opt};
    s->list[1] = (struct checkpoint_scalar){"env_steps", &s->env};
    return (struct checkpoint){
        .params = p, .config_sha256 = hash, .scalars = s->list, .n_scalars = 2};
}

static void save_sample(const char *path) {
    struct params p;
    struct steps s = {.opt = 300, .env = INT64_MAX};
    struct error e = {0};
    make_params(&p, 4);
    struct checkpoint c = describe(&p, &s, "cafe");
    if (!checkpoint_save(path, &c, &e)) fail_msg("%s", e.message);
    params_deinit(&p);
}

static void a_checkpoint_brings_back_weights_moments_and_counters(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct error e = {0};
    struct params p, q;
    struct steps s = {0};
    path_join(path, test_folder(), "step_000000300.safetensors", &e);
    save_sample(path);
    make_params(&p, 4);
    make_params(&q, 4);
    for (int64_t i = 0; i < q.n_flat; i++) q.weights[i] = q.moment1[i] = q.moment2[i] = 0;
    struct checkpoint c = describe(&q, &s, "cafe");
    if (!checkpoint_load(path, &c, NULL, &e)) fail_msg("%s", e.message);
    size_t bytes = (size_t)p.n_flat * sizeof(real);
    assert_memory_equal(p.weights, q.weights, bytes);
    assert_memory_equal(p.moment1, q.moment1, bytes);
    assert_memory_equal(p.moment2, q.moment2, bytes);
    assert_int_equal(s.opt, 300);
    assert_true(s.env == INT64_MAX);
    c.config_sha256 = NULL; // any configuration will do
    assert_true(checkpoint_load(path, &c, NULL, &e));
    params_deinit(&p);
    params_deinit(&q);
}

static void make_actor(struct params *p, real value) {
    params_init(p);
    params_add(p, "actor.weight", 1, (int64_t[]){5});
    params_allocate(p);
    for (int i = 0; i < 5; i++) p->weights[i] = value + (real)i, p->moment2[i] = value;
}

// Two sets in one file; a reader that knows only one of them refuses it.
static void several_parameter_sets_travel_in_one_checkpoint(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct error e = {0};
    struct params p, actor, again;
    struct steps s = {.opt = 3, .env = 4};
    path_join(path, test_folder(), "two.safetensors", &e);
    make_params(&p, 4);
    make_actor(&actor, 7);
    make_actor(&again, 0);
    struct checkpoint c = describe(&p, &s, "cafe");
    c.more_params = (struct params *[]){&actor};
    c.n_more_params = 1;
    if (!checkpoint_save(path, &c, &e)) fail_msg("%s", e.message);
    c.more_params = (struct params *[]){&again};
    if (!checkpoint_load(path, &c, NULL, &e)) fail_msg("%s", e.message);
    assert_memory_equal(actor.weights, again.weights, 5 * sizeof(real));
    assert_memory_equal(actor.moment2, again.moment2, 5 * sizeof(real));
    c.n_more_params = 0;
    assert_false(checkpoint_load(path, &c, NULL, &e));
    assert_non_null(strstr(e.message, "actor.weight"));
    params_deinit(&p);
    params_deinit(&actor);
    params_deinit(&again);
}

static void equal_runs_write_equal_checkpoints(void **state) {
    (void)state;
    char path[2][PATH_SIZE];
    uint8_t *data[2];
    size_t n[2];
    struct error e = {0};
    for (int i = 0; i < 2; i++) {
        path_join(path[i], test_folder(), "c", &e);
        save_sample(path[i]);
        assert_true(file_read(path[i], 1 << 20, &data[i], &n[i], &e));
        if (i == 0) sleep(1); // a clock inside would show
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(data[0], data[1], n[0]);
    for (size_t i = 0; i + 4 < n[0]; i++) assert_true(memcmp(data[0] + i, "/tmp", 4) != 0);
    free(data[0]);
    free(data[1]);
}

static void extra_tensors_travel_along(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct error e = {0};
    struct params p;
    struct steps s = {.opt = 1, .env = 2};
    path_join(path, test_folder(), "c", &e);
    make_params(&p, 4);
    struct checkpoint c = describe(&p, &s, NULL);
    const uint8_t bytes[3] = {7, 8, 9};
    const struct st_source extra = {"replay/obs", ST_U8, 1, {3}, bytes};
    c.extra = &extra;
    c.n_extra = 1;
    assert_true(checkpoint_save(path, &c, &e));
    struct safetensors *file;
    assert_true(checkpoint_load(path, &c, &file, &e));
    assert_memory_equal(safetensors_find(file, "replay/obs")->data, bytes, 3);
    safetensors_free(file);
    params_deinit(&p);
}

// Loads into fresh parameters and checks that a refusal changed nothing.
static void assert_refused(const char *path, int hidden, const char *hash, const char *message) {
    struct params p, before;
    struct steps s = {.opt = -1, .env = -1};
    struct error e = {0};
    make_params(&p, hidden);
    make_params(&before, hidden);
    struct checkpoint c = describe(&p, &s, hash);
    struct safetensors *file = NULL;
    assert_false(checkpoint_load(path, &c, &file, &e));
    assert_null(file);
    if (!strstr(e.message, message)) fail_msg("\"%s\" instead of \"%s\"", e.message, message);
    assert_memory_equal(p.weights, before.weights, (size_t)p.n_flat * sizeof(real));
    assert_memory_equal(p.moment1, before.moment1, (size_t)p.n_flat * sizeof(real));
    assert_int_equal(s.opt, -1);
    params_deinit(&p);
    params_deinit(&before);
}

static void foreign_and_wrong_version_files_are_refused_in_one_line(void **state) {
    (void)state;
    char path[PATH_SIZE];
    const char *folder = test_folder();
    struct error e = {0};
    path_join(path, folder, "c", &e);
    assert_refused(path, 4, NULL, "No such file");
    save_sample(path);
    assert_refused(path, 4, "beef", "another configuration");
    assert_refused(path, 5, NULL, "expected F");
    assert_true(safetensors_write(path, NULL, 0, NULL, 0, &e));
    assert_refused(path, 4, NULL, "not a checkpoint");
    const struct st_text old[] = {{"format", "workbench checkpoint"}, {"schema", "0"}};
    assert_true(safetensors_write(path, NULL, 0, old, 2, &e));
    assert_refused(path, 4, NULL, "checkpoint version 0, this program reads version 1");
    const struct st_text now[] = {{"format", "workbench checkpoint"},
                                  {"schema", CHECKPOINT_SCHEMA}};
    assert_true(safetensors_write(path, NULL, 0, now, 2, &e));
    assert_refused(path, 4, NULL, "\"weights/encoder.weight\" is missing");
}

static void numbers_that_are_not_finite_are_refused(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct error e = {0};
    path_join(path, test_folder(), "c", &e);
    const real bad[] = {(real)NAN, (real)INFINITY, -(real)INFINITY};
    for (int i = 0; i < 3; i++) {
        struct params p;
        struct steps s = {0};
        make_params(&p, 4);
        p.moment2[p.list[1].offset + 1] = bad[i];
        struct checkpoint c = describe(&p, &s, NULL);
        assert_true(checkpoint_save(path, &c, &e));
        assert_refused(path, 4, NULL, "\"adam_v/encoder.bias\" holds numbers that are not finite");
        params_deinit(&p);
    }
}

static void a_checkpoint_of_a_larger_model_is_refused(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct error e = {0};
    path_join(path, test_folder(), "c", &e);
    struct params p;
    struct steps s = {0};
    params_init(&p);
    params_add(&p, "encoder.weight", 2, (int64_t[]){3, 4});
    params_add(&p, "encoder.bias", 1, (int64_t[]){3});
    params_add(&p, "rssm.initial_recurrent_state", 1, (int64_t[]){4});
    params_add(&p, "actor.weight", 1, (int64_t[]){4});
    params_allocate(&p);
    struct checkpoint c = describe(&p, &s, NULL);
    assert_true(checkpoint_save(path, &c, &e));
    assert_refused(path, 4, NULL, "actor.weight\" belongs to another model");
    params_deinit(&p);
}

static void
a_checkpoint_cut_anywhere_or_with_flipped_header_bits_never_loads_wrongly(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct error e = {0};
    path_join(path, test_folder(), "c", &e);
    save_sample(path);
    uint8_t *data;
    size_t n;
    assert_true(file_read(path, 1 << 20, &data, &n, &e));
    for (size_t cut = 0; cut < n; cut += 1 + cut / 97) {
        put_file(path, data, cut);
        assert_refused(path, 4, "cafe", "");
    }
    uint64_t header;
    memcpy(&header, data, 8);
    for (size_t bit = 0; bit < (8 + header) * 8; bit += 5) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_file(path, data, n);
        struct params p;
        struct steps s = {0};
        make_params(&p, 4);
        struct checkpoint c = describe(&p, &s, "cafe");
        checkpoint_load(path, &c, NULL,
                        &e); // must not crash; padding and spaces may flip unnoticed
        params_deinit(&p);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_brings_back_weights_moments_and_counters),
        cmocka_unit_test(several_parameter_sets_travel_in_one_checkpoint),
        cmocka_unit_test(equal_runs_write_equal_checkpoints),
        cmocka_unit_test(extra_tensors_travel_along),
        cmocka_unit_test(foreign_and_wrong_version_files_are_refused_in_one_line),
        cmocka_unit_test(numbers_that_are_not_finite_are_refused),
        cmocka_unit_test(a_checkpoint_of_a_larger_model_is_refused),
        cmocka_unit_test(a_checkpoint_cut_anywhere_or_with_flipped_header_bits_never_loads_wrongly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
