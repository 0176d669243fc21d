// Tests of `workbench state` and `workbench rom info|run`: the program itself, on files it is
// given.
#define _GNU_SOURCE
#include "emu/gb.h"
#include "emu/gb_bess.h"
#include "base/hash.h"
#include "support/program.h"

static void a_state_goes_to_bess_and_back_and_runs_the_same(void **state) {
    (void)state;
    char before[OUTPUT_SIZE];
    fine("state export $T/scroll.state --rom $T/scroll.gb --out $T/scroll.bess");
    fine("state import $T/scroll.bess --rom $T/scroll.gb --out $T/back.state");
    fine("rom run $T/scroll.gb --state $T/scroll.state --steps 5");
    memcpy(before, out, sizeof before);
    fine("rom run $T/scroll.gb --state $T/back.state --steps 5");
    assert_string_equal(before, out);
    fine("rom run $T/scroll.gb --state $T/scroll.bess --steps 5");
    assert_string_equal(before, out);
    fine("rom run $T/scroll.gb --steps 5");
    assert_string_not_equal(before, out);
}

static void info_says_what_a_file_is(void **state) {
    (void)state;
    fine("state info $T/scroll.state");
    says("workbench state");
    fine("state info $T/foreign.bess --rom $T/scroll.gb");
    says("BESS state");
    says("SCROLL");
    says("fits");
    cJSON *o = json("state info $T/foreign.bess --rom $T/scroll.gb --json");
    assert_string_equal(text_of(o, "format"), "BESS");
    assert_string_equal(text_of(o, "title"), "SCROLL");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(o, "exact")));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetObjectItem(o, "rom"), "fits")));
    cJSON_Delete(o);
}

static void bad_states_get_one_line_and_their_exit_code(void **state) {
    (void)state;
    refused(2, "state", "info|import|export");
    refused(2, "state info", "info|import|export");
    refused(2, "state melt $T/scroll.state", "info|import|export");
    refused(2, "state info $T/nowhere.state", "nowhere.state");
    refused(2, "state import $T/scroll.state --out $T/x.state", "--rom");
    refused(2, "state export $T/scroll.state --rom $T/scroll.gb", "--out");
    refused(1, "state info $T/scroll.gb", "no saved state");
    refused(1, "state info $T/cut.state", "cut");
    refused(1, "state info $T/flipped.state", "checksum");
    refused(1, "state info $T/newer.state", "version 99");
    refused(1, "state info $T/scroll.state --rom $T/static.gb", "another ROM");
    refused(1, "state import $T/foreign.bess --rom $T/static.gb --out $T/x.state", "\"SCROLL\"");
    says("\"STATIC\"");
    refused(1, "state info $T/pyboy13.state", "version 13, this program reads versions 9, 10, 11");
    refused(1, "rom run $T/scroll.gb --state $T/cut.state", "cut.state");
    refused(1, "rom play $T/scroll.gb --state $T/cut.state", "cut.state");
    refused(2, "state export $T/scroll.state --rom $T/scroll.gb --out $T/no/where.bess",
            "no/where.bess");
}

static void rom_info_tells_a_cartridge(void **state) {
    (void)state;
    fine("rom info $T/scroll.gb");
    says("SCROLL");
    says("ROM ONLY (00)");
    says("sha256     ");
    cJSON *o = json("rom info $T/scroll.gb --json");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(o, "supported")));
    assert_int_equal(strlen(text_of(o, "sha256")), 64);
    cJSON_Delete(o);
    fine("rom info $T/badsum.gb");
    says("wrong (hardware ignores it: it runs)");
    refused(1, "rom info $T/mapper.gb", "MBC7");
    assert_int_equal(workbench("rom info $T/mapper.gb --json"), 1);
    o = cJSON_Parse(out);
    assert_non_null(o);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(o, "supported")));
    assert_non_null(strstr(text_of(o, "why"), "MBC7"));
    cJSON_Delete(o);
    refused(2, "rom", "info|run|play");
    refused(2, "rom info", "info|run|play");
}

static void rom_run_prints_hashes_and_writes_the_picture(void **state) {
    (void)state;
    size_t n;
    cJSON *o = json("rom run $T/scroll.gb --steps 250 --out $T/last.png --json");
    cJSON *steps = cJSON_GetObjectItem(o, "steps"),
          *last = cJSON_GetArrayItem(steps, cJSON_GetArraySize(steps) - 1);
    assert_in_range(cJSON_GetArraySize(steps), 50, 101);
    assert_int_equal(cJSON_GetObjectItem(last, "step")->valueint, 250);
    assert_int_equal(strlen(text_of(last, "picture")), 16);
    cJSON_Delete(o);
    char path[5000];
    snprintf(path, sizeof path, "%s/last.png", folder);
    uint8_t *png = get_file(path, &n);
    assert_memory_equal(png, "\x89PNG", 4);
    free(png);
    fine("rom run $T/locks.gb --steps 3");
    says("locked up");
    says("warning: locks.gb: wrong global checksum");
}

