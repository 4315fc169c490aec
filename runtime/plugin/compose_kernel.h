// libspgvton_compositor.so: the live compositor's last step in one launch. Called from Python by ctypes.
#ifndef SPGVTON_COMPOSE_KERNEL_H
#define SPGVTON_COMPOSE_KERNEL_H

#include "compose_math.h"

extern "C" {

// sizeof(Job): a caller whose structure has another size was made for another version of this library.
int spgvton_compose_size();

// Compose JOB, whose pointers are the device's, asynchronously on STREAM, a CUstream of the current context. THETA
// (2, gridSize * gridSize) is read now, and JOB's coefficients are made of it. Returns a cudaError_t.
int spgvton_compose(spgvton::compose::Job const* job, float const* theta, void* stream);

// What that error means, in a few words.
char const* spgvton_compose_error(int status);
}

#endif  // SPGVTON_COMPOSE_KERNEL_H
