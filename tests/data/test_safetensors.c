// Safetensors: round trip, hostile headers, cut at every byte, flipped bits.
#include "support/test.h"

#include "base/file.h"
#include "base/philox.h"
#include "base/text.h"
#include "engine/data/safetensors.h"

static uint8_t *slurp(const char *path, size_t *n) {
    uint8_t *data;
    struct error e = {0};
    if (!file_read(path, 1 << 20, &data, n, &e)) fail_msg("%s", e.message);
    return data;
}

static void write_sample(const char *path) {
    static const float f[6] = {0, -0.0f, 1.5f, -2, 3e38f, 1e-40f};
    static const double d = 3.25;
    static const int64_t i64[2] = {INT64_MIN, INT64_MAX};
    static const int32_t i32[2] = {-7, 7};
    static const uint8_t u8[3] = {1, 2, 255}, b[2] = {0, 1};
    const struct st_source list[] = {
        {"z/u8 \"quoted\"", ST_U8, 1, {3}, u8}, {"weights/f", ST_F32, 2, {2, 3}, f},
        {"a/flag", ST_BOOL, 1, {2}, b},         {"scalar", ST_F64, 0, {0}, &d},
        {"i64", ST_I64, 1, {2}, i64},           {"i32", ST_I32, 1, {2}, i32},
        {"empty", ST_F32, 2, {0, 4}, f},
    };
    const struct st_text texts[] = {{"schema", "1"}, {"about", "line\nbreak \\ \"x\" \x01"}};
    struct error e = {0};
    if (!safetensors_write(path, list, 7, texts, 2, &e)) fail_msg("%s", e.message);
}

// The sample as its file's bytes; the caller frees.
static uint8_t *sample_bytes(size_t *n) {
    char path[PATH_SIZE];
    assert_true(path_join(path, test_folder(), "x", NULL));
    write_sample(path);
    return slurp(path, n);
}

static void what_was_written_reads_back_equal(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct error e = {0};
    path_join(path, test_folder(), "x.safetensors", &e);
    write_sample(path);
    struct safetensors *s = safetensors_open(path, &e);
    if (!s) fail_msg("%s", e.message);
    assert_int_equal(safetensors_count(s), 7);
    const struct st_tensor *t = safetensors_find(s, "weights/f");
    assert_non_null(t);
    assert_int_equal(t->n_elements, 6);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    const float expect[6] = {0, -0.0f, 1.5f, -2, 3e38f, 1e-40f};
    assert_memory_equal(t->data, expect, sizeof expect);
    assert_int_equal(((const int64_t *)safetensors_find(s, "i64")->data)[1], INT64_MAX);
    assert_true(*(const double *)safetensors_find(s, "scalar")->data == 3.25);
    assert_int_equal(safetensors_find(s, "scalar")->n_elements, 1);
    assert_int_equal(safetensors_find(s, "empty")->n_elements, 0);
    assert_int_equal(((const uint8_t *)safetensors_find(s, "z/u8 \"quoted\"")->data)[2], 255);
    assert_null(safetensors_find(s, "weights"));
    assert_string_equal(safetensors_text(s, "about"), "line\nbreak \\ \"x\" \x01");
    assert_null(safetensors_text(s, "other"));
    for (int i = 1; i < 7; i++)
        assert_true(strcmp(safetensors_at(s, i - 1)->name, safetensors_at(s, i)->name) < 0);
    safetensors_free(s);
}

