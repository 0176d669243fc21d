// HD: marks a function of a header that is compiled for the host (C17, C++17) and for CUDA devices
// alike.
#ifndef BASE_HD_H
#define BASE_HD_H

#ifndef HD // emu/gb_types.h may have said it already
#if defined(__CUDACC__)
#define HD static inline __host__ __device__
#else
#define HD static inline __attribute__((unused))
#endif
#endif

#endif
