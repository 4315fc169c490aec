// TpsGridSample, version 1, as a TensorRT plugin (IPluginV3; TensorRT 10.0 to 11, TensorRT-RTX).
//
// Inputs: image (N, C, H, W), theta (N, 2, G*G), then, with the attribute `images` above 1, further images of the same
// N, H and W. Outputs: one warped image per image. Images and theta: float32 or float16, linear layout.
// Specification: docs/tps-grid-sample.md.
//
// The library is loaded by IPluginRegistry::loadLibrary and exports its two entry points only. It does not link against
// nvinfer and does not register itself: both would tie it to one major version. Nothing here throws.
#include <NvInferRuntime.h>
#include <NvInferRuntimePlugin.h>
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <new>

#include "tps_kernel.h"

#if NV_TENSORRT_MAJOR < 10
#error "IPluginV3 needs the headers of TensorRT 10.0 or newer"
#endif

using namespace nvinfer1;
namespace tps = spgvton::tps;

namespace {

constexpr char kName[] = "TpsGridSample";
constexpr char kVersion[] = "1";
constexpr char kNamespace[] = "";
// Of N, C, H and W: what the kernel can be launched for; every index stays in int and every position exact in float.
constexpr int64_t kMaxExtent[4] = {tps::kMaxBatch, 1 << 20, tps::kMaxHeight, 1 << 20};
constexpr int32_t kThetaInput = 1;

std::atomic<ILoggerFinder*> loggerFinder{nullptr};

template <typename... Values>
void logError(char const* format, Values... values) noexcept {
  char text[256];
  int const prefix = std::snprintf(text, sizeof text, "%s: ", kName);
  std::snprintf(text + prefix, sizeof text - static_cast<std::size_t>(prefix), format, values...);
  ILoggerFinder* const finder = loggerFinder.load();
  ILogger* const logger = finder ? finder->findLogger() : nullptr;
  if (logger) {
    logger->log(ILogger::Severity::kERROR, text);
  } else {
    std::fprintf(stderr, "%s\n", text);
  }
}

struct Attributes {
  int32_t gridSize = 5, alignCorners = 1, images = 1;
  tps::Padding padding = tps::kBorder;
};

char const* paddingName(tps::Padding padding) { return padding == tps::kBorder ? "border" : "zeros"; }

bool readInt(PluginField const& field, int32_t low, int32_t high, int32_t& value) noexcept {
  if (field.type != PluginFieldType::kINT32 || field.length != 1) {
    logError("attribute %s must be one int32", field.name);
    return false;
  }
  value = *static_cast<int32_t const*>(field.data);
  if (value < low || value > high) {
    logError("attribute %s must be %d to %d, got %d", field.name, low, high, value);
    return false;
  }
  return true;
}

bool readPadding(PluginField const& field, tps::Padding& padding) noexcept {
  auto const* text = static_cast<char const*>(field.data);
  std::size_t const length = field.length > 0 ? strnlen(text, static_cast<std::size_t>(field.length)) : 0;
  if (field.type == PluginFieldType::kCHAR) {
    for (tps::Padding candidate : {tps::kBorder, tps::kZeros}) {
      char const* const name = paddingName(candidate);
      if (length == std::strlen(name) && std::strncmp(text, name, length) == 0) {
        padding = candidate;
        return true;
      }
    }
  }
  logError("attribute padding must be \"border\" or \"zeros\"");
  return false;
}

// From an ONNX node while building, from the plan at run time. An attribute that is missing keeps its default.
bool readAttributes(PluginFieldCollection const& fields, Attributes& a) noexcept {
  for (int32_t i = 0; i < fields.nbFields; ++i) {
    PluginField const& field = fields.fields[i];
    if (!field.name || !field.data) continue;
    bool good = true;
    if (!std::strcmp(field.name, "grid_size")) {
      good = readInt(field, tps::kMinGridSize, tps::kMaxGridSize, a.gridSize);
    } else if (!std::strcmp(field.name, "align_corners")) {
      good = readInt(field, 0, 1, a.alignCorners);
    } else if (!std::strcmp(field.name, "images")) {
      good = readInt(field, 1, tps::kMaxImages, a.images);
    } else if (!std::strcmp(field.name, "padding")) {
      good = readPadding(field, a.padding);
    }
    if (!good) return false;
  }
  return true;
}

// Where image I stands among the inputs: theta comes second, so that a node with one image reads (image, theta).
int32_t imageInput(int32_t i) { return i == 0 ? 0 : i + 1; }

bool isFloat(DataType type) { return type == DataType::kFLOAT || type == DataType::kHALF; }

class Plugin final : public IPluginV3, public IPluginV3OneCore, public IPluginV3OneBuild, public IPluginV3OneRuntime {
 public:
  explicit Plugin(Attributes const& attributes) noexcept : attributes_(attributes) {
    tps::invert(attributes.gridSize, inverse_);  // the creator has checked the grid size
    std::snprintf(timingId_, sizeof timingId_, "%s grid_size=%d align_corners=%d images=%d padding=%s", kName,
                  attributes.gridSize, attributes.alignCorners, attributes.images, paddingName(attributes.padding));
  }

