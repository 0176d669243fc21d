// Parameter sets: layout, lookup, CHECKs.
#include "base/mem.h"
#include "engine/graph/params.h"
#include "support/expect_abort.h"

static void slices_start_on_64_bytes_and_do_not_overlap(void **state) {
    (void)state;
    struct params p;
    params_init(&p);
    assert_int_equal(params_add(&p, "a", 1, (int64_t[]){3}), 0);
    assert_int_equal(params_add(&p, "b.weight", 2, (int64_t[]){5, 7}), 1);
    assert_int_equal(params_add(&p, "c", 4, (int64_t[]){2, 1, 4, 4}), 2);
    params_allocate(&p);
    assert_int_equal(p.n_weights, 3 + 35 + 32);
    int64_t end = 0;
    for (int i = 0; i < p.n; i++) {
        assert_int_equal((uintptr_t)params_weights(&p, &p.list[i]) % 64, 0);
        assert_int_equal((uintptr_t)params_grads(&p, &p.list[i]) % 64, 0);
        assert_true(p.list[i].offset >= end);
        end = p.list[i].offset + p.list[i].n_elements;
    }
    assert_true(p.n_flat >= end);
    for (int64_t i = 0; i < p.n_flat; i++)
        assert_true(p.weights[i] == 0 && p.grads[i] == 0 && p.moment1[i] == 0 && p.moment2[i] == 0);
    params_deinit(&p);
    assert_null(p.weights);
}

static void parameters_are_found_by_their_whole_name(void **state) {
    (void)state;
    struct params p;
    params_init(&p);
    for (int i = 0; i < 200; i++) {                       // more than the list begins with
        char name[32];
        snprintf(name, sizeof name, "layer.%d.weight", i);
        params_add(&p, name, 1, (int64_t[]){i + 1});
    }
    params_allocate(&p);
    assert_int_equal(params_find(&p, "layer.150.weight")->n_elements, 151);
    assert_null(params_find(&p, "layer.15"));
    assert_null(params_find(&p, ""));
    params_deinit(&p);
    params_deinit(&p);                                    // twice is fine
}

static void add_twice(void) {
    struct params p;
    params_init(&p);
    params_add(&p, "w", 1, (int64_t[]){3});
    params_add(&p, "w", 1, (int64_t[]){4});
}
static void add_after(void) {
    struct params p;
    params_init(&p);
    params_add(&p, "w", 1, (int64_t[]){3});
    params_allocate(&p);
    params_add(&p, "late", 1, (int64_t[]){4});
}
static void add_empty(void) {
    struct params p;
    params_init(&p);
    params_add(&p, "w", 2, (int64_t[]){3, 0});
}
static void mistakes_are_named(void **state) {
    (void)state;
    expect_abort(add_twice, "w: added twice");
    expect_abort(add_after, "late: parameters are added before params_allocate");
    expect_abort(add_empty, "w: dimension 1 is 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_start_on_64_bytes_and_do_not_overlap),
        cmocka_unit_test(parameters_are_found_by_their_whole_name),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
