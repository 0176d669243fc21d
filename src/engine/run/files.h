// Where the program finds its own files: the source tree, or share/workbench after `make install`.
#ifndef RUN_FILES_H
#define RUN_FILES_H

#include <stdbool.h>
#include <stddef.h>

// Folder of the golden fixtures (one with a manifest.json). False: found nowhere, out is the
// default place.
bool files_find_golden(char *out, size_t size);
bool files_program_exists(const char *name); // as a file that may be run, in PATH

#endif
