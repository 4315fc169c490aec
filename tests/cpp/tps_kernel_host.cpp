// runtime/plugin/tps_kernel.cu on the host: every CUDA thread of a block is a thread, __syncthreads() is a barrier, and
// blocks follow one another. Slow, but the kernel's own source, launch included: grid, tiles, edges, channels, types.
#include <cuda_runtime_api.h>
#include <pthread.h>

#include <cstddef>
#include <thread>
#include <vector>

#undef __global__
#undef __device__
#undef __shared__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __shared__ static  // one for all threads of the block that is running
#define __forceinline__ inline
#define __launch_bounds__(threads, blocks)
#define __syncthreads() pthread_barrier_wait(&barrier)

namespace {
pthread_barrier_t barrier;
thread_local uint3 threadIndex, blockIndex;
}  // namespace
#define threadIdx threadIndex
#define blockIdx blockIndex

static cudaError_t launchOnHost(void const* kernel, dim3 grid, dim3 block, void** arguments, std::size_t, cudaStream_t);
#define cudaLaunchKernel launchOnHost
#include "../../runtime/plugin/tps_kernel.cu"

cudaError_t launchOnHost(void const* kernel, dim3 grid, dim3 block, void** arguments, std::size_t, cudaStream_t) {
  using namespace spgvton::tps;
  auto const function = reinterpret_cast<void (*)(Warp)>(const_cast<void*>(kernel));
  Warp const& warp = *static_cast<Warp*>(arguments[0]);
  pthread_barrier_init(&barrier, nullptr, block.x * block.y);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < block.x * block.y; ++i) {
    threads.emplace_back([=] {
      threadIndex = uint3{i % block.x, i / block.x, 0};
      for (unsigned z = 0; z < grid.z; ++z) {
        for (unsigned y = 0; y < grid.y; ++y) {
          for (unsigned x = 0; x < grid.x; ++x) {
            blockIndex = uint3{x, y, z};
            function(warp);
            __syncthreads();  // the next block overwrites shared memory
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  pthread_barrier_destroy(&barrier);
  return cudaSuccess;
}

// A garment (n, c1, h, w) and its mask (n, c2, h, w), warped by one theta (n, 2, grid * grid) in one launch. The *_half
// flags say which arrays hold float16. Returns 0, or 1 for arguments the operator does not allow.
extern "C" int tps_kernel_host(void const* image, void* out, int c1, int image_half, void const* mask, void* mask_out,
                               int c2, int mask_half, void const* theta, int theta_half, int n, int h, int w, int grid,
                               int align_corners, int padding) {
  using namespace spgvton::tps;
  Warp warp;
  if (!invert(grid, warp.inverse)) return 1;
  warp.images[0] = Image{image, out, c1, image_half != 0};
  warp.images[1] = Image{mask, mask_out, c2, mask_half != 0};
  warp.imageCount = 2;
  warp.batch = n;
  warp.theta = theta;
  warp.thetaHalf = theta_half != 0;
  warp.params = Params{h, w, grid, align_corners != 0, static_cast<Padding>(padding)};
  return launch(warp, nullptr) == cudaSuccess ? 0 : 1;
}
