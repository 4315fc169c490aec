// The warp's kernel behind a C interface, for parity.py: arguments as tests/cpp/tps_kernel_host.cpp, and a stream. Returns
// cudaError_t, or -1 for a grid that the operator does not have.
#include "tps_kernel.h"

extern "C" int tps_kernel_gpu(void const* image, void* out, int channels, int image_half, void const* theta, int theta_half,
                              int n, int h, int w, int grid, int align_corners, int padding, void* stream) {
  using namespace spgvton::tps;
  Warp warp;
  if (!invert(grid, warp.inverse)) return -1;
  warp.images[0] = Image{image, out, channels, image_half != 0};
  warp.imageCount = 1;
  warp.batch = n;
  warp.theta = theta;
  warp.thetaHalf = theta_half != 0;
  warp.params = Params{h, w, grid, align_corners != 0, static_cast<Padding>(padding)};
  return static_cast<int>(launch(warp, static_cast<cudaStream_t>(stream)));
}
