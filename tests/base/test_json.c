// JSON: limits, one-line errors that name file and key, exact 64-bit integers, non-finite numbers.
#include "support/files.h"

#include <math.h>

#include "base/json.h"
#include "base/text.h"

static cJSON *parse(const char *text, struct error *e) {
    return json_parse(text, strlen(text), "f.json", e);
}

static void what_is_not_one_json_value_is_refused_with_its_place(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "f.json: not valid JSON"},
        {"{", "not valid JSON near byte"},
        {"{\"a\":}", "not valid JSON near byte"},
        {"{} {}", "something follows"},
        {"[1,]", "not valid JSON"},
        {"nul", "not valid JSON"},
        {"{\"a\":1,\"a\":2}", "\"a\" stands there twice"},
        {"{\"x\":[{\"b\":1,\"b\":1}]}", "\"b\" stands there twice"},
        {"\"\\ud800\"", "not valid JSON"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error e = {0};
        assert_null(parse(cases[i][0], &e));
        if (!strstr(e.message, cases[i][1])) fail_msg("%s: %s", cases[i][0], e.message);
    }
    struct error e = {0};
    assert_null(json_parse("{}\0", 3, "f.json", &e));
    assert_non_null(strstr(e.message, "NUL"));
}

static void deep_nesting_is_refused_before_it_hurts(void **state) {
    (void)state;
    struct text t = {0};
    struct error e = {0};
    for (int i = 0; i < JSON_MAX_DEPTH; i++) text_add(&t, "[");
    for (int i = 0; i < JSON_MAX_DEPTH; i++) text_add(&t, "]");
    cJSON *root = parse(t.data, &e);
    assert_non_null(root);
    cJSON_Delete(root);
    text_deinit(&t);
    for (int i = 0; i < 100000; i++) text_add(&t, "[");
    assert_null(parse(t.data, &e));
    assert_non_null(strstr(e.message, "nested deeper"));
    text_deinit(&t);
    root = parse("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"",
                 &e); // brackets in a text are fine
    assert_non_null(root);
    cJSON_Delete(root);
}

static void getters_name_the_key_and_what_it_must_be(void **state) {
    (void)state;
    struct error e = {0};
    cJSON *root = parse("{\"text\":\"x\",\"n\":5,\"half\":0.5,\"yes\":true,\"list\":[1],\"object\":"
                        "{},\"big\":1e300,"
                        "\"i\":\"-9223372036854775808\",\"u\":\"18446744073709551615\",\"nan\":"
                        "\"NaN\",\"inf\":1e999}",
                        &e);
    assert_non_null(root);
    const char *text;
    int64_t i;
    uint64_t u;
    double d;
    bool b;
    const cJSON *child;
    assert_true(json_get_string(root, "text", "f", &text, &e) && strcmp(text, "x") == 0);
    assert_true(json_get_i64(root, "n", "f", &i, &e) && i == 5);
    assert_true(json_get_i64(root, "i", "f", &i, &e) && i == INT64_MIN);
    assert_true(json_get_u64(root, "u", "f", &u, &e) && u == UINT64_MAX);
    assert_true(json_get_u64(root, "n", "f", &u, &e) && u == 5);
    assert_true(json_get_double(root, "half", "f", &d, &e) && d == 0.5);
    assert_true(json_get_double(root, "nan", "f", &d, &e) && isnan(d));
    assert_true(json_get_bool(root, "yes", "f", &b, &e) && b);
    assert_true(json_get_array(root, "list", "f", &child, &e) &&
                json_get_object(root, "object", "f", &child, &e));
    assert_false(json_get_i64(root, "absent", "f", &i, &e));
    assert_string_equal(e.message, "f: key \"absent\" is missing");
    assert_false(json_get_i64(root, "half", "f", &i, &e));
    assert_string_equal(e.message, "f: key \"half\" must be a whole number");
    assert_false(json_get_i64(root, "big", "f", &i, &e));
    assert_false(json_get_i64(root, "u", "f", &i, &e));
    assert_false(json_get_u64(root, "i", "f", &u, &e));
    assert_false(json_get_double(root, "inf", "f", &d, &e));
    assert_false(json_get_double(root, "text", "f", &d, &e));
    assert_false(json_get_string(root, "n", "f", &text, &e));
    assert_false(json_get_bool(root, "n", "f", &b, &e));
    assert_false(json_get_object(root, "list", "f", &child, &e));
    assert_false(json_get_array(root, "object", "f", &child, &e));
    assert_false(json_get_i64(NULL, "n", "f", &i, &e));
    cJSON_Delete(root);
}

static void what_was_written_reads_back_exactly(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct error e = {0};
    path_join(path, test_folder(), "x.json", &e);
    cJSON *root = cJSON_CreateObject();
    json_add_count(root, "count", ((int64_t)1 << 53) - 1);
    json_add_i64(root, "i64", INT64_MIN);
    json_add_u64(root, "u64", UINT64_MAX);
    json_add_float(root, "f", 0.1f);
    json_add_double(root, "d", 1.0 / 3);
    json_add_double(root, "inf", -INFINITY);
    json_add_string(root, "s", "line\n\"x\" \x01");
    json_add_bool(root, "b", false);
    json_add_count(json_add_object(root, "inner"), "n", -3);
    assert_true(json_write_file(path, root, true, &e));
    cJSON_Delete(root);
    root = json_read_file(path, 1 << 20, &e);
    if (!root) fail_msg("%s", e.message);
    int64_t i;
    uint64_t u;
    double d;
    const char *s;
    const cJSON *inner;
    assert_true(json_get_i64(root, "count", "", &i, &e) && i == ((int64_t)1 << 53) - 1);
    assert_true(json_get_i64(root, "i64", "", &i, &e) && i == INT64_MIN);
    assert_true(json_get_u64(root, "u64", "", &u, &e) && u == UINT64_MAX);
    assert_true(json_get_double(root, "f", "", &d, &e) && (float)d == 0.1f);
    assert_true(json_get_double(root, "d", "", &d, &e) && d == 1.0 / 3);
    assert_true(json_get_double(root, "inf", "", &d, &e) && d == -INFINITY);
    assert_true(json_get_string(root, "s", "", &s, &e) && strcmp(s, "line\n\"x\" \x01") == 0);
    assert_true(json_get_object(root, "inner", "", &inner, &e) &&
                json_get_i64(inner, "n", "", &i, &e) && i == -3);
    cJSON_Delete(root);
    assert_null(json_read_file(path, 10, &e));
    assert_non_null(strstr(e.message, "more than the 10 expected"));
}

static void flipped_bits_never_crash_the_parser(void **state) {
    (void)state;
    char text[] = "{\"a\":[1,2.5e3,\"x\\u00e9\",null,true],\"b\":{\"c\":\"NaN\",\"d\":-0.1}}";
    struct error e = {0};
    for (size_t bit = 0; bit < (sizeof text - 1) * 8; bit++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        cJSON_Delete(json_parse(text, sizeof text - 1, "f", &e));
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < sizeof text - 1; cut++) {
        char *part = malloc(cut + 1);
        memcpy(part, text, cut);
        assert_null(json_parse(part, cut, "f", &e));
        free(part);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_one_json_value_is_refused_with_its_place),
        cmocka_unit_test(deep_nesting_is_refused_before_it_hurts),
        cmocka_unit_test(getters_name_the_key_and_what_it_must_be),
        cmocka_unit_test(what_was_written_reads_back_exactly),
        cmocka_unit_test(flipped_bits_never_crash_the_parser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
