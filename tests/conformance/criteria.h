// criteria.h - how a public test ROM says that it passed: one function for each protocol.
//
// Every function runs a machine that was just reset and judges it. Sources of the protocols: the
// suites' own documentation; gathered in the table of docs/conformance.md.
#ifndef TESTS_CONFORMANCE_CRITERIA_H
#define TESTS_CONFORMANCE_CRITERIA_H

#include "emu/gb.h"

enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_SILENT, VERDICT_SKIPPED };

// A ROM being judged. detail gets what it reported, for the table.
struct trial {
    struct gb *m;
    const char *path; // of the ROM: names and neighbours say what is expected
    uint8_t *lcd; // lent to the machine: two pictures
    char detail[96];
};

// mooneye and samesuite: B,C,D,E,H,L = 3,5,8,13,21,34 in the end; 42 in all of them is a failure.
enum verdict judge_registers(struct trial *t);

// blargg: status byte in A000 behind the signature DE B0 61, or "Passed"/"Failed" on the serial
// port or on the screen.
enum verdict judge_blargg(struct trial *t);

// gbmicrotest: FF82 = 01 passed, FF failed; some never report.
enum verdict judge_microtest(struct trial *t);

// gambatte: after 15 frames the hex digits of the file name stand at the top left of the screen.
enum verdict judge_hex_digits(struct trial *t);

// The screen against a PNG that stands beside the ROM.
enum verdict judge_picture(struct trial *t);

#endif
