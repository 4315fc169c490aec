// The TpsGridSample kernel: spline coefficients, sampling grid and bilinear sampling in one launch.
//
// A block covers a tile of one batch item. It computes the item's 2 * (G*G + 3) coefficients once, in shared memory;
// then each thread finds its output pixel's four taps and applies them to every channel of every image. The tile is one
// warp wide, so that writes are coalesced, and reads nearly so where the spline is smooth.
#include "tps_kernel.h"

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>

namespace spgvton {
namespace tps {
namespace {

// Blocks of 8 warps that fill a multiprocessor: 32 warps on Turing, 64 on 8.0, 9.0 and 10.x, 48 on all others. It caps the
// registers at 64, 32 and 40, without a spill; from Blackwell on nvcc would unroll into 64 to 75 (tests/test_plugin.py).
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define SPGVTON_BLOCKS 4
#elif defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 800 || __CUDA_ARCH__ == 900 || __CUDA_ARCH__ / 100 == 10)
#define SPGVTON_BLOCKS 8
#else
#define SPGVTON_BLOCKS 6
#endif

static_assert(sizeof(Warp) <= 4096, "kernel arguments are limited to 4 KiB");

__device__ __forceinline__ float toFloat(float v) { return v; }
__device__ __forceinline__ float toFloat(__half v) { return __half2float(v); }
__device__ __forceinline__ void store(float* p, float v) { *p = v; }
__device__ __forceinline__ void store(__half* p, float v) { *p = __float2half_rn(v); }

template <typename T>
__device__ __forceinline__ void sampleChannels(Image const& image, int item, int column, int row, Taps const& taps,
                                               Params const& p) {
  std::size_t const plane = static_cast<std::size_t>(p.height) * p.width;
  std::size_t const first = static_cast<std::size_t>(item) * image.channels * plane;
  T const* __restrict__ in = static_cast<T const*>(image.in) + first;
  T* __restrict__ out = static_cast<T*>(image.out) + first + static_cast<std::size_t>(row) * p.width + column;
  for (int channel = 0; channel < image.channels; ++channel, in += plane, out += plane) {
    auto const pixel = [&](int y, int x) { return toFloat(in[static_cast<std::size_t>(y) * p.width + x]); };
    store(out, bilinear(pixel, taps, p));
  }
}

__global__ void __launch_bounds__(kTileWidth* kTileHeight, SPGVTON_BLOCKS) warpKernel(Warp const warp) {
  __shared__ float coefficients[2][kMaxCoefficients];
  Params const& p = warp.params;
  int const points = p.gridSize * p.gridSize, rows = points + 3;
  int const item = static_cast<int>(blockIdx.z);
  int const thread = static_cast<int>(threadIdx.y * kTileWidth + threadIdx.x);
  for (int i = thread; i < 2 * rows; i += kTileWidth * kTileHeight) {
    int const axis = i / rows;
    std::size_t const first = (static_cast<std::size_t>(item) * 2 + axis) * points;
    auto const theta = [&](int k) {
      return warp.thetaHalf ? toFloat(static_cast<__half const*>(warp.theta)[first + k])
                            : static_cast<float const*>(warp.theta)[first + k];
    };
    coefficients[axis][i % rows] = coefficient(warp.inverse, theta, i % rows, p.gridSize, axis);
  }
  __syncthreads();

  int const column = static_cast<int>(blockIdx.x * kTileWidth + threadIdx.x);
  int const row = static_cast<int>(blockIdx.y * kTileHeight + threadIdx.y);
  if (column >= p.width || row >= p.height) return;
  Taps const taps = outputTaps(coefficients[0], coefficients[1], column, row, p);
  for (int i = 0; i < warp.imageCount; ++i) {
    if (warp.images[i].half) {
      sampleChannels<__half>(warp.images[i], item, column, row, taps, p);
    } else {
      sampleChannels<float>(warp.images[i], item, column, row, taps, p);
    }
  }
}

}  // namespace

cudaError_t launch(Warp const& warp, cudaStream_t stream) noexcept {
  Params const& p = warp.params;
  if (warp.batch == 0 || p.width == 0 || p.height == 0) return cudaSuccess;  // an empty grid is an error to CUDA
  dim3 const block(kTileWidth, kTileHeight);
  dim3 const grid(static_cast<unsigned>((p.width + kTileWidth - 1) / kTileWidth),
                  static_cast<unsigned>((p.height + kTileHeight - 1) / kTileHeight), static_cast<unsigned>(warp.batch));
  void* arguments[] = {const_cast<Warp*>(&warp)};
  return cudaLaunchKernel(reinterpret_cast<void const*>(&warpKernel), grid, block, arguments, 0, stream);
}

}  // namespace tps
}  // namespace spgvton
