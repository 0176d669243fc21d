// NumPy files of bytes: reads and writes arrays of dtype uint8 (.npy, NumPy's NEP 1, versions 1.0
// and 2.0).
//
//     struct npy_u8 a;
//     if (!npy_parse(bytes, n, "goal_template.npy", &a, &e)) return false;
//     // a.data points into bytes: [a.shape[0], ... a.shape[a.n_dims - 1]], the last one fastest
//
//   93 'N' 'U' 'M' 'P' 'Y' | major minor | header length (u16; u32 in 2.0) | {'descr': ...} blanks
//   \n | data
//
// Nothing that is read is trusted: a header of any other form is refused in one line. Any thread.
#ifndef DATA_NPY_H
#define DATA_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { NPY_MAX_DIMS = 4, NPY_HEADER_BYTES = 128 };

struct npy_u8 {
    int n_dims;
    size_t shape[NPY_MAX_DIMS];
    const uint8_t *data; // borrowed from the file's bytes
    size_t n_bytes;      // product of the shape
};

// Refuses (`where` names the file) other dtypes, Fortran order, more than NPY_MAX_DIMS dimensions,
// and data that is shorter or longer than the shape says.
bool npy_parse(const uint8_t *bytes, size_t n, const char *where, struct npy_u8 *out,
               struct error *e);

// The header that NumPy itself writes for this shape (version 1.0, data at NPY_HEADER_BYTES). False
// when the shape's text does not fit.
bool npy_header(const size_t *shape, int n_dims, uint8_t header[NPY_HEADER_BYTES]);

#endif
