// suites.c - the table of public test suites.
#include "suites.h"

#include <ctype.h>
#include <string.h>

// Is it made for a Game Boy (DMG-CPU-08 or A/B/C)? mooneye names end in the models: -GS, -dmgABC,
// -S, -mgb, -cgb0, ...; no such end means all.
static bool dmg_by_name(const char *path) {
    static const char *const others[] = {"-S/",  "-S.",  "-C/",  "-C.",  "-A/",  "-A.",  "-dmg0",
                                         "-mgb", "-sgb", "-cgb", "-agb", "-ags", "-scgb"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strstr(path, others[i])) return false;
    return true;
}

static bool has_dmg_answer(const char *path) {
    return strstr(path, "dmg08_out") || strstr(path, "dmg08_cgb04c_out");
}

static bool has_no_buttons(const char *path) // the other scribbltests wait for a hand
{
    return strstr(path, "winpos") == NULL && strstr(path, "statcount.gb") == NULL;
}

static bool has_dmg_picture(const char *path) { return !has_dmg_answer(path); }

static bool is_ei_delay(const char *path) // the rest needs a Game Boy Color
{
    return strstr(path, "ei_delay_halt") != NULL;
}

static const struct suite suites[] = {
    {"gambatte hex", "hwtests", "_out", judge_hex_digits, has_dmg_answer, "should"},
    {"gambatte png", "hwtests", NULL, judge_picture, has_dmg_picture, "report"},
    {"mooneye acceptance", "mooneye", "/acceptance/", judge_registers, dmg_by_name, "must"},
    {"mooneye emulator-only", "mooneye", "/emulator-only/", judge_registers, dmg_by_name, "must"},
    {"mooneye misc", "mooneye", "/misc/", judge_registers, dmg_by_name, "report"},
    {"mooneye madness", "mooneye", "/madness/", judge_registers, dmg_by_name, "report"},
    {"samesuite", "samesuite", NULL, judge_registers, is_ei_delay, "must"},
    {"gbmicrotest", "icrotest", NULL, judge_microtest, NULL, "should"},
    {"blargg cpu_instrs", "cpu_instrs", NULL, judge_blargg, NULL, "must"},
    {"blargg instr_timing", "instr_timing", NULL, judge_blargg, NULL, "must"},
    {"blargg mem_timing", "mem_timing", NULL, judge_blargg, NULL, "must"},
    {"blargg halt_bug", "halt_bug", NULL, judge_blargg, NULL, "must"},
    {"blargg dmg_sound", "dmg_sound", NULL, judge_blargg, NULL, "report"},
    {"blargg oam_bug", "oam_bug", NULL, judge_blargg, NULL, "report"},
    {"dmg-acid2", "dmg-acid2", NULL, judge_picture, NULL, "must"},
    {"scribbltests", "scribbltests", NULL, judge_picture, has_no_buttons, "must"},
    {"mbc3 RAM enable", "ramg-mbc3", NULL, judge_picture, NULL, "must"},
    {"mbc3-tester", "mbc3-tester", NULL, judge_picture, NULL, "must"},
};

enum { N_SUITES = sizeof suites / sizeof suites[0] };

int suite_count(void) { return N_SUITES; }

const struct suite *suite_at(int i) { return &suites[i]; }

const struct suite *suite_of(const char *path) {
    for (int i = 0; i < N_SUITES; i++) {
        const struct suite *suite = &suites[i];
        if (!strstr(path, suite->in_path)) continue;
        if (suite->and_in_path && !strstr(path, suite->and_in_path)) continue;
        return suite->applies && !suite->applies(path) ? NULL : suite;
    }
    return NULL;
}
