// Golden loader: every committed fixture loads; missing or altered ones fail with one clear line.
#include "support/files.h"
#include "support/golden.h"

#include <math.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/text.h"

static const char *folder_of_fixtures(void) {
    const char *folder = getenv("WORKBENCH_GOLDEN");
    return folder ? folder : "tests/golden/dreamer_v3";
}

static void every_fixture_of_the_manifest_loads(void **state) {
    (void)state;
    struct error e = {0};
    struct golden *g = golden_open(folder_of_fixtures(), &e);
    if (!g) fail_msg("%s", e.message);
    assert_true(golden_count(g) > 0);
    for (int i = 0; i < golden_count(g); i++) {
        struct golden_fixture *f = golden_load(g, golden_code(g, i), &e);
        if (!f) fail_msg("%s", e.message);
        assert_true(golden_tensor_count(f) > 0);
        for (int k = 0; k < golden_tensor_count(f); k++)
            if (golden_tensor_at(f, k)->role == GOLDEN_OUTPUT &&
                golden_tensor_at(f, k)->t->dtype == ST_F32) {
                const struct golden_tensor *t =
                    golden_tensor_at(f, k); // the reference matches itself
                if (!golden_match_f32(t, t->t->data, t->t->n_elements, &e))
                    fail_msg("%s", e.message);
            }
        golden_fixture_free(f);
    }
    golden_free(g);
}

// A folder with one fixture X01: tensors "in" F32[2], "out" F32[3] by element, "by_norm" F32[2],
// "exact" I32[2].
static const char *small_folder(void) {
    static char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", test_folder());
    char path[PATH_SIZE];
    struct error e = {0};
    static const float in[2] = {1, 2}, out[3] = {1, -100, 0}, by_norm[2] = {3, 4};
    static const int32_t exact[2] = {5, -6};
    const struct st_source list[] = {{"in", ST_F32, 1, {2}, in},
                                     {"out", ST_F32, 1, {3}, out},
                                     {"by_norm", ST_F32, 1, {2}, by_norm},
                                     {"exact", ST_I32, 1, {2}, exact}};
    assert_true(path_join(path, folder, "x01.safetensors", &e));
    assert_true(safetensors_write(path, list, 4, NULL, 0, &e));
    char hex[SHA256_HEX_SIZE];
    uint8_t *data;
    size_t n;
    assert_true(file_read(path, 1 << 20, &data, &n, &e));
    sha256_hex(data, n, hex);
    free(data);
    struct text t = {0};
    text_add(
        &t,
        "{\"format\":1,\"fixtures\":[{\"code\":\"X01\",\"about\":\"small\",\"file\":\"x01."
        "safetensors\","
        "\"bytes\":%zu,\"sha256\":\"%s\",\"tensors\":["
        "{\"name\":\"in\",\"dtype\":\"F32\",\"shape\":[2],\"role\":\"input\"},"
        "{\"name\":\"out\",\"dtype\":\"F32\",\"shape\":[3],\"role\":\"output\",\"abs\":0.01,"
        "\"rel\":0.001},"
        "{\"name\":\"by_norm\",\"dtype\":\"F32\",\"shape\":[2],\"role\":\"output\",\"l2\":0.1},"
        "{\"name\":\"exact\",\"dtype\":\"I32\",\"shape\":[2],\"role\":\"output\",\"abs\":0,\"rel\":"
        "0}]}]}",
        n, hex);
    assert_true(path_join(path, folder, "manifest.json", &e));
    put_file(path, t.data, t.n);
    text_deinit(&t);
    return folder;
}

static struct golden_fixture *small(struct golden **g) {
    struct error e = {0};
    *g = golden_open(small_folder(), &e);
    if (!*g) fail_msg("%s", e.message);
    struct golden_fixture *f = golden_load(*g, "X01", &e);
    if (!f) fail_msg("%s", e.message);
    return f;
}

