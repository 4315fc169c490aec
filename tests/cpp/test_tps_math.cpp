// Host test of runtime/plugin/tps_math.h, run by ctest.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <limits>
#include <vector>

#include "tps_math.h"

using namespace spgvton::tps;

namespace {

int failures = 0;

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      std::printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);         \
      ++failures;                                                                 \
    }                                                                             \
  } while (0)

#define CHECK_NEAR(a, b, tolerance)                                                                         \
  do {                                                                                                      \
    double const a_ = (a), b_ = (b);                                                                        \
    if (!(std::fabs(a_ - b_) <= (tolerance))) { /* not ">": NaN must fail */                                \
      std::printf("%s:%d: %s = %.9g, expected %.9g within %g\n", __FILE__, __LINE__, #a, a_, b_, tolerance); \
      ++failures;                                                                                           \
    }                                                                                                       \
  } while (0)

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Theta = std::vector<float>;  // (2, G*G)
using Map = std::function<std::array<double, 2>(double, double)>;

// theta of a grid that samples map(x, y) at its control points.
Theta thetaOf(int grid, Map const& map) {
  Theta theta(2 * grid * grid);
  for (int k = 0; k < grid * grid; ++k) {
    auto const xy = map(-1 + 2.0 * (k % grid) / (grid - 1), -1 + 2.0 * (k / grid) / (grid - 1));
    theta[k] = static_cast<float>(xy[0]);
    theta[grid * grid + k] = static_cast<float>(xy[1]);
  }
  return theta;
}

std::array<std::vector<float>, 2> coefficientsOf(int grid, Theta const& theta) {
  Inverse inverse;
  CHECK(invert(grid, inverse));
  std::array<std::vector<float>, 2> c;
  for (int axis = 0; axis < 2; ++axis) {
    for (int row = 0; row < grid * grid + 3; ++row) {
      c[axis].push_back(coefficient(inverse, [&](int k) { return theta[axis * grid * grid + k]; }, row, grid, axis));
    }
  }
  return c;
}

// Warp one channel. Every read is checked against the image's bounds.
std::vector<float> warp(std::vector<float> const& image, Theta const& theta, Params const& p) {
  auto const c = coefficientsOf(p.gridSize, theta);
  std::vector<float> out;
  for (int y = 0; y < p.height; ++y) {
    for (int x = 0; x < p.width; ++x) {
      auto const pixel = [&](int row, int column) {
        bool const inside = row >= 0 && row < p.height && column >= 0 && column < p.width;
        CHECK(inside);
        return inside ? image[row * p.width + column] : 0.f;
      };
      out.push_back(bilinear(pixel, outputTaps(c[0].data(), c[1].data(), x, y, p), p));
    }
  }
  return out;
}

std::vector<float> ramp(int height, int width) {  // values that tell every pixel from its neighbours
  std::vector<float> image;
  for (int i = 0; i < height * width; ++i) image.push_back(static_cast<float>((i * 7919) % 101) / 101.f);
  return image;
}

template <class Check>
void forAllModes(Check check) {
  for (int grid = kMinGridSize; grid <= kMaxGridSize; ++grid) {
    for (bool alignCorners : {true, false}) {
      for (Padding padding : {kZeros, kBorder}) check(grid, alignCorners, padding);
    }
  }
}

void testGridSizes() {
  Inverse inverse;
  for (int grid : {-1, 0, 1, 6, 1000000}) CHECK(!invert(grid, inverse));
  for (int grid = kMinGridSize; grid <= kMaxGridSize; ++grid) CHECK(invert(grid, inverse));
}

void testPixelPosition() {
  CHECK(pixelPosition(0, 5, true) == -1.f && pixelPosition(2, 5, true) == 0.f && pixelPosition(4, 5, true) == 1.f);
  CHECK(pixelPosition(0, 4, false) == -0.75f && pixelPosition(3, 4, false) == 0.75f);
  CHECK(pixelPosition(0, 1, true) == 0.f && pixelPosition(0, 1, false) == 0.f);
  CHECK(radialBasis(0.f) == 0.f && radialBasis(1.f) == 0.f);
}

// Converting NaN or a huge float to int is undefined, and differs between x86, ARM and GPUs: it must not happen.
void testPixelCoordinateConvertsToInt() {
  for (float offset : {kNaN, kInfinity, -kInfinity, 3e38f, -3e38f, 2.5f, -2.5f, 0.f}) {
    for (bool alignCorners : {true, false}) {
      for (int size : {1, 2, 100}) {
        float const zeros = pixelCoordinate(size / 2, offset, size, alignCorners, kZeros);
        float const border = pixelCoordinate(size / 2, offset, size, alignCorners, kBorder);
        CHECK(zeros >= -2.f && zeros <= static_cast<float>(size + 1));
        CHECK(border >= 0.f && border <= static_cast<float>(size - 1));
      }
    }
  }
}

// Bit by bit, whatever the size: where nothing moves there is nothing to round.
void testIdentity() {
  forAllModes([](int grid, bool alignCorners, Padding padding) {
    for (auto const size : {std::array<int, 2>{12, 7}, {64, 48}, {1, 1}, {1, 6}, {6, 1}}) {
      Params const p{size[0], size[1], grid, alignCorners, padding};
      auto const image = ramp(p.height, p.width);
      CHECK(warp(image, thetaOf(grid, [](double x, double y) { return std::array<double, 2>{x, y}; }), p) == image);
    }
  });
}

// A spline through an affine map is that affine map.
void testAffine() {
  Map const affine = [](double x, double y) {
    return std::array<double, 2>{0.1 + 0.8 * x - 0.3 * y, -0.2 + 0.25 * x + 1.1 * y};
  };
  for (int grid = kMinGridSize; grid <= kMaxGridSize; ++grid) {
    auto const c = coefficientsOf(grid, thetaOf(grid, affine));
    for (int k = 0; k < grid * grid; ++k) {  // no bending
      CHECK_NEAR(c[0][k], 0, 1e-6);
      CHECK_NEAR(c[1][k], 0, 1e-6);
    }
    for (float x : {-1.f, -0.37f, 0.f, 0.5f, 1.f}) {
      for (float y : {-1.f, -0.2f, 0.71f, 1.f}) {
        float sx, sy;
        splineOffset(c[0].data(), c[1].data(), x, y, grid, sx, sy);
        CHECK_NEAR(x + sx, affine(x, y)[0], 1e-5);
        CHECK_NEAR(y + sy, affine(x, y)[1], 1e-5);
      }
    }
  }
}

// theta holds input positions of the output's control points, not offsets and not the inverse map: a theta that looks
// two pixels to the right moves the picture two pixels to the left.
void testShift() {
  for (Padding padding : {kZeros, kBorder}) {
    for (bool alignCorners : {true, false}) {
      Params const p{6, 9, 5, alignCorners, padding};
      double const pixel = alignCorners ? 2.0 / (p.width - 1) : 2.0 / p.width;
      auto const image = ramp(p.height, p.width);
      auto const out =
          warp(image, thetaOf(5, [&](double x, double y) { return std::array<double, 2>{x + 2 * pixel, y}; }), p);
      for (int y = 0; y < p.height; ++y) {
        for (int x = 0; x < p.width; ++x) {
          float const inside = image[y * p.width + std::min(x + 2, p.width - 1)];
          CHECK_NEAR(out[y * p.width + x], padding == kZeros && x + 2 >= p.width ? 0.f : inside, 5e-5);
        }
      }
    }
  }
}

// The spline interpolates: at the control points it is theta, whatever theta is.
void testInterpolation() {
  for (int grid = kMinGridSize; grid <= kMaxGridSize; ++grid) {
    Theta theta(2 * grid * grid);
    for (std::size_t i = 0; i < theta.size(); ++i) theta[i] = static_cast<float>((i * 37) % 19) / 9.f - 1.f;
    auto const c = coefficientsOf(grid, theta);
    for (int k = 0; k < grid * grid; ++k) {
      float const x = pixelPosition(k % grid, grid, true), y = pixelPosition(k / grid, grid, true);
      float sx, sy;
      splineOffset(c[0].data(), c[1].data(), x, y, grid, sx, sy);
      CHECK_NEAR(x + sx, theta[k], 5e-5);
      CHECK_NEAR(y + sy, theta[grid * grid + k], 5e-5);
    }
  }
}

// One bent corner of a 2 x 2 grid has a closed form: four points have one bending mode, (+ - - +), so
// s(x, y) = x + d * (1 + x) * (1 + y) / 4 at the corners and, inside, the affine part plus that mode.
void testKnownWarp() {
  float const d = 0.4f;
  Theta theta = thetaOf(2, [](double x, double y) { return std::array<double, 2>{x, y}; });
  theta[3] += d;  // x of the bottom right corner
  auto const c = coefficientsOf(2, theta);
  double const u4 = 4 * std::log(4.0), u8 = 8 * std::log(8.0);
  double const bend = d / 4 / (u8 - 2 * u4);  // the mode's value is (u8 - 2 * u4) at every corner, times its sign
  double const x = 0.3, y = -0.6;
  auto const u = [&](double px, double py) {
    double const r2 = (x - px) * (x - px) + (y - py) * (y - py);
    return r2 * std::log(r2);
  };
  double const expected = x + d / 4 * (1 + x + y) + bend * (u(-1, -1) - u(1, -1) - u(-1, 1) + u(1, 1));
  float sx, sy;
  splineOffset(c[0].data(), c[1].data(), static_cast<float>(x), static_cast<float>(y), 2, sx, sy);
  CHECK_NEAR(x + sx, expected, 1e-7);
  CHECK(sy == 0.f);
}

// Folded, huge and non-finite splines read inside the image only (checked in warp) and give finite pixels.
void testHostileThetas() {
  forAllModes([](int grid, bool alignCorners, Padding padding) {
    Params const p{11, 6, grid, alignCorners, padding};
    auto const image = ramp(p.height, p.width);
    Theta theta = thetaOf(grid, [](double x, double y) { return std::array<double, 2>{-x * 1.5, y * y - x}; });
    for (float value : warp(image, theta, p)) CHECK(value >= 0.f && value <= 1.f);
    for (float bad : {kNaN, kInfinity, -kInfinity, 1e4f, 3e9f, -1e19f, 3e38f}) {
      for (std::size_t i = 0; i < theta.size(); i += 3) {
        Theta broken = theta;
        broken[i] = bad;
        for (float value : warp(image, broken, p)) CHECK(value >= 0.f && value <= 1.f);
      }
      for (float value : warp(image, Theta(theta.size(), bad), p)) CHECK(value >= 0.f && value <= 1.f);
    }
    // NaN lies outside: nothing, or the first pixel of the border.
    for (float value : warp(image, Theta(theta.size(), kNaN), p)) CHECK(value == (padding == kZeros ? 0.f : image[0]));
  });
}

void testFarOutside() {
  forAllModes([](int grid, bool alignCorners, Padding padding) {
    Params const p{5, 8, grid, alignCorners, padding};
    auto const image = ramp(p.height, p.width);
    auto const far = [](double x, double y) { return std::array<double, 2>{x + 50, y - 50}; };
    float const corner = image[p.width - 1];  // top right
    for (float value : warp(image, thetaOf(grid, far), p)) CHECK_NEAR(value, padding == kZeros ? 0.f : corner, 1e-6);
  });
}

// Half a pixel outside: zeros fade, border stays.
void testPadding() {
  Map const half = [](double x, double y) { return std::array<double, 2>{x - 1.0 / 4, y}; };
  Params const zeros{1, 4, 3, false, kZeros}, border{1, 4, 3, false, kBorder};
  std::vector<float> const image{4.f, 8.f, 2.f, 6.f};
  float const expected[2][4] = {{2.f, 6.f, 5.f, 4.f}, {4.f, 6.f, 5.f, 4.f}};
  for (int i = 0; i < 4; ++i) {
    CHECK_NEAR(warp(image, thetaOf(3, half), zeros)[i], expected[0][i], 5e-5);
    CHECK_NEAR(warp(image, thetaOf(3, half), border)[i], expected[1][i], 5e-5);
  }
}

}  // namespace

int main() {
  testGridSizes();
  testPixelPosition();
  testPixelCoordinateConvertsToInt();
  testIdentity();
  testAffine();
  testShift();
  testInterpolation();
  testKnownWarp();
  testHostileThetas();
  testFarOutside();
  testPadding();
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
