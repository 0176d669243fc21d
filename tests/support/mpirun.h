// Tests that start processes with mpirun.
#ifndef TESTS_SUPPORT_MPIRUN_H
#define TESTS_SUPPORT_MPIRUN_H

#include "support/test.h"

static inline void skip_without_mpirun(void) {
    if (SANITIZED) {
        printf("skipped: Open MPI is not instrumented; the plain build runs it\n");
        skip();
    }
    if (system("command -v mpirun >/dev/null 2>&1") != 0) {
        printf("skipped: no mpirun here (apt-get install openmpi-bin)\n");
        skip();
    }
}

#endif
