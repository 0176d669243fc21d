// A fixture that was altered is noticed: by its hash, and by its numbers where the hash was altered
// as well.
#include "support/test.h"

#include <ctype.h>

#include "base/hash.h"
#include "engine/algo/dreamer_v3/golden_checks.h"

static const char *const FOLDER = "tests/golden/dreamer_v3";
static const char *const FILE_NAME = "f09_layernorm.safetensors";

static char *read_text(const char *folder, const char *name, size_t *n) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *text = calloc(1, *n + 1);
    assert_int_equal(fread(text, 1, *n, f), *n);
    fclose(f);
    return text;
}

static void write_text(const char *folder, const char *name, const char *text, size_t n) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

// One check on a copy of manifest and fixture; false and the message when it fails.
static bool check_copy_of(const char *code, const char *folder, struct error *e) {
    struct pool *pool = pool_new(1);
    struct golden *g = golden_open(folder, e);
    bool ok = g && golden_check_run(golden_check_find(code), g, pool, e);
    golden_free(g);
    pool_free(pool);
    return ok;
}

static bool check_copy(const char *folder, struct error *e) {
    return check_copy_of("F09", folder, e);
}

// Copies manifest and fixture with byte `at` of the fixture changed; the manifest's hash follows if
// asked for.
static void copy_altered_file(const char *folder, const char *file, long at, uint8_t flip,
                              bool fix_hash) {
    size_t n, m;
    char *fixture = read_text(FOLDER, file, &n), *manifest = read_text(FOLDER, "manifest.json", &m);
    char before[SHA256_HEX_SIZE], after[SHA256_HEX_SIZE];
    sha256_hex(fixture, n, before);
    if (at < 0) at += (long)n;
    fixture[at] = (char)((uint8_t)fixture[at] ^ flip);
    sha256_hex(fixture, n, after);
    char *place = strstr(manifest, before);
    assert_non_null(place);
    if (fix_hash) memcpy(place, after, strlen(after));
    write_text(folder, file, fixture, n);
    write_text(folder, "manifest.json", manifest, m);
    free(fixture);
    free(manifest);
}

static void copy_altered(const char *folder, long at, uint8_t flip, bool fix_hash) {
    copy_altered_file(folder, FILE_NAME, at, flip, fix_hash);
}

// Where the data of a tensor begins in its file: header length, header, data at
// "name":{...,"data_offsets":[A,B]}.
static long data_offset(const char *file, const char *name) {
    size_t n;
    char *fixture = read_text(FOLDER, file, &n), key[300];
    uint64_t header;
    memcpy(&header, fixture, sizeof header);
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *entry = strstr(fixture + 8, key);
    assert_non_null(entry);
    long begin = strtol(strchr(strstr(entry, "data_offsets"), '[') + 1, NULL, 10);
    free(fixture);
    return 8 + (long)header + begin;
}

static void an_untouched_copy_passes(void **state) {
    (void)state;
    struct error e = {0};
    if (sizeof(real) != 4) skip();
    const char *folder = test_folder();
    copy_altered(folder, -1, 0, false);
    if (!check_copy(folder, &e)) fail_msg("%s", e.message);
}

static void one_flipped_bit_is_refused_with_the_file_named(void **state) {
    (void)state;
    struct error e = {0};
    const char *folder = test_folder();
    copy_altered(folder, -40, 1, false);
    assert_false(check_copy(folder, &e));
    assert_non_null(strstr(e.message, FILE_NAME));
}

static void one_wrong_number_is_named_with_what_was_got_and_expected(void **state) {
    (void)state;
    struct error e = {0};
    if (sizeof(real) != 4) skip();
    const char *folder = test_folder();
    enum { ELEMENT = 5, SIGN_BYTE = 3, SIGN = 0x80 };
    copy_altered(folder, data_offset(FILE_NAME, "y") + 4 * ELEMENT + SIGN_BYTE, SIGN, true);
    assert_false(check_copy(folder, &e));
    assert_non_null(strstr(e.message, "F09"));
    assert_non_null(strstr(e.message, " y"));
    assert_non_null(strstr(e.message, "element 5"));
    assert_non_null(strstr(e.message, "reference"));
}

// The file of a fixture, from the manifest: "f09_layernorm.safetensors" begins with the code in
// small letters.
static void file_of(const char *code, char out[128]) {
    size_t n;
    char *manifest = read_text(FOLDER, "manifest.json", &n), key[32];
    snprintf(key, sizeof key, "\"%s_", code);
    for (char *at = key; *at; at++) *at = (char)tolower((unsigned char)*at);
    const char *name = strstr(manifest, key);
    assert_non_null(name);
    snprintf(out, 128, "%.*s", (int)strcspn(name + 1, "\""), name + 1);
    free(manifest);
}

// The other fixtures that a check reads beside its own.
static void copy_helpers(const char *folder) {
    static const char *const files[] = {"f05_twohot_bins.safetensors", "f28_wm_loss.safetensors",
                                        "f28v_wm_loss_vector.safetensors"};
    for (int i = 0; i < 3; i++) {
        size_t n;
        char *fixture = read_text(FOLDER, files[i], &n);
        write_text(folder, files[i], fixture, n);
        free(fixture);
    }
}

static void every_check_fails_when_one_number_of_its_first_output_is_another(void **state) {
    (void)state;
    struct error e = {0};
    if (sizeof(real) != 4) skip();
    struct golden *g = golden_open(FOLDER, &e);
    assert_non_null(g);
    for (int i = 0; i < n_golden_checks; i++) {
        const char *code = golden_checks[i].code, *folder = test_folder();
        struct golden_fixture *f = golden_load(g, code, &e);
        assert_non_null(f);
        int k = 0;
        while (golden_tensor_at(f, k)->role != GOLDEN_OUTPUT) k++;
        const struct st_tensor *t = golden_tensor_at(f, k)->t;
        long at = t->n_elements / 2 * (long)st_dtype_bytes(t->dtype);
        char file[128];
        file_of(code, file);
        copy_helpers(folder);
        copy_altered_file(folder, file,
                          data_offset(file, t->name) + at + (t->dtype == ST_F32 ? 3 : 0),
                          t->dtype == ST_F32 ? 0x41 : 1, true);
        if (check_copy_of(code, folder, &e))
            fail_msg("%s does not notice a wrong number in %s", code, t->name);
        if (!strstr(e.message, code) || !strstr(e.message, t->name))
            fail_msg("%s %s: the message is: %s", code, t->name, e.message);
        golden_fixture_free(f);
    }
    golden_free(g);
}

static void a_missing_fixture_is_an_error_that_names_it(void **state) {
    (void)state;
    struct error e = {0};
    const char *folder = test_folder();
    char path[4200];
    copy_altered(folder, -1, 0, false);
    snprintf(path, sizeof path, "%s/%s", folder, FILE_NAME);
    assert_int_equal(unlink(path), 0);
    assert_false(check_copy(folder, &e));
    assert_non_null(strstr(e.message, FILE_NAME));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_untouched_copy_passes),
        cmocka_unit_test(one_flipped_bit_is_refused_with_the_file_named),
        cmocka_unit_test(one_wrong_number_is_named_with_what_was_got_and_expected),
        cmocka_unit_test(every_check_fails_when_one_number_of_its_first_output_is_another),
        cmocka_unit_test(a_missing_fixture_is_an_error_that_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
