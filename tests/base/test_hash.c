// Hashes: published values of SHA-256 (FIPS 180-4 examples) and CRC-32 (catalogue check value).
#include "support/files.h"

#include "base/hash.h"

static void sha256_gives_the_published_values(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"}};
    char hex[SHA256_HEX_SIZE];
    for (int i = 0; i < 3; i++) {
        sha256_hex(cases[i][0], strlen(cases[i][0]), hex);
        assert_string_equal(hex, cases[i][1]);
    }
}

static void a_file_has_the_hash_of_its_bytes(void **state) {
    (void)state;
    char path[PATH_SIZE], a[SHA256_HEX_SIZE], b[SHA256_HEX_SIZE];
    struct error e = {0};
    path_join(path, test_folder(), "x", &e);
    static uint8_t data[200000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7);
    put_file(path, data, sizeof data);
    sha256_hex(data, sizeof data, a);
    assert_true(sha256_file_hex(path, b, &e));
    assert_string_equal(a, b);
    assert_false(sha256_file_hex("/no/such/file", b, &e));
    assert_non_null(strstr(e.message, "/no/such/file"));
    assert_false(sha256_file_hex("/tmp", b, &e));
}

static void crc32_gives_the_published_value_in_one_go_or_in_pieces(void **state) {
    (void)state;
    assert_int_equal(crc32_update(0, "123456789", 9), 0xCBF43926);
    assert_int_equal(crc32_update(crc32_update(0, "1234", 4), "56789", 5), 0xCBF43926);
    assert_int_equal(crc32_update(0, "", 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_values),
        cmocka_unit_test(a_file_has_the_hash_of_its_bytes),
        cmocka_unit_test(crc32_gives_the_published_value_in_one_go_or_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
