// test_sm83.c - the SM83 against the single-step cases: registers, RAM and every M-cycle of the
// bus.
//
// The CPU template runs here over 64 KiB of flat memory that writes down each access. The cases
// (500 files) are reference data that is not part of the repository: without them the test is
// skipped, unless WORKBENCH_REQUIRE_DATA=1.
#include <cjson/cJSON.h>
#include <dirent.h>

#include "emu/gb_cpu_verdict.h"
#include "emu/gb_types.h"
#include "support/test.h"

enum { LOG_MAX = 16 };

struct access {
    uint16_t addr;
    uint8_t value;
    char kind; // r, w or - (nothing on the bus: address and value of the access before)
};

struct recorder {
    struct gb_cpu cpu;
    int32_t now, event_t;
    int n_left; // instructions still to run
    int n_log;
    struct access log[LOG_MAX];
    uint8_t memory[65536];
};

static void note(struct recorder *m, uint16_t addr, uint8_t value, char kind)
{
    if (m->n_log < LOG_MAX) m->log[m->n_log] = (struct access){addr, value, kind};
    m->n_log++;
}

static uint8_t flat_read(struct recorder *m, uint16_t addr, int32_t t)
{
    assert_int_equal(t, m->n_log * 4);
    note(m, addr, m->memory[addr], 'r');
    return m->memory[addr];
}

static void flat_write(struct recorder *m, uint16_t addr, uint8_t value, int32_t t)
{
    assert_int_equal(t, m->n_log * 4);
    m->memory[addr] = value;
    note(m, addr, value, 'w');
}

static void flat_idle(struct recorder *m)
{
    struct access before = m->n_log ? m->log[m->n_log - 1] : (struct access){0, 0, '-'};
    note(m, before.addr, before.value, '-');
}

static int one_instruction(struct recorder *m)
{
    return m->n_left-- > 0 ? GB_CPU_GO : GB_CPU_LEAVE;
}

#define GB_CPU_FN flat_run
#define GB_CPU_MACHINE struct recorder
#define GB_CPU_READ(m, addr, t) flat_read(m, addr, t)
#define GB_CPU_WRITE(m, addr, v, t) flat_write(m, addr, v, t)
#define GB_CPU_IDLE(m, t) flat_idle(m)
#define GB_CPU_BOUNDARY(m) one_instruction(m)
#include "emu/gb_cpu.h"

static int number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item ? item->valueint : 0;
}

static void load_ram(struct recorder *m, const cJSON *state)
{
    const cJSON *cell;
    cJSON_ArrayForEach(cell, cJSON_GetObjectItemCaseSensitive(state, "ram"))
        m->memory[cell->child->valueint] = (uint8_t)cell->child->next->valueint;
}

static void load_state(struct recorder *m, const cJSON *state)
{
    memset(m, 0, sizeof *m);
    m->cpu.pc = (uint16_t)number(state, "pc");
    m->cpu.sp = (uint16_t)number(state, "sp");
    m->cpu.a = (uint8_t)number(state, "a");
    m->cpu.f = (uint8_t)number(state, "f");
    m->cpu.bc = (uint16_t)(number(state, "b") << 8 | number(state, "c"));
    m->cpu.de = (uint16_t)(number(state, "d") << 8 | number(state, "e"));
    m->cpu.hl = (uint16_t)(number(state, "h") << 8 | number(state, "l"));
    m->cpu.ime = (uint8_t)number(state, "ime");
    load_ram(m, state);
}

static bool same_registers(const struct gb_cpu *cpu, const cJSON *state)
{
    return cpu->pc == number(state, "pc") && cpu->sp == number(state, "sp") &&
           cpu->a == number(state, "a") && cpu->f == number(state, "f") &&
           cpu->bc == (number(state, "b") << 8 | number(state, "c")) &&
           cpu->de == (number(state, "d") << 8 | number(state, "e")) &&
           cpu->hl == (number(state, "h") << 8 | number(state, "l")) &&
           cpu->ime == number(state, "ime") && (cpu->ei_delay != 0) == number(state, "ei");
}