static void rom_run_does_recorded_actions(void **state) {
    (void)state;
    fine("rom run $T/scroll.gb --state $T/scroll.state --actions $T/three.actions");
    says("step 3 ");
    refused(1, "rom run $T/static.gb --actions $T/three.actions", "another ROM");
    refused(1, "rom run $T/scroll.gb --actions $T/three.actions", "another start");
}

static void training_starts_from_a_state_and_meta_names_it(void **state) {
    (void)state;
    char path[5000], hash[65];
    struct error e;
    cJSON *o =
        json("train --headless --json --preset micro --rom $T/scroll.gb --state $T/foreign.bess"
             " --updates 1 algo.learning_starts=64 --sessions $T/sessions 2>/dev/null");
    snprintf(path, sizeof path, "%s/meta.json", text_of(o, "session"));
    cJSON_Delete(o);
    size_t n;
    char *text = get_file(path, &n);
    cJSON *meta = cJSON_Parse(text), *start = cJSON_GetObjectItem(meta, "start_state");
    snprintf(path, sizeof path, "%s/foreign.bess", folder);
    assert_true(sha256_file_hex(path, hash, &e));
    assert_string_equal(text_of(start, "name"), "foreign.bess");
    assert_string_equal(text_of(start, "sha256"), hash);
    cJSON_Delete(meta);
    free(text);
    refused(1,
            "train --headless --rom $T/static.gb --state $T/scroll.state --no-session --updates 1",
            "another ROM");
}

// ---- files

static void put(const char *name, const void *data, size_t n) {
    char path[5000];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    put_file(path, data, n);
}

static void make_states(const uint8_t *rom_bytes, size_t n_rom) {
    static struct gb m;
    static uint8_t bytes[1 << 17], pyboy[150000];
    struct gb_rom rom;
    char why[GB_MESSAGE_SIZE];
    assert_true(gb_rom_parse(&rom, rom_bytes, n_rom, why, sizeof why));
    gb_reset(&m, &rom);
    for (int i = 0; i < 300; i++) gb_run_frame(&m, false);
    size_t n = gb_state_save(&m, bytes);
    put("scroll.state", bytes, n);
    put("cut.state", bytes, n - 1);
    bytes[n / 2] ^= 4;
    put("flipped.state", bytes, n);
    bytes[4] = 99;
    put("newer.state", bytes, n);
    n = gb_bess_save(&m, bytes, 0);
    memcpy(bytes, "ELSE", 4); // as if another emulator had written it
    put("foreign.bess", bytes, n);
    pyboy[0] = 13;
    put("pyboy13.state", pyboy, sizeof pyboy);
}

static void make_roms(uint8_t *rom, size_t n) {
    static const uint8_t lock[] = {0xd3};
    rom[0x14e] ^= 1;
    put("badsum.gb", rom, n);
    memcpy(rom + (rom[0x102] | rom[0x103] << 8), lock, 1); // where the jump at 0100 goes
    put("locks.gb", rom, n);
    rom[0x14d] = (uint8_t)(rom[0x14d] - (0x22 - rom[0x147]));
    rom[0x147] = 0x22;
    put("mapper.gb", rom, n);
}

static int setup(void **state) {
    (void)state;
    size_t n;
    char text[1000], rom_hash[65], state_hash[65], path[5000];
    struct error e;
    program_setup();
    uint8_t *rom = get_file("assets/roms/static.gb", &n);
    put("static.gb", rom, n);
    free(rom);
    rom = get_file("assets/roms/scroll.gb", &n);
    put("scroll.gb", rom, n);
    make_states(rom, n);
    sha256_hex(rom, n, rom_hash);
    snprintf(path, sizeof path, "%s/scroll.state", folder);
    assert_true(sha256_file_hex(path, state_hash, &e));
    n = (size_t)snprintf(
        text, sizeof text,
        "workbench-actions 1\nrom %s\nstate %s\ncodec pokemonred_puffer_v1\nUP\nA\nNOOP\n",
        rom_hash, state_hash);
    put("three.actions", text, n);
    make_roms(rom, 32768);
    free(rom);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_goes_to_bess_and_back_and_runs_the_same),
        cmocka_unit_test(info_says_what_a_file_is),
        cmocka_unit_test(bad_states_get_one_line_and_their_exit_code),
        cmocka_unit_test(rom_info_tells_a_cartridge),
        cmocka_unit_test(rom_run_prints_hashes_and_writes_the_picture),
        cmocka_unit_test(rom_run_does_recorded_actions),
        cmocka_unit_test(training_starts_from_a_state_and_meta_names_it),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
