// Names of one instruction set's kernels: KERNELS_ISA as text and as a part of names.
#ifndef GRAPH_KERNELS_NAME_H
#define GRAPH_KERNELS_NAME_H

#ifndef KERNELS_ISA
#define KERNELS_ISA generic
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

#endif