// The whole memory: what the case lists, and nothing else written.
static bool same_memory(const struct recorder *m, const cJSON *initial, const cJSON *final)
{
    static struct recorder wanted;
    load_state(&wanted, initial);
    load_ram(&wanted, final);
    return memcmp(m->memory, wanted.memory, sizeof wanted.memory) == 0;
}

static bool same_bus(const struct recorder *m, const cJSON *cycles)
{
    int i = 0;
    const cJSON *cycle;
    cJSON_ArrayForEach(cycle, cycles)
    {
        const cJSON *addr = cycle->child, *value = addr->next, *kind = value->next;
        char wanted = kind->valuestring[0] == 'r' ? 'r' : kind->valuestring[1] == 'w' ? 'w' : '-';
        const struct access *got = &m->log[i++];
        if (i > m->n_log || i > LOG_MAX) return false;
        if (got->addr != addr->valueint || got->value != value->valueint || got->kind != wanted)
            return false;
    }
    return i == m->n_log;
}

// The cases give HALT and STOP two more cycles, in which a sleeping CPU leaves the bus alone.
static void run_case(struct recorder *m)
{
    m->n_left = 1;
    m->event_t = GB_AT_ONCE; // so every instruction ends at the boundary
    flat_run(m);
    if (m->cpu.halt == GB_HALT_JUST || m->cpu.halt == GB_STOPPED) {
        flat_idle(m);
        flat_idle(m);
    }
}

static int check_file(const char *path, int *n_cases)
{
    static struct recorder machine;
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    assert_int_equal(fread(text, 1, (size_t)size, file), (size_t)size);
    text[size] = 0;
    fclose(file);
    cJSON *cases = cJSON_Parse(text);
    if (!cases) fail_msg("%s is not JSON", path);
    int n_wrong = 0;
    const cJSON *one;
    cJSON_ArrayForEach(one, cases)
    {
        const cJSON *initial = cJSON_GetObjectItemCaseSensitive(one, "initial");
        const cJSON *final = cJSON_GetObjectItemCaseSensitive(one, "final");
        load_state(&machine, initial);
        run_case(&machine);
        bool registers = same_registers(&machine.cpu, final);
        bool memory = same_memory(&machine, initial, final);
        bool bus = same_bus(&machine, cJSON_GetObjectItemCaseSensitive(one, "cycles"));
        if (!registers || !memory || !bus) {
            if (n_wrong++ == 0)
                print_error("case %s:%s%s%s differ\n",
                            cJSON_GetObjectItemCaseSensitive(one, "name")->valuestring,
                            registers ? "" : " registers", memory ? "" : " memory",
                            bus ? "" : " bus cycles");
        }
        ++*n_cases;
    }
    cJSON_Delete(cases);
    free(text);
    return n_wrong;
}

static void every_opcode_matches_the_single_step_cases(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s", test_data("sm83"));
    DIR *folder = opendir(path);
    assert_non_null(folder);
    size_t root_length = strlen(path);
    int n_files = 0, n_cases = 0, n_wrong = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t length = strlen(entry->d_name);
        if (length < 6 || strcmp(entry->d_name + length - 5, ".json") != 0) continue;
        snprintf(path + root_length, sizeof path - root_length, "/%s", entry->d_name);
        n_wrong += check_file(path, &n_cases);
        n_files++;
    }
    closedir(folder);
    print_message("%d files, %d cases, %d wrong\n", n_files, n_cases, n_wrong);
    assert_int_equal(n_files, 500);
    assert_int_equal(n_wrong, 0);
}

static void the_eleven_missing_opcodes_lock_the_cpu(void **state)
{
    (void)state;
    static const uint8_t missing[] = {0xd3, 0xdb, 0xdd, 0xe3, 0xe4, 0xeb,
                                      0xec, 0xed, 0xf4, 0xfc, 0xfd};
    static struct recorder m;
    for (size_t i = 0; i < sizeof missing; i++) {
        memset(&m, 0, sizeof m);
        m.memory[0] = missing[i];
        run_case(&m);
        assert_int_equal(m.cpu.halt, GB_LOCKED);
        assert_int_equal(m.n_log, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_opcode_matches_the_single_step_cases),
        cmocka_unit_test(the_eleven_missing_opcodes_lock_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
