// The operator on the host over a C ABI, so that tests can compare the header the CUDA kernel uses with torch and ONNX.
#include <cstddef>

#include "tps_math.h"

// Arrays are contiguous: image and out (n, c, h, w), theta (n, 2, grid * grid). padding: 0 zeros, 1 border.
// Returns 0, or 1 for arguments the operator does not allow.
extern "C" int tps_grid_sample_f32(const float* image, const float* theta, float* out, int n, int c, int h, int w,
                                   int grid, int align_corners, int padding) {
  using namespace spgvton::tps;
  Inverse inverse;
  if (n < 0 || c < 0 || h < 1 || w < 1 || (padding != kZeros && padding != kBorder) || !invert(grid, inverse)) return 1;
  Params const p{h, w, grid, align_corners != 0, static_cast<Padding>(padding)};
  std::size_t const points = static_cast<std::size_t>(grid) * grid, plane = static_cast<std::size_t>(h) * w;
  for (int b = 0; b < n; ++b, theta += 2 * points, image += c * plane, out += c * plane) {
    float coefficients[2][kMaxCoefficients];
    for (int axis = 0; axis < 2; ++axis) {
      for (int row = 0; row < grid * grid + 3; ++row) {
        coefficients[axis][row] = coefficient(inverse, [&](int k) { return theta[axis * points + k]; }, row, grid, axis);
      }
    }
    for (int y = 0; y < h; ++y) {
      for (int x = 0; x < w; ++x) {
        Taps const taps = outputTaps(coefficients[0], coefficients[1], x, y, p);
        for (int channel = 0; channel < c; ++channel) {
          const float* pixels = image + channel * plane;
          auto const pixel = [&](int row, int column) { return pixels[static_cast<std::size_t>(row) * w + column]; };
          out[channel * plane + static_cast<std::size_t>(y) * w + x] = bilinear(pixel, taps, p);
        }
      }
    }
  }
  return 0;
}
