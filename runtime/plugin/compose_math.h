// Mathematics of the live compositor's last step, for one pixel: one header for g++ and nvcc, without CUDA types.
//
// The reference is runtime/spgvton/live/compositor.py, which decides what goes where; here is how it gets on the picture: the
// layers enlarged as cv2.resize does, the spline evaluated at the pixel itself, the garment's texture sampled as cv2.remap
// does, and each intermediate value rounded to a byte where OpenCV rounds it.
#ifndef SPGVTON_COMPOSE_MATH_H
#define SPGVTON_COMPOSE_MATH_H

#include "tps_math.h"

namespace spgvton {
namespace compose {

constexpr float kShadeOne = 128.f;  // how a factor of 1 is stored in `shade`: SHADE_ONE of layers.py

// A rectangle of the picture, in its pixels; empty where WIDTH is 0.
struct Patch {
  int left, top, width, height;
};

// A layer of a patch, at a resolution of its own: (height, width, channels), contiguous.
template <class T>
struct Layer {
  T const* data;
  int width, height;
};

// All that the kernel needs, passed by value. Pictures are RGB, 3 bytes a pixel.
struct Job {
  unsigned char* picture;  // (height, width, 3), changed in place
  int width, height;
  // What stands where old clothes were: `fill` laid on by `cover`, 0 ... 255.
  Patch uncovered;
  Layer<unsigned char> cover, fill;
  // The garment: its texture, times `shade` / kShadeOne, laid on by `worn`. `bend` (x, y) is how many pixels of the texture
  // lie between where the spline points and what is shown; its grid is the one that `toNetwork` starts from.
  Patch garment;
  Layer<unsigned char> worn, shade;
  Layer<float> bend;
  Layer<unsigned char> texture;
  float toNetwork[6];  // 2x3: pixel of bend's grid -> pixel of the network's frame
  float bounds[4];     // left, top, right, bottom: what the network's pixel is limited to
  float toTexture[4];  // scale of x and y, then (x, y): pixel of the cloth picture * scale + (x, y) = pixel of the texture
  int networkWidth, networkHeight, gridSize;
  float coefficients[2][tps::kMaxCoefficients];  // of the spline, see tps_math.h
};

// Value V, not negative, as the byte that OpenCV stores.
SPGVTON_HD float toByte(float v) { return fminf(rintf(v), 255.f); }

// Where pixel I of SIZE lies among the COUNT pixels of a layer that covers the same length: cv2.resize's rule, limited to them.
SPGVTON_HD float layerPosition(int i, int size, int count) {
  float const at = (static_cast<float>(i) + 0.5f) * static_cast<float>(count) / static_cast<float>(size) - 0.5f;
  return tps::clampf(at, 0.f, static_cast<float>(count - 1));
}

// Bilinear value of a CHANNEL of LAYER, of CHANNELS, at (x, y) inside it.
template <class T>
SPGVTON_HD float sample(Layer<T> const& layer, int channels, int channel, float x, float y) {
  int const left = static_cast<int>(x), top = static_cast<int>(y);
  int const right = left + 1 < layer.width ? left + 1 : left, bottom = top + 1 < layer.height ? top + 1 : top;
  float const fx = x - static_cast<float>(left), fy = y - static_cast<float>(top);
  auto const at = [&](int row, int column) {
    return static_cast<float>(layer.data[(static_cast<long long>(row) * layer.width + column) * channels + channel]);
  };
  float const above = at(top, left) + fx * (at(top, right) - at(top, left));
  float const below = at(bottom, left) + fx * (at(bottom, right) - at(bottom, left));
  return above + fy * (below - above);
}

// Position X, not negative, as cv2.resize takes it for bytes: the pixel before it, that after it, the weight of the latter in
// 2048ths.
SPGVTON_HD void fixedTaps(float x, int count, int& first, int& second, int& weight) {
  first = static_cast<int>(x);
  second = first + 1 < count ? first + 1 : first;
  weight = static_cast<int>(rintf((x - static_cast<float>(first)) * 2048.f));
}

// Pixel (x, y) of PATCH, which LAYER covers, as a byte: cv2.resize's fixed-point arithmetic, bits that it drops included.
SPGVTON_HD int resized(Layer<unsigned char> const& layer, int channels, int channel, Patch const& patch, int x, int y) {
  int left, right, fx, top, bottom, fy;
  fixedTaps(layerPosition(x, patch.width, layer.width), layer.width, left, right, fx);
  fixedTaps(layerPosition(y, patch.height, layer.height), layer.height, top, bottom, fy);
  auto const across = [&](int row) {
    unsigned char const* const line = layer.data + static_cast<long long>(row) * layer.width * channels + channel;
    return line[left * channels] * (2048 - fx) + line[right * channels] * fx;
  };
  return ((((2048 - fy) * (across(top) >> 4)) >> 16) + ((fy * (across(bottom) >> 4)) >> 16) + 2) >> 2;
}

SPGVTON_HD bool inside(Patch const& patch, int x, int y) {
  return x >= patch.left && y >= patch.top && x < patch.left + patch.width && y < patch.top + patch.height;
}

// Lay OVER, 0 ... 255, on the byte UNDER by WEIGHT, 0 ... 255.
SPGVTON_HD void lay(unsigned char& under, float over, int weight) {
  float const rest = toByte(static_cast<float>(under) * static_cast<float>(255 - weight) / 255.f);
  under = static_cast<unsigned char>(fminf(toByte(over * static_cast<float>(weight) / 255.f) + rest, 255.f));
}

// Where pixel (x, y) of the garment's patch finds its cloth, in pixels of the texture, limited to it.
SPGVTON_HD void texturePosition(Job const& job, int x, int y, float& u, float& v) {
  float const gx = layerPosition(x, job.garment.width, job.bend.width);
  float const gy = layerPosition(y, job.garment.height, job.bend.height);
  float const* m = job.toNetwork;
  float const nx = tps::clampf(m[0] * gx + m[1] * gy + m[2], job.bounds[0], job.bounds[2]);
  float const ny = tps::clampf(m[3] * gx + m[4] * gy + m[5], job.bounds[1], job.bounds[3]);
  float const halfWidth = 0.5f * static_cast<float>(job.networkWidth - 1);
  float const halfHeight = 0.5f * static_cast<float>(job.networkHeight - 1);
  float sx, sy;
  tps::splineOffset(job.coefficients[0], job.coefficients[1], nx / halfWidth - 1.f, ny / halfHeight - 1.f, job.gridSize,
                    sx, sy);
  u = (nx + sx * halfWidth) * job.toTexture[0] + job.toTexture[2] + sample(job.bend, 2, 0, gx, gy);
  v = (ny + sy * halfHeight) * job.toTexture[1] + job.toTexture[3] + sample(job.bend, 2, 1, gx, gy);
  u = tps::clampf(u, 0.f, static_cast<float>(job.texture.width - 1));
  v = tps::clampf(v, 0.f, static_cast<float>(job.texture.height - 1));
}

// Pixel (x, y) of the picture. Where nothing is laid on it, it is not written.
SPGVTON_HD void composePixel(Job const& job, int x, int y) {
  unsigned char* const pixel = job.picture + (static_cast<long long>(y) * job.width + x) * 3;
  if (inside(job.uncovered, x, y)) {
    int const px = x - job.uncovered.left, py = y - job.uncovered.top;
    int const weight = resized(job.cover, 1, 0, job.uncovered, px, py);
    if (weight > 0) {
      for (int c = 0; c < 3; ++c) lay(pixel[c], static_cast<float>(resized(job.fill, 3, c, job.uncovered, px, py)), weight);
    }
  }
  if (inside(job.garment, x, y)) {
    int const px = x - job.garment.left, py = y - job.garment.top;
    int const weight = resized(job.worn, 1, 0, job.garment, px, py);
    if (weight > 0) {
      float u, v;
      texturePosition(job, px, py, u, v);
      float const shade = static_cast<float>(resized(job.shade, 1, 0, job.garment, px, py)) / kShadeOne;
      for (int c = 0; c < 3; ++c) lay(pixel[c], toByte(toByte(sample(job.texture, 3, c, u, v)) * shade), weight);
    }
  }
}

}  // namespace compose
}  // namespace spgvton

#endif  // SPGVTON_COMPOSE_MATH_H
