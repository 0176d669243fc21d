// suites.h - which suite a ROM belongs to, by its path, and which of its ROMs a DMG must pass.
#ifndef TESTS_CONFORMANCE_SUITES_H
#define TESTS_CONFORMANCE_SUITES_H

#include "criteria.h"

struct suite {
    const char *name;
    const char *in_path; // the path holds this ...
    const char *and_in_path; // ... and this (NULL: no matter)
    enum verdict (*judge)(struct trial *);
    bool (*applies)(const char *path); // NULL: every ROM of it
    const char *bar; // must, should, report
};

// The first suite whose words are in the path, or NULL: a ROM without a criterion.
const struct suite *suite_of(const char *path);

int suite_count(void);
const struct suite *suite_at(int i);

#endif