  // IPluginV3
  IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
    switch (type) {
      case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
      case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
      case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }
  IPluginV3* clone() noexcept override { return new (std::nothrow) Plugin(*this); }

  // IPluginV3OneCore
  AsciiChar const* getPluginName() const noexcept override { return kName; }
  AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
  AsciiChar const* getPluginNamespace() const noexcept override { return kNamespace; }

  // IPluginV3OneBuild
  int32_t getNbOutputs() const noexcept override { return attributes_.images; }

  int32_t getOutputDataTypes(DataType* outputs, int32_t outputCount, DataType const* inputs,
                             int32_t inputCount) const noexcept override {
    if (!countsFit(inputCount, outputCount)) return -1;
    for (int32_t i = 0; i < attributes_.images; ++i) outputs[i] = inputs[imageInput(i)];
    return 0;
  }

  int32_t getOutputShapes(DimsExprs const* inputs, int32_t inputCount, DimsExprs const*, int32_t, DimsExprs* outputs,
                          int32_t outputCount, IExprBuilder&) noexcept override {
    if (!countsFit(inputCount, outputCount)) return -1;
    for (int32_t i = 0; i < attributes_.images; ++i) {
      if (inputs[imageInput(i)].nbDims != 4) {
        logError("an image must be (N, C, H, W), got %d dimensions", inputs[imageInput(i)].nbDims);
        return -1;
      }
      outputs[i] = inputs[imageInput(i)];
    }
    return 0;
  }

  bool supportsFormatCombination(int32_t position, DynamicPluginTensorDesc const* tensors, int32_t inputCount,
                                 int32_t outputCount) noexcept override {
    if (!countsFit(inputCount, outputCount)) return false;
    PluginTensorDesc const& tensor = tensors[position].desc;
    if (tensor.format != TensorFormat::kLINEAR || !isFloat(tensor.type)) return false;
    return position < inputCount || tensor.type == tensors[imageInput(position - inputCount)].desc.type;
  }

  int32_t configurePlugin(DynamicPluginTensorDesc const* inputs, int32_t inputCount, DynamicPluginTensorDesc const*,
                          int32_t outputCount) noexcept override {
    if (!countsFit(inputCount, outputCount)) return -1;
    Dims dims[tps::kMaxImages + 1];
    for (int32_t i = 0; i < inputCount; ++i) dims[i] = inputs[i].desc.dims;
    return shapesFit(dims) ? 0 : -1;
  }

  // There are no tactics to choose from; with an ID the time of one shape is measured once and not per builder. It must tell
  // plugins of other attributes apart.
  AsciiChar const* getTimingCacheID() noexcept override { return timingId_; }

  // IPluginV3OneRuntime
  int32_t onShapeChange(PluginTensorDesc const* inputs, int32_t inputCount, PluginTensorDesc const*,
                        int32_t outputCount) noexcept override {
    if (!countsFit(inputCount, outputCount)) return -1;
    Dims dims[tps::kMaxImages + 1];
    for (int32_t i = 0; i < inputCount; ++i) dims[i] = inputs[i].dims;
    return shapesFit(dims) ? 0 : -1;
  }

  int32_t enqueue(PluginTensorDesc const* inputDescs, PluginTensorDesc const*, void const* const* inputs,
                  void* const* outputs, void*, cudaStream_t stream) noexcept override {
    tps::Warp warp;
    Dims const& first = inputDescs[0].dims;
    warp.imageCount = attributes_.images;
    warp.batch = static_cast<int>(first.d[0]);
    warp.theta = inputs[kThetaInput];
    warp.thetaHalf = inputDescs[kThetaInput].type == DataType::kHALF;
    warp.params = tps::Params{static_cast<int>(first.d[2]), static_cast<int>(first.d[3]), attributes_.gridSize,
                              attributes_.alignCorners != 0, attributes_.padding};
    warp.inverse = inverse_;
    for (int32_t i = 0; i < attributes_.images; ++i) {
      int32_t const input = imageInput(i);
      warp.images[i] = tps::Image{inputs[input], outputs[i], static_cast<int>(inputDescs[input].dims.d[1]),
                                  inputDescs[input].type == DataType::kHALF};
    }
    cudaError_t const status = tps::launch(warp, stream);
    if (status != cudaSuccess) logError("the kernel cannot be launched: %s", cudaGetErrorString(status));
    return static_cast<int32_t>(status);
  }

  IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }

  PluginFieldCollection const* getFieldsToSerialize() noexcept override {
    char const* const padding = paddingName(attributes_.padding);
    fields_[0] = PluginField("grid_size", &attributes_.gridSize, PluginFieldType::kINT32, 1);
    fields_[1] = PluginField("align_corners", &attributes_.alignCorners, PluginFieldType::kINT32, 1);
    fields_[2] = PluginField("images", &attributes_.images, PluginFieldType::kINT32, 1);
    fields_[3] = PluginField("padding", padding, PluginFieldType::kCHAR, static_cast<int32_t>(std::strlen(padding)));
    collection_ = PluginFieldCollection{4, fields_};
    return &collection_;
  }

 private:
  bool countsFit(int32_t inputCount, int32_t outputCount) const noexcept {
    if (inputCount == attributes_.images + 1 && outputCount == attributes_.images) return true;
    logError("with images=%d there must be %d inputs and %d outputs, got %d and %d", attributes_.images,
             attributes_.images + 1, attributes_.images, inputCount, outputCount);
    return false;
  }

  // DIMS of all inputs; -1 stands for what is not known yet.
  bool shapesFit(Dims const* dims) const noexcept {
    Dims const& theta = dims[kThetaInput];
    auto const agree = [](int64_t a, int64_t b) { return a < 0 || b < 0 || a == b; };
    int64_t const points = static_cast<int64_t>(attributes_.gridSize) * attributes_.gridSize;
    if (theta.nbDims != 3 || !agree(theta.d[1], 2) || !agree(theta.d[2], points)) {
      logError("theta must be (N, 2, %d) with grid_size=%d", static_cast<int>(points), attributes_.gridSize);
      return false;
    }
    for (int32_t i = 0; i < attributes_.images; ++i) {
      Dims const& image = dims[imageInput(i)];
      if (image.nbDims != 4 || !agree(image.d[0], theta.d[0]) || !agree(image.d[2], dims[0].d[2]) ||
          !agree(image.d[3], dims[0].d[3])) {
        logError("image %d must be (N, C, H, W) with theta's N and the first image's H and W", i);
        return false;
      }
      for (int32_t axis = 0; axis < 4; ++axis) {
        if (image.d[axis] > kMaxExtent[axis]) {
          logError("image %d is larger than %d along axis %d", i, static_cast<int>(kMaxExtent[axis]), axis);
          return false;
        }
      }
    }
    return true;
  }

  Attributes attributes_;
  tps::Inverse inverse_;
  char timingId_[96];
  PluginField fields_[4];
  PluginFieldCollection collection_{};
};

class Creator final : public IPluginCreatorV3One {
 public:
  AsciiChar const* getPluginName() const noexcept override { return kName; }
  AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
  AsciiChar const* getPluginNamespace() const noexcept override { return kNamespace; }
  PluginFieldCollection const* getFieldNames() noexcept override { return &collection_; }

  IPluginV3* createPlugin(AsciiChar const*, PluginFieldCollection const* fields, TensorRTPhase) noexcept override {
    Attributes attributes;
    if (fields && !readAttributes(*fields, attributes)) return nullptr;
    return new (std::nothrow) Plugin(attributes);
  }

 private:
  PluginField fields_[4] = {
      PluginField("grid_size", nullptr, PluginFieldType::kINT32, 1),
      PluginField("align_corners", nullptr, PluginFieldType::kINT32, 1),
      PluginField("images", nullptr, PluginFieldType::kINT32, 1),
      PluginField("padding", nullptr, PluginFieldType::kCHAR, 0),
  };
  PluginFieldCollection collection_{4, fields_};
};

}  // namespace

#define SPGVTON_EXPORT extern "C" __attribute__((visibility("default")))

SPGVTON_EXPORT void setLoggerFinder(ILoggerFinder* finder) { loggerFinder.store(finder); }

SPGVTON_EXPORT IPluginCreatorInterface* const* getCreators(int32_t& count) {
  static Creator creator;
  static IPluginCreatorInterface* const creators[] = {&creator};
  count = 1;
  return creators;
}