static void matching_keeps_the_rule_of_the_manifest(void **state) {
    (void)state;
    struct golden *g;
    struct golden_fixture *f = small(&g);
    struct error e = {0};
    const struct golden_tensor *out = golden_find(f, "out"), *norm = golden_find(f, "by_norm");
    assert_true(golden_match_f32(out, (float[]){1.009f, -100.1f, 0.009f}, 3, &e));
    assert_false(golden_match_f32(out, (float[]){1.02f, -100.1f, 0.009f}, 3, &e));
    assert_non_null(strstr(e.message, "X01 out: 1 of 3 elements differ"));
    assert_false(golden_match_f32(out, (float[]){1, -100.2f, 0}, 3, &e));
    assert_false(golden_match_f32(out, (float[]){1, NAN, 0}, 3, &e));
    assert_false(golden_match_f32(out, (float[]){1, -100}, 2, &e));
    assert_true(golden_match_f32(norm, (float[]){3.3f, 4.3f}, 2, &e));
    assert_false(golden_match_f32(norm, (float[]){3.4f, 4.4f}, 2, &e));
    assert_false(golden_match_f32(norm, (float[]){NAN, 4}, 2, &e));
    assert_true(golden_match_i32(golden_find(f, "exact"), (int32_t[]){5, -6}, 2, &e));
    assert_false(golden_match_i32(golden_find(f, "exact"), (int32_t[]){5, 6}, 2, &e));
    assert_false(golden_match_f32(golden_find(f, "in"), (float[]){1, 2}, 2, &e));
    assert_false(golden_match_f32(golden_find(f, "absent"), (float[]){1, 2}, 2, &e));
    assert_true(golden_reals(f, golden_find(f, "exact"))[1] == -6);
    golden_fixture_free(f);
    golden_free(g);
}

static void a_missing_fixture_is_an_error(void **state) {
    (void)state;
    struct error e = {0};
    assert_null(golden_open("no/such/folder", &e));
    assert_non_null(strstr(e.message, "no/such/folder/manifest.json"));
    const char *folder = small_folder();
    struct golden *g = golden_open(folder, &e);
    assert_null(golden_load(g, "X02", &e));
    assert_non_null(strstr(e.message, "fixture X02 is missing"));
    char path[PATH_SIZE];
    path_join(path, folder, "x01.safetensors", &e);
    assert_int_equal(unlink(path), 0);
    assert_null(golden_load(g, "X01", &e));
    assert_non_null(strstr(e.message, "x01.safetensors: No such file"));
    golden_free(g);
}

static void an_altered_fixture_is_an_error(void **state) {
    (void)state;
    struct error e = {0};
    const char *folder = small_folder();
    char path[PATH_SIZE];
    uint8_t *data;
    size_t n;
    path_join(path, folder, "x01.safetensors", &e);
    assert_true(file_read(path, 1 << 20, &data, &n, &e));
    struct golden *g = golden_open(folder, &e);
    for (size_t i = 0; i < n; i += 7) {
        data[i] ^= 1;
        put_file(path, data, n);
        assert_null(golden_load(g, "X01", &e));
        assert_non_null(strstr(e.message, "restore it"));
        data[i] ^= 1;
    }
    put_file(path, data, n);
    struct golden_fixture *f = golden_load(g, "X01", &e);
    assert_non_null(f);
    golden_fixture_free(f);
    golden_free(g);
    free(data);
}

static void a_manifest_with_flipped_bits_never_crashes(void **state) {
    (void)state;
    struct error e = {0};
    const char *folder = small_folder();
    char path[PATH_SIZE];
    uint8_t *data;
    size_t n;
    path_join(path, folder, "manifest.json", &e);
    assert_true(file_read(path, 1 << 20, &data, &n, &e));
    for (size_t bit = 0; bit < n * 8; bit += 3) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_file(path, data, n);
        struct golden *g = golden_open(folder, &e);
        if (g) golden_fixture_free(golden_load(g, "X01", &e));
        golden_free(g);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fixture_of_the_manifest_loads),
        cmocka_unit_test(matching_keeps_the_rule_of_the_manifest),
        cmocka_unit_test(a_missing_fixture_is_an_error),
        cmocka_unit_test(an_altered_fixture_is_an_error),
        cmocka_unit_test(a_manifest_with_flipped_bits_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
