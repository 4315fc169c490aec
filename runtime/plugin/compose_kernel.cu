// The live compositor's kernel: one thread for each pixel of the part of the picture that changes; no shared memory, no
// barrier. Threads of pixels on which nothing is laid, the most of them, end after one or two bilinear samples of bytes.
#include "compose_kernel.h"

#include <cuda_runtime.h>

namespace spgvton {
namespace compose {
namespace {

constexpr int kTileWidth = 32, kTileHeight = 8;  // of a block

static_assert(sizeof(Job) <= 4096, "kernel arguments are limited to 4 KiB");

// theta's control points along one axis.
struct Control {
  float const* theta;
  SPGVTON_HD float operator()(int k) const { return theta[k]; }
};

__global__ void __launch_bounds__(kTileWidth* kTileHeight) composeKernel(Job const job) {
  int const x = static_cast<int>(blockIdx.x * kTileWidth + threadIdx.x);
  int const y = static_cast<int>(blockIdx.y * kTileHeight + threadIdx.y);
  if (x < job.width && y < job.height) composePixel(job, x, y);
}

}  // namespace
}  // namespace compose
}  // namespace spgvton

#define SPGVTON_EXPORT __attribute__((visibility("default")))

extern "C" SPGVTON_EXPORT int spgvton_compose_size() { return static_cast<int>(sizeof(spgvton::compose::Job)); }

extern "C" SPGVTON_EXPORT int spgvton_compose(spgvton::compose::Job const* given, float const* theta, void* stream) {
  using namespace spgvton::compose;
  Job job = *given;
  spgvton::tps::Inverse inverse;
  if (job.width < 1 || job.height < 1 || !spgvton::tps::invert(job.gridSize, inverse)) return cudaErrorInvalidValue;
  int const points = job.gridSize * job.gridSize;
  for (int axis = 0; axis < 2; ++axis) {
    Control const control{theta + axis * points};
    for (int row = 0; row < points + 3; ++row) {
      job.coefficients[axis][row] = spgvton::tps::coefficient(inverse, control, row, job.gridSize, axis);
    }
  }
  dim3 const block(kTileWidth, kTileHeight);
  dim3 const grid(static_cast<unsigned>((job.width + kTileWidth - 1) / kTileWidth),
                  static_cast<unsigned>((job.height + kTileHeight - 1) / kTileHeight));
  void* arguments[] = {&job};
  return cudaLaunchKernel(reinterpret_cast<void const*>(&composeKernel), grid, block, arguments, 0,
                          static_cast<cudaStream_t>(stream));
}

extern "C" SPGVTON_EXPORT char const* spgvton_compose_error(int status) {
  return cudaGetErrorString(static_cast<cudaError_t>(status));
}
