// Launches the TpsGridSample kernel. No TensorRT types here, so that tests can compile the kernel by itself.
#ifndef SPGVTON_TPS_KERNEL_H
#define SPGVTON_TPS_KERNEL_H

#include <cuda_runtime_api.h>

#include "tps_math.h"

namespace spgvton {
namespace tps {

constexpr int kMaxImages = 4;
constexpr int kTileWidth = 32, kTileHeight = 8;  // of a block
constexpr int kMaxBatch = 65535, kMaxHeight = 65535 * kTileHeight;  // CUDA's limit for a grid's second and third axis

// One image to warp and where to: (N, C, H, W), contiguous, float32 or float16 (`half`), both of the same type.
struct Image {
  void const* in;
  void* out;
  int channels;
  bool half;
};

// Everything the kernel needs, passed by value (below the 4 KiB that kernel arguments may take).
struct Warp {
  Image images[kMaxImages];
  int imageCount, batch;
  void const* theta;  // (N, 2, G*G), contiguous
  bool thetaHalf;     // float16 instead of float32; the arithmetic is float32 all the same
  Params params;
  Inverse inverse;
};

// Warp all images by one theta per batch item, asynchronously on STREAM. Batch and height must be within the limits above.
// Returns what the launch returns.
cudaError_t launch(Warp const& warp, cudaStream_t stream) noexcept;

}  // namespace tps
}  // namespace spgvton

#endif  // SPGVTON_TPS_KERNEL_H
