// Mathematics of the TpsGridSample operator: one header for g++ and nvcc, without CUDA or TensorRT types.
//
// Convention (docs/tps-grid-sample.md): theta (2, G*G) maps OUTPUT to INPUT. Control point k (row k / G, column k % G)
// lies at the output position (-1 + 2 * column / (G - 1), -1 + 2 * row / (G - 1)); theta[0][k], theta[1][k] are the
// normalised (x, y) input position sampled there. x points right, y down. With align_corners -1 and 1 are the centres
// of the first and last pixel, without it their outer edges, for the output grid and the input alike.
//
// Relies on the IEEE rules for NaN (fmaxf, fminf): do not compile with -ffast-math. nvcc's --use_fast_math makes logf
// and the divisions imprecise: do not use it either.
#ifndef SPGVTON_TPS_MATH_H
#define SPGVTON_TPS_MATH_H

#include <math.h>

#if defined(__CUDACC__)
#define SPGVTON_HD __host__ __device__ __forceinline__
#else
#define SPGVTON_HD inline
#endif

namespace spgvton {
namespace tps {

constexpr int kMinGridSize = 2;
constexpr int kMaxGridSize = 5;
constexpr int kMaxPoints = kMaxGridSize * kMaxGridSize;
constexpr int kMaxCoefficients = kMaxPoints + 3;  // one per control point, then 1, x, y

enum Padding : int { kZeros = 0, kBorder = 1 };

struct Params {
  int height, width;  // of the input and of the output
  int gridSize;
  bool alignCorners;
  Padding padding;
};

// The first G*G columns of the inverted TPS system, row-major (G*G + 3, G*G): coefficients = values * offsets.
// 2800 bytes, so that a kernel can take it by value (the limit for kernel arguments is 4 KiB).
struct Inverse {
  float values[kMaxCoefficients * kMaxPoints];
};

// The top left one of four neighbouring input pixels, and the position between them in [0, 1).
struct Taps {
  int x, y;
  float fx, fy;
};

SPGVTON_HD float clampf(float v, float lo, float hi) { return fminf(fmaxf(v, lo), hi); }  // NaN gives lo

// Normalised position of pixel I of SIZE. Symmetric about 0 in floating point too; a single pixel lies at 0.
SPGVTON_HD float pixelPosition(int i, int size, bool alignCorners) {
  int const span = alignCorners ? size - 1 : size;
  return static_cast<float>(2 * i - (size - 1)) / static_cast<float>(span > 1 ? span : 1);
}

// Control point I of GRID_SIZE along one axis, rounded once: what an identity theta holds.
SPGVTON_HD float controlPosition(int i, int gridSize) {
  return static_cast<float>(2 * i - (gridSize - 1)) / static_cast<float>(gridSize - 1);
}

// U(r) = r^2 log r^2 of the squared distance, U(0) = 0.
SPGVTON_HD float radialBasis(float r2) { return r2 > 0.f ? r2 * logf(r2) : 0.f; }

// Coefficient ROW (0 ... G*G + 2) of AXIS (0: x, 1: y); theta(k) returns control point k of that axis as float.
//
// The spline is that of the offsets from the control points, and the pixel's own place is added at the end. It is the same
// function, since a spline reproduces what is linear, but rounding is relative to how far a pixel moves: a theta that
// moves nothing gives the picture back bit by bit.
template <class Theta>
SPGVTON_HD float coefficient(Inverse const& inverse, Theta const& theta, int row, int gridSize, int axis) {
  int const points = gridSize * gridSize;
  float sum = 0.f;
  for (int k = 0; k < points; ++k) {
    float const still = controlPosition(axis == 0 ? k % gridSize : k / gridSize, gridSize);
    sum += inverse.values[row * points + k] * (theta(k) - still);
  }
  return sum;
}

// How far from its own place the output position (x, y) samples, normalised; cx, cy: the coefficients of both axes.
SPGVTON_HD void splineOffset(float const* cx, float const* cy, float x, float y, int gridSize, float& sx, float& sy) {
  int const points = gridSize * gridSize;
  float const scale = 1.f / static_cast<float>(gridSize - 1);
  sx = cx[points] + cx[points + 1] * x + cx[points + 2] * y;
  sy = cy[points] + cy[points + 1] * x + cy[points + 2] * y;
  int k = 0;
  for (int row = 0; row < gridSize; ++row) {
    float const dy = y - static_cast<float>(2 * row - (gridSize - 1)) * scale;
    for (int column = 0; column < gridSize; ++column, ++k) {
      float const dx = x - static_cast<float>(2 * column - (gridSize - 1)) * scale;
      float const u = radialBasis(dx * dx + dy * dy);
      sx += cx[k] * u;
      sy += cy[k] * u;
    }
  }
}

// Pixel coordinate that lies OFFSET (normalised) from pixel I, limited so that every value, NaN included, converts to int.
SPGVTON_HD float pixelCoordinate(int i, float offset, int size, bool alignCorners, Padding padding) {
  float const n = static_cast<float>(size);
  float const p = static_cast<float>(i) + offset * 0.5f * (alignCorners ? n - 1.f : n);
  if (padding == kBorder) return clampf(p, 0.f, n - 1.f);
  return clampf(p, -2.f, n + 1.f);  // beyond one pixel outside nothing changes: all taps are zero
}

// Where output pixel (column, row) samples the input.
SPGVTON_HD Taps outputTaps(float const* cx, float const* cy, int column, int row, Params const& p) {
  float sx, sy;
  splineOffset(cx, cy, pixelPosition(column, p.width, p.alignCorners), pixelPosition(row, p.height, p.alignCorners),
               p.gridSize, sx, sy);
  float const x = pixelCoordinate(column, sx, p.width, p.alignCorners, p.padding);
  float const y = pixelCoordinate(row, sy, p.height, p.alignCorners, p.padding);
  float const x0 = floorf(x), y0 = floorf(y);
  return Taps{static_cast<int>(x0), static_cast<int>(y0), x - x0, y - y0};
}

// Bilinear value of one channel; pixel(row, column) returns a float and is called for pixels inside the image only.
template <class Pixel>
SPGVTON_HD float bilinear(Pixel const& pixel, Taps const& t, Params const& p) {
  bool const left = t.x >= 0 && t.x < p.width, right = t.x + 1 >= 0 && t.x + 1 < p.width;
  bool const top = t.y >= 0 && t.y < p.height, bottom = t.y + 1 >= 0 && t.y + 1 < p.height;
  float v = 0.f;
  if (top && left) v += pixel(t.y, t.x) * (1.f - t.fx) * (1.f - t.fy);
  if (top && right) v += pixel(t.y, t.x + 1) * t.fx * (1.f - t.fy);
  if (bottom && left) v += pixel(t.y + 1, t.x) * (1.f - t.fx) * t.fy;
  if (bottom && right) v += pixel(t.y + 1, t.x + 1) * t.fx * t.fy;
  return v;
}

// Invert the TPS system of a G x G grid in float64 (host only). Returns false for a grid size outside 2 ... 5.
inline bool invert(int gridSize, Inverse& out) {
  if (gridSize < kMinGridSize || gridSize > kMaxGridSize) return false;
  int const points = gridSize * gridSize, size = points + 3;
  double a[kMaxCoefficients][2 * kMaxCoefficients] = {};  // [system | identity]
  for (int i = 0; i < points; ++i) {
    double const xi = -1.0 + 2.0 * (i % gridSize) / (gridSize - 1), yi = -1.0 + 2.0 * (i / gridSize) / (gridSize - 1);
    for (int j = 0; j < points; ++j) {
      double const dx = xi - (-1.0 + 2.0 * (j % gridSize) / (gridSize - 1));
      double const dy = yi - (-1.0 + 2.0 * (j / gridSize) / (gridSize - 1));
      double const r2 = dx * dx + dy * dy;
      a[i][j] = r2 > 0.0 ? r2 * log(r2) : 0.0;
    }
    a[i][points] = a[points][i] = 1.0;
    a[i][points + 1] = a[points + 1][i] = xi;
    a[i][points + 2] = a[points + 2][i] = yi;
  }
  for (int i = 0; i < size; ++i) a[i][size + i] = 1.0;
  for (int c = 0; c < size; ++c) {  // Gauss-Jordan; pivoting, because the diagonal is zero
    int pivot = c;
    for (int r = c + 1; r < size; ++r) {
      if (fabs(a[r][c]) > fabs(a[pivot][c])) pivot = r;
    }
    for (int j = 0; j < 2 * size; ++j) {
      double const swapped = a[pivot][j];
      a[pivot][j] = a[c][j];
      a[c][j] = swapped;
    }
    double const diagonal = a[c][c];
    for (int j = 0; j < 2 * size; ++j) a[c][j] /= diagonal;
    for (int r = 0; r < size; ++r) {
      double const factor = a[r][c];
      if (r == c || factor == 0.0) continue;
      for (int j = 0; j < 2 * size; ++j) a[r][j] -= factor * a[c][j];
    }
  }
  for (int r = 0; r < size; ++r) {
    for (int k = 0; k < points; ++k) out.values[r * points + k] = static_cast<float>(a[r][size + k]);
  }
  return true;
}

}  // namespace tps
}  // namespace spgvton

#endif  // SPGVTON_TPS_MATH_H
