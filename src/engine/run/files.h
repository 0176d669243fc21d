// Where the program finds its own files: the source tree, or share/workbench after `make install`.
#ifndef RUN_FILES_H
#define RUN_FILES_H

#include <stdbool.h>
#include <stddef.h>

bool files_find_golden(char *out, size_t size);          // folder of the golden fixtures; false: nowhere
bool files_program_exists(const char *name);             // in PATH

#endif
