// runtime/plugin/compose_kernel.cu on the host, one thread of a block after the other: the kernel's own source, launch and C
// functions included, so that the tests compare it with the compositor in Python where there is no GPU.
#include <cuda_runtime_api.h>

#include <cstddef>

#undef __global__
#undef __launch_bounds__
#define __global__
#define __launch_bounds__(threads)

namespace {
uint3 threadIndex, blockIndex;
}  // namespace
#define threadIdx threadIndex
#define blockIdx blockIndex

static cudaError_t launchOnHost(void const* kernel, dim3 grid, dim3 block, void** arguments, std::size_t, cudaStream_t);
static char const* errorOnHost(cudaError_t) { return "invalid argument"; }
#define cudaLaunchKernel launchOnHost
#define cudaGetErrorString errorOnHost
#include "../../runtime/plugin/compose_kernel.cu"

static cudaError_t launchOnHost(void const* kernel, dim3 grid, dim3 block, void** arguments, std::size_t, cudaStream_t) {
  using spgvton::compose::Job;
  auto const function = reinterpret_cast<void (*)(Job)>(const_cast<void*>(kernel));
  Job const& job = *static_cast<Job*>(arguments[0]);
  for (unsigned by = 0; by < grid.y; ++by) {
    for (unsigned bx = 0; bx < grid.x; ++bx) {
      blockIndex = uint3{bx, by, 0};
      for (unsigned i = 0; i < block.x * block.y; ++i) {
        threadIndex = uint3{i % block.x, i / block.x, 0};
        function(job);
      }
    }
  }
  return cudaSuccess;
}