static void the_same_tensors_in_any_order_give_the_same_bytes(void **state) {
    (void)state;
    char a[PATH_SIZE], b[PATH_SIZE];
    const char *folder = test_folder();
    struct error e = {0};
    path_join(a, folder, "a", &e);
    path_join(b, folder, "b", &e);
    const float f[2] = {1, 2};
    struct st_source list[3] = {
        {"a", ST_F32, 1, {2}, f}, {"b", ST_F32, 1, {2}, f}, {"c", ST_U8, 1, {8}, f}};
    struct st_text texts[2] = {{"k", "1"}, {"j", "2"}};
    assert_true(safetensors_write(a, list, 3, texts, 2, &e));
    struct st_source other[3] = {list[2], list[1], list[0]};
    struct st_text turned[2] = {texts[1], texts[0]};
    assert_true(safetensors_write(b, other, 3, turned, 2, &e));
    size_t n, m;
    uint8_t *x = slurp(a, &n), *y = slurp(b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void every_tensor_starts_aligned_in_the_file(void **state) {
    (void)state;
    size_t n;
    uint8_t *data = sample_bytes(&n);
    uint64_t header;
    memcpy(&header, data, 8);
    assert_int_equal(header % 8, 0);
    // The doubles and 64-bit integers stand first, then the floats, then the bytes.
    const char *text = (const char *)data + 8;
    assert_true(strstr(text, "\"i64\"") < strstr(text, "\"weights/f\""));
    assert_true(strstr(text, "\"weights/f\"") < strstr(text, "\"a/flag\""));
    free(data);
}

static void a_file_cut_at_any_byte_is_refused(void **state) {
    (void)state;
    struct error e = {0};
    size_t n;
    uint8_t *data = sample_bytes(&n);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *part = malloc(cut + 1); // its own block: the sanitizer sees reads beyond it
        memcpy(part, data, cut);
        e.message[0] = 0;
        struct safetensors *s = safetensors_parse(part, cut, "cut", &e);
        assert_null(s);
        assert_true(strlen(e.message) > 5 && strncmp(e.message, "cut", 3) == 0);
        free(part);
    }
    free(data);
}

static void flipped_bits_never_crash_and_headers_mostly_fail(void **state) {
    (void)state;
    struct error e = {0};
    size_t n;
    uint8_t *data = sample_bytes(&n);
    int n_read = 0;
    for (size_t bit = 0; bit < n * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct safetensors *s = safetensors_parse(data, n, "flipped", &e);
        if (s) {
            n_read++;
            for (int i = 0; i < safetensors_count(s); i++) {
                const struct st_tensor *t = safetensors_at(s, i);
                volatile uint8_t last = t->n_bytes ? ((const uint8_t *)t->data)[t->n_bytes - 1] : 0;
                (void)last;
            }
            safetensors_free(s);
        }
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (uint32_t round = 0; round < 20000; round++) { // several random bytes at once
        uint8_t *copy = malloc(n);
        memcpy(copy, data, n);
        for (uint32_t k = 0; k < 4; k++)
            copy[rng_below(1, RNG_TEST, round, 2 * k, (uint32_t)n)] =
                (uint8_t)rng_u32(1, RNG_TEST, round, 2 * k + 1);
        safetensors_free(safetensors_parse(copy, n, "mangled", &e));
        free(copy);
    }
    assert_true(n_read < (int)n * 8);
    free(data);
}

// Parses a header with `n_data` zero bytes behind it.
static struct safetensors *parse_header(const char *header, size_t n_data, struct error *e) {
    struct text t = {0};
    uint64_t n = strlen(header);
    text_add_bytes(&t, &n, 8);
    text_add_bytes(&t, header, n);
    for (size_t i = 0; i < n_data; i++) text_add_bytes(&t, "", 1);
    struct safetensors *s = safetensors_parse(t.data, t.n, "header", e);
    text_deinit(&t);
    return s;
}

static void hostile_headers_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        const char *message;
    } cases[] = {
        {"[]", 0, "not JSON"},
        {"{", 0, "too short|not a safetensors|valid"},
        {"{}", 1, "follow the last tensor"},
        {"{\"a\":1}", 0, "not an object"},
        {"{\"a\":{}}", 0, "no dtype"},
        {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,2]}}", 2, "BF16"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e30],\"data_offsets\":[0,4]}}", 4, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4503599627370496,4096],\"data_offsets\":[0,4]}}", 4,
         "overflow"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2147483648,1073741824,1],\"data_offsets\":[0,0]}}",
         0, "overflow"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "too many dim"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
         "does not fit its shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 4, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "no data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "hole"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
         6, "overlaps"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, "twice"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "not a text"},
        {"{\"__metadata__\":[]}", 0, "not an object"},
        {"{} x", 0, "follows"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error e = {0};
        assert_null(parse_header(cases[i].header, cases[i].n_data, &e));
        bool found = false;
        char wanted[100];
        snprintf(wanted, sizeof wanted, "%s", cases[i].message);
        for (char *save, *w = strtok_r(wanted, "|", &save); w; w = strtok_r(NULL, "|", &save))
            found |= strstr(e.message, w) != NULL;
        if (!found) fail_msg("case %zu: \"%s\" instead of \"%s\"", i, e.message, cases[i].message);
        assert_int_equal(e.status, STATUS_FAILED);
    }
}

