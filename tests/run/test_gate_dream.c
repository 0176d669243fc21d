// The gate's dream check fails, with its reason, on models that are broken on purpose. (A whole one
// passes it in test_gate.)
#include "base/real.h"
#include "engine/run/gate/gate_internal.h"
#include "support/test.h"

static struct check_result check(bool zero_latent, const char *setting) {
    const struct gate_opts opts = {.kind = "cpu",
                                   .n_threads = 2,
                                   .settings = &setting,
                                   .n_settings = setting != NULL,
                                   .zero_latent = zero_latent};
    static struct gate g;
    g = (struct gate){.opts = &opts, .out = stdout};
    gate_check_dream(&g);
    assert_int_equal(g.n_results, 1);
    assert_string_equal(g.results[0].name, "dream scroll");
    return g.results[0];
}

static void a_latent_that_is_zeroed_does_not_carry_the_scene(void **state) {
    (void)state;
    if (SANITIZED || sizeof(real) == 8) skip(); // 250 updates
    const struct check_result r = check(true, NULL);
    assert_false(r.passed);
    assert_non_null(strstr(r.detail, "the latent does not carry the scene"));
}

// Pictures are reconstructed as well as ever; nothing teaches the prior to follow the posterior.
static void a_prior_that_is_never_taught_does_not_predict(void **state) {
    (void)state;
    if (SANITIZED || sizeof(real) == 8) skip(); // 250 updates
    const struct check_result r = check(false, "algo.world_model.kl_regularizer=0");
    assert_false(r.passed);
    assert_null(strstr(r.detail, "the latent does not carry"));
    assert_non_null(strstr(r.detail, "the prior does not predict it"));
}

static void a_run_that_cannot_be_made_says_why(void **state) {
    (void)state;
    const struct check_result r = check(false, "algo.horizn=3");
    assert_false(r.passed);
    assert_non_null(strstr(r.detail, "algo.horizn"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_latent_that_is_zeroed_does_not_carry_the_scene),
        cmocka_unit_test(a_prior_that_is_never_taught_does_not_predict),
        cmocka_unit_test(a_run_that_cannot_be_made_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
