// The CPU gate passes, and every one of its checks turns red when the thing it checks is broken on
// purpose.
#define _GNU_SOURCE
#include "base/file.h"
#include "base/json.h"
#include "base/real.h"
#include "engine/algo/config.h"
#include "support/gate.h"

static const char golden[] = "tests/golden/dreamer_v3";

static const char *kernel_of(const cJSON *json) {
    return cJSON_GetStringValue(cJSON_GetObjectItem(json, "kernel"));
}

static void the_gate_passes_and_writes_its_summary(void **state) {
    (void)state;
    if (SANITIZED) skip(); // 850 updates
    char path[PATH_SIZE + 16];
    const char *verdict;
    struct error e = {0};
    snprintf(path, sizeof path, "%s/gate.json", test_folder());
    struct outcome o = run_gate(
        &(struct gate_opts){.kind = "cpu", .golden_dir = golden, .out_path = path, .n_threads = 2});
    if (o.status != STATUS_OK) fail_msg("%s", o.text);
    static const char *const checks[] = {"golden", "smoke", "standing_still static",
                                         "standing_still scroll", "dream scroll"};
    for (size_t i = 0; i < 5; i++) assert_check(&o, "pass", checks[i]);
    cJSON *json = json_read_file(path, 1 << 20, &e);
    assert_non_null(json);
    assert_true(json_get_string(json, "verdict", path, &verdict, &e));
    assert_string_equal(verdict, "passed");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "results")), 5);
    assert_null(strstr(kernel_of(json), "bf16"));
    cJSON_Delete(json);
}

static void a_model_that_does_not_learn_fails_standing_still(void **state) {
    (void)state;
    if (SANITIZED) skip(); // 850 updates
    const char *const slow[] = {"algo.world_model.optimizer.lr=1e-9",
                                "algo.per_rank_batch_size=2"}; // soon done
    struct outcome o = run_gate(&(struct gate_opts){
        .kind = "cpu", .golden_dir = golden, .n_threads = 2, .settings = slow, .n_settings = 2});
    assert_int_equal(o.status, STATUS_FAILED);
    assert_check(&o, "pass", "smoke");
    assert_check(&o, "FAIL", "standing_still static");
    assert_check(&o, "FAIL", "standing_still scroll");
    assert_check(&o, "FAIL", "dream scroll");
}

static void a_loss_that_is_not_finite_fails_smoke(void **state) {
    (void)state;
    const char *const overflow[] = {"algo.world_model.kl_regularizer=1e39"};
    struct outcome o = run_gate(&(struct gate_opts){.kind = "cpu",
                                                    .golden_dir = golden,
                                                    .n_threads = 2,
                                                    .settings = overflow,
                                                    .n_settings = 1});
    assert_int_equal(o.status, STATUS_FAILED);
    assert_check(&o, "FAIL", "smoke");
    assert_check(&o, "FAIL", "standing_still static");
}

static void an_altered_or_missing_fixture_fails_golden(void **state) {
    (void)state;
    char folder[PATH_SIZE], command[3 * PATH_SIZE];
    const char *const stop[] = {
        "algo.world_model.kl_regularizer=1e39"}; // the other checks end at once
    struct gate_opts opts = {
        .kind = "cpu", .golden_dir = folder, .n_threads = 2, .settings = stop, .n_settings = 1};
    snprintf(folder, sizeof folder, "%s", test_folder());
    struct outcome missing = run_gate(&opts);
    assert_check(&missing, "FAIL", "golden");
    snprintf(command, sizeof command,
             "cp %s/* '%s' && f='%s'/f19_gru_cell.safetensors && printf 'x' | dd of=\"$f\" bs=1 "
             "seek=$(($(stat -c %%s \"$f\") - 9)) conv=notrunc status=none",
             golden, folder, folder);
    assert_int_equal(system(command), 0);
    struct outcome altered = run_gate(&opts);
    assert_int_equal(altered.status, STATUS_FAILED);
    assert_check(&altered, "FAIL", "golden");
    assert_non_null(strstr(altered.text, "f19_gru_cell"));
}

// Every other way to a run's settings is its preset: none may switch bf16 on.
static void no_preset_is_in_bf16(void **state) {
    (void)state;
    for (int i = 0; config_presets[i]; i++) {
        struct config c;
        struct error e = {0};
        if (!config_init(&c, config_presets[i], &e)) fail_msg("%s", e.message);
        assert_false(c.autocast);
    }
}

// The summary names the precision, and bf16 has a check of its own.
static void a_gate_is_in_bf16_only_when_that_is_named(void **state) {
    (void)state;
    if (sizeof(real) != 4) skip();
    const char *const settings[] = {"algo.world_model.kl_regularizer=1e39", // the runs end at once
                                    "precision.autocast=true"};
    for (int n = 1; n <= 2; n++) {
        char path[PATH_SIZE + 16];
        struct error e = {0};
        snprintf(path, sizeof path, "%s/gate%d.json", test_folder(), n);
        struct outcome o = run_gate(&(struct gate_opts){.kind = "cpu",
                                                        .golden_dir = golden,
                                                        .out_path = path,
                                                        .n_threads = 2,
                                                        .settings = settings,
                                                        .n_settings = n});
        assert_check(&o, "pass", "golden");
        if (n == 2) assert_check(&o, "pass", "golden bf16");
        cJSON *json = json_read_file(path, 1 << 20, &e);
        assert_non_null(json);
        assert_int_equal(strstr(kernel_of(json), "bf16") != NULL, n == 2);
        assert_int_equal(strstr(o.text, "golden bf16") != NULL, n == 2);
        cJSON_Delete(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gate_passes_and_writes_its_summary),
        cmocka_unit_test(a_model_that_does_not_learn_fails_standing_still),
        cmocka_unit_test(a_loss_that_is_not_finite_fails_smoke),
        cmocka_unit_test(an_altered_or_missing_fixture_fails_golden),
        cmocka_unit_test(no_preset_is_in_bf16),
        cmocka_unit_test(a_gate_is_in_bf16_only_when_that_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