static void a_deeply_nested_header_does_not_exhaust_the_stack(void **state) {
    (void)state;
    struct text t = {0};
    text_add(&t, "{\"a\":");
    for (int i = 0; i < 200000; i++) text_add_bytes(&t, "[", 1);
    struct error e = {0};
    assert_null(parse_header(t.data, 0, &e));
    assert_non_null(strstr(e.message, "nested"));
    text_deinit(&t);
}

static void an_absurd_header_length_is_refused(void **state) {
    (void)state;
    struct error e = {0};
    const uint8_t bytes[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, '{', '}'};
    assert_null(safetensors_parse(bytes, sizeof bytes, "absurd", &e));
    assert_non_null(strstr(e.message, "absurd: not a safetensors file"));
}

static void tensors_that_start_at_odd_offsets_are_read_aligned(void **state) {
    (void)state;
    struct error e = {0};
    struct safetensors *s =
        parse_header("{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                     "\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}",
                     5, &e);
    assert_non_null(s);
    assert_int_equal((uintptr_t)safetensors_find(s, "f")->data % 4, 0);
    safetensors_free(s);
}

static void a_wrong_shape_is_named_with_both_shapes(void **state) {
    (void)state;
    struct error e = {0};
    struct safetensors *s =
        parse_header("{\"f\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}", 8, &e);
    assert_non_null(s);
    assert_non_null(safetensors_expect(s, "f", ST_F32, 2, (int64_t[]){1, 2}, &e));
    assert_null(safetensors_expect(s, "f", ST_F32, 2, (int64_t[]){2, 1}, &e));
    assert_string_equal(e.message, "header: tensor \"f\" is F32[1,2], expected F32[2,1]");
    assert_null(safetensors_expect(s, "f", ST_F64, 2, (int64_t[]){1, 2}, &e));
    assert_null(safetensors_expect(s, "g", ST_F32, 0, NULL, &e));
    assert_string_equal(e.message, "header: tensor \"g\" is missing");
    safetensors_free(s);
}

static void a_missing_file_and_a_missing_folder_give_one_line(void **state) {
    (void)state;
    struct error e = {0};
    assert_null(safetensors_open("no/such/file", &e));
    assert_string_equal(e.message,
                        "cannot open no/such/file: No such file or directory; check the path");
    assert_false(safetensors_write("no/such/file", NULL, 0, NULL, 0, &e));
    assert_int_equal(e.status, STATUS_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_reads_back_equal),
        cmocka_unit_test(the_same_tensors_in_any_order_give_the_same_bytes),
        cmocka_unit_test(every_tensor_starts_aligned_in_the_file),
        cmocka_unit_test(a_file_cut_at_any_byte_is_refused),
        cmocka_unit_test(flipped_bits_never_crash_and_headers_mostly_fail),
        cmocka_unit_test(hostile_headers_are_refused_by_name),
        cmocka_unit_test(a_deeply_nested_header_does_not_exhaust_the_stack),
        cmocka_unit_test(an_absurd_header_length_is_refused),
        cmocka_unit_test(tensors_that_start_at_odd_offsets_are_read_aligned),
        cmocka_unit_test(a_wrong_shape_is_named_with_both_shapes),
        cmocka_unit_test(a_missing_file_and_a_missing_folder_give_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
